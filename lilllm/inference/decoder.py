"""Decoding with laid-out weights: pieces of prompts, then all texts one token a step.

The same arithmetic as `model/transformer.py`, up to rounding. On a CPU few texts are stepped by
`native.py`; of more texts torch does the matrix products, and it what is between them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lilllm.inference.cache import SlotCache
from lilllm.inference.graphs import SIZES, GraphedStep
from lilllm.inference.native import BatchStep, NativeStep
from lilllm.inference.weights import Layer, Weights
from lilllm.kernels import load
from lilllm.model.transformer import ACTIVATIONS

Attend = Callable[[int, Layer, Tensor], Tensor]
"""From a layer's number, the layer and Q, K and V [N, (H + 2 G) K] of new tokens to [N, H K]."""

NATIVE_TEXTS = 5
"""Texts up to which the compiled step is quicker than torch's matrix products."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens of a prompt that continue the `start` positions of a slot."""

    ids: Sequence[int]
    slot: int
    start: int


class Decoder:
    """A transformer that only decodes.

    Args:
        weights: what it computes with.
        native: whether to use the compiled step where it can be built.
    """

    def __init__(self, weights: Weights, *, native: bool = True) -> None:
        self.weights, self.shape = weights, weights.shape
        self.dtype, self.device = weights.dtype, weights.device
        self.cos, self.sin = (t[:, None].to(self.dtype) for t in (weights.cos, weights.sin))
        self.activate = ACTIVATIONS[self.shape.activation]
        library = load("decode") if native and NativeStep.fits(weights) else None
        self.native = NativeStep(library, weights) if library is not None else None
        self.graphs = GraphedStep(self._torch_step) if self.device.type == "cuda" else None

    def new_cache(self) -> SlotCache:
        """An empty cache for this model."""
        return SlotCache(self.shape, self.dtype, self.device)

    def prefill(self, pieces: Sequence[Piece], cache: SlotCache) -> None:
        """Store keys and values of pieces of prompts, each of another slot."""
        ids = [token for piece in pieces for token in piece.ids]
        at = [range(piece.start, piece.start + len(piece.ids)) for piece in pieces]
        positions = torch.tensor([position for span in at for position in span], device=self.device)

        def attend(number: int, layer: Layer, qkv: Tensor) -> Tensor:
            heads = self._heads(layer, qkv, positions)
            spans = torch.split(heads, [len(span) for span in at])
            mixed = []
            for piece, span, qkv_of_piece in zip(pieces, at, spans, strict=True):
                q, k, v = self._split(qkv_of_piece)
                keys, values = cache.keys[number][piece.slot], cache.values[number][piece.slot]
                keys[:, span.start : span.stop] = k.transpose(0, 1)
                values[:, span.start : span.stop] = v.transpose(0, 1)
                mixed.append(attend_span(q, keys[:, : span.stop], values[:, : span.stop]))
            return torch.cat(mixed)

        self._run(torch.tensor(ids, device=self.device), attend)

    def decode(
        self, ids: Tensor, slots: Sequence[int], positions: Sequence[int], cache: SlotCache
    ) -> Tensor:
        """One token of each of B texts.

        Args:
            ids: their newest tokens, [B].
            slots: where each text's earlier positions are.
            positions: of the newest tokens.
            cache: gets their keys and values.

        Returns:
            fp32 logits of the next tokens, [B, V].
        """
        native = self.native
        if native is not None and len(slots) <= NATIVE_TEXTS:
            logits = native.step(ids, slots, positions, cache)
        elif native is not None:
            logits = self._batch_step(native.batch(slots, positions, cache), ids)
        elif self.graphs is not None and len(slots) <= SIZES[-1]:
            logits = self.graphs(ids, slots, positions, cache)
        else:
            rows, at = torch.tensor([slots, positions], device=self.device)
            logits = self._torch_step(ids, rows, at, max(positions) + 1, cache)
        cap = self.shape.logit_softcap
        return cap * torch.tanh(logits / cap) if cap else logits

    def _batch_step(self, step: BatchStep, ids: Tensor) -> Tensor:
        """Logits of more texts: the products are torch's, what is between them is compiled."""
        weights = self.weights
        weights.pack(len(ids))
        out = weights.embedding[ids]
        residual = torch.zeros(out.shape, dtype=torch.float32, device=self.device)
        for number, layer in enumerate(weights.layers):
            attention_norm, mlp_norm = step.norms[number]
            qkv = layer.qkv(step.norm(attention_norm, residual, out))
            out = layer.out(step.attend(number, qkv))
            gate_up = layer.gate_up(step.norm(mlp_norm, residual, out))
            out = layer.down(step.activate(gate_up))
        return weights.head(step.norm(step.last_norm, residual, out)).float()

    def _torch_step(
        self, ids: Tensor, rows: Tensor, at: Tensor, reach: int, cache: SlotCache
    ) -> Tensor:
        """Logits of texts in slots `rows` [B], at positions `at` [B], the first `reach` seen."""
        visible = torch.arange(reach, device=self.device) <= at[:, None]  # [B, reach]

        def attend(number: int, layer: Layer, qkv: Tensor) -> Tensor:
            q, k, v = self._split(self._heads(layer, qkv, at))
            keys, values = cache.keys[number], cache.values[number]  # [slots, G, positions, K]
            keys[rows, :, at] = k
            values[rows, :, at] = v
            B, _, K = q.shape
            grouped = q.reshape(B, self.shape.n_kv_heads, -1, K)  # [B, G, H/G, K]
            return F.scaled_dot_product_attention(
                grouped,
                keys[rows, :, :reach],
                values[rows, :, :reach],
                attn_mask=visible[:, None, None],
            ).view(B, -1)

        return self.weights.head(self._run(ids, attend)).float()

    def _run(self, ids: Tensor, attend: Attend) -> Tensor:
        """The normalised residual stream [N, D] of tokens [N]."""
        x = self.weights.embedding[ids]  # [N, D]
        for number, layer in enumerate(self.weights.layers):
            qkv = layer.qkv(self._normed(x, layer.attention_norm))
            x = x + layer.out(attend(number, layer, qkv))
            gate, up = layer.gate_up(self._normed(x, layer.mlp_norm)).chunk(2, dim=-1)
            x = x + layer.down(self.activate(gate) * up)
        return self._normed(x, self.weights.norm)

    def _heads(self, layer: Layer, qkv: Tensor, positions: Tensor) -> Tensor:
        """Q, K and V as heads [N, H + 2 G, K], Q and K normalised and turned by their positions."""
        heads = qkv.view(len(qkv), -1, self.shape.head_dim)
        q, k, v = self._split(heads)
        if layer.head_norms is not None:
            q, k = (self._normed(y, w) for y, w in zip((q, k), layer.head_norms, strict=True))
        cos, sin = self.cos[positions], self.sin[positions]  # [N, 1, K]
        return torch.cat((_rotate(q, cos, sin), _rotate(k, cos, sin), v), dim=1)

    def _split(self, heads: Tensor) -> tuple[Tensor, ...]:
        """Q [N, H, K], K and V [N, G, K] of all heads [N, H + 2 G, K]."""
        G = self.shape.n_kv_heads
        return torch.split(heads, [self.shape.n_heads, G, G], dim=1)

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, weight.shape, weight, self.shape.norm_eps)


def attend_span(q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Causal attention of the last T of S positions of one text.

    Args:
        q: queries [T, H, K].
        keys: [G, S, K].
        values: [G, S, K].

    Returns:
        [T, H * K].
    """
    T, H, K = q.shape
    G, S, _ = keys.shape
    keys, values = (t[None].repeat_interleave(H // G, dim=1) for t in (keys, values))
    mask = torch.ones(T, S, dtype=torch.bool, device=q.device).tril(S - T) if T < S else None
    out = F.scaled_dot_product_attention(
        q.transpose(0, 1)[None], keys, values, attn_mask=mask, is_causal=mask is None
    )
    return out[0].transpose(0, 1).reshape(T, H * K)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn x [N, H, K] by the angles of its positions."""
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-right, left), dim=-1) * sin
