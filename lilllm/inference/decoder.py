"""The transformer laid out for decoding: fused weights, one flat batch of tokens per call.

The same arithmetic as `model/transformer.py`, from copies of its weights: Q, K and V are one
product, gate and up another. Prompts go through `prefill`, one text at a time; all running texts
advance together through `decode`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lilllm.inference.cache import SlotCache
from lilllm.model import Transformer
from lilllm.model.transformer import ACTIVATIONS, Attention, Block, FeedForward

Linear = Callable[[Tensor], Tensor]
Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Layer:
    """The weights of one block."""

    attention_norm: Tensor
    qkv: Linear
    head_norms: tuple[Tensor, Tensor] | None
    out: Linear
    mlp_norm: Tensor
    gate_up: Linear
    down: Linear


class Decoder:
    """A transformer that only decodes.

    Args:
        model: its weights are copied, or used as they are where nothing is fused.
    """

    def __init__(self, model: Transformer) -> None:
        self.shape = model.shape
        self.embedding = model.model.embed_tokens.weight.detach()
        self.dtype, self.device = self.embedding.dtype, self.embedding.device
        self.layers = [_layer(block) for block in model.model.layers if isinstance(block, Block)]
        self.norm = model.model.norm.weight.detach()
        self.head = linear(model.output_weight.detach(), None)
        self.cos, self.sin = (table[:, None].to(self.dtype) for table in (model.cos, model.sin))
        self.activate = ACTIVATIONS[self.shape.activation]

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

        hidden = self._run(ids, at, attend)
        logits = self.head(hidden).float()
        cap = self.shape.logit_softcap
        return cap * torch.tanh(logits / cap) if cap else logits

    def _run(self, ids: Tensor, positions: Tensor | slice, attend: Attend) -> Tensor:
        """The normalised residual stream [N, D] of tokens [N] at their positions."""
        shape = self.shape
        heads = [shape.n_heads, shape.n_kv_heads, shape.n_kv_heads]
        cos, sin = self.cos[positions], self.sin[positions]  # [N, 1, K]
        x = self.embedding[ids]  # [N, D]
        for number, layer in enumerate(self.layers):
            qkv = layer.qkv(self._normed(x, layer.attention_norm))
            q, k, v = torch.split(qkv.view(len(x), -1, shape.head_dim), heads, dim=1)  # [N, H, K]
            if layer.head_norms is not None:
                q, k = (self._normed(y, w) for y, w in zip((q, k), layer.head_norms, strict=True))
            q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
            x = x + layer.out(attend(number, q, k, v))
            gate, up = layer.gate_up(self._normed(x, layer.mlp_norm)).chunk(2, dim=-1)
            x = x + layer.down(self.activate(gate) * up)
        return self._normed(x, self.norm)

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


def linear(weight: Tensor, bias: Tensor | None) -> Linear:
    """The function x W^T + b."""
    return lambda x: F.linear(x, weight, bias)


def _layer(block: Block) -> Layer:
    attention: Attention = block.self_attn
    mlp: FeedForward = block.mlp
    heads = attention.q_norm, attention.k_norm
    normed = [norm.weight.detach() for norm in heads if isinstance(norm, nn.RMSNorm)]
    return Layer(
        attention_norm=block.input_layernorm.weight.detach(),
        qkv=_fused(attention.q_proj, attention.k_proj, attention.v_proj),
        head_norms=(normed[0], normed[1]) if normed else None,
        out=_fused(attention.o_proj),
        mlp_norm=block.post_attention_layernorm.weight.detach(),
        gate_up=_fused(mlp.gate_proj, mlp.up_proj),
        down=_fused(mlp.down_proj),
    )


def _fused(*parts: nn.Linear) -> Linear:
    """Layers on the same input as one product."""
    weight = torch.cat([part.weight.detach() for part in parts])
    biases = [part.bias.detach() for part in parts if part.bias is not None]
    return linear(weight, torch.cat(biases) if biases else None)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn x [N, H, K] by the angles of its positions."""
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-right, left), dim=-1) * sin
