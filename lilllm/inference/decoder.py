"""Decoding with laid-out weights: prompts one text at a time, then all texts one token a step.

The same arithmetic as `model/transformer.py`. Few texts on a CPU are stepped by `native.py`,
everything else by torch.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lilllm.inference.cache import SlotCache
from lilllm.inference.native import NativeStep, load
from lilllm.inference.weights import Weights
from lilllm.model.transformer import ACTIVATIONS

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]

NATIVE_TEXTS = 8
"""Texts up to which the compiled step is quicker than torch's matrix products."""


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
        library = load() if native and NativeStep.fits(weights) else None
        self.native = NativeStep(library, weights) if library is not None else None

    def new_cache(self) -> SlotCache:
        """An empty cache for this model."""
        return SlotCache(self.shape, self.dtype, self.device)

    def prefill(self, ids: Sequence[int], slot: int, start: int, cache: SlotCache) -> None:
        """Store keys and values of `ids`, which continue the `start` positions of a slot."""
        end = start + len(ids)

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            keys, values = cache.keys[layer][slot], cache.values[layer][slot]  # [G, S, K]
            keys[:, start:end] = k.transpose(0, 1)
            values[:, start:end] = v.transpose(0, 1)
            return attend_span(q, keys[:, :end], values[:, :end])

        self._run(torch.tensor(ids, device=self.device), slice(start, end), attend)

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
        if self.native is not None and len(slots) <= NATIVE_TEXTS:
            logits = self.native(ids, slots, positions, cache)
        else:
            logits = self._decode(ids, slots, positions, cache)
        cap = self.shape.logit_softcap
        return cap * torch.tanh(logits / cap) if cap else logits

    def _decode(
        self, ids: Tensor, slots: Sequence[int], positions: Sequence[int], cache: SlotCache
    ) -> Tensor:
        """`decode` with torch."""
        S = max(positions) + 1
        rows = torch.tensor(slots, device=self.device)
        at = torch.tensor(positions, device=self.device)
        visible = torch.arange(S, device=self.device) <= at[:, None]  # [B, S]
        mask = visible[:, None, None]  # [B, 1, 1, S]

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            keys, values = cache.keys[layer], cache.values[layer]  # [slots, G, positions, K]
            keys[rows, :, at] = k
            values[rows, :, at] = v
            B, _, K = q.shape
            grouped = q.view(B, self.shape.n_kv_heads, -1, K)  # [B, G, H/G, K]
            return F.scaled_dot_product_attention(
                grouped, keys[rows, :, :S], values[rows, :, :S], attn_mask=mask
            ).view(B, -1)

        return self.weights.head(self._run(ids, at, attend)).float()

    def _run(self, ids: Tensor, positions: Tensor | slice, attend: Attend) -> Tensor:
        """The normalised residual stream [N, D] of tokens [N] at their positions."""
        shape = self.shape
        heads = [shape.n_heads, shape.n_kv_heads, shape.n_kv_heads]
        cos, sin = self.cos[positions], self.sin[positions]  # [N, 1, K]
        x = self.weights.embedding[ids]  # [N, D]
        for number, layer in enumerate(self.weights.layers):
            qkv = layer.qkv(self._normed(x, layer.attention_norm))
            q, k, v = torch.split(qkv.view(len(x), -1, shape.head_dim), heads, dim=1)  # [N, H, K]
            if layer.head_norms is not None:
                q, k = (self._normed(y, w) for y, w in zip((q, k), layer.head_norms, strict=True))
            q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
            x = x + layer.out(attend(number, q, k, v))
            gate, up = layer.gate_up(self._normed(x, layer.mlp_norm)).chunk(2, dim=-1)
            x = x + layer.down(self.activate(gate) * up)
        return self._normed(x, self.weights.norm)

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
    mask = torch.ones(T, S, dtype=torch.bool, device=q.device).tril(S - T)
    out = F.scaled_dot_product_attention(q.transpose(0, 1)[None], keys, values, attn_mask=mask)
    return out[0].transpose(0, 1).reshape(T, H * K)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn x [N, H, K] by the angles of its positions."""
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-right, left), dim=-1) * sin
