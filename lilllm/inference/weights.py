"""A transformer's weights laid out for decoding: fused, and in few bits where asked for.

Q, K and V are one product, gate and up another. What is computed with them is `decoder.py`'s.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lilllm.model import Transformer
from lilllm.model.quantized import OUTER, Bits, Quantized, can_quantize, quantize
from lilllm.model.transformer import Attention, Block, FeedForward


@dataclass(frozen=True, slots=True)
class Projection:
    """The product x W^T + b.

    Attributes:
        weight: W [N, K], dequantized where it was quantized.
        bias: b [N].
        quantized: W in few bits.
    """

    weight: Tensor
    bias: Tensor | None = None
    quantized: Quantized | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Apply it to x [..., K]."""
        return F.linear(x, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class Layer:
    """The weights of one block."""

    attention_norm: Tensor
    qkv: Projection
    head_norms: tuple[Tensor, Tensor] | None
    out: Projection
    mlp_norm: Tensor
    gate_up: Projection
    down: Projection


class Weights:
    """Copies of a transformer's weights; where nothing is fused or rounded, the weights themselves.

    Args:
        model: in the type and on the device to compute with.
        bits: 8 or 4 rounds the matrices to that; None keeps them.
    """

    def __init__(self, model: Transformer, bits: Bits | None = None) -> None:
        self.shape = model.shape
        outer: Bits | None = OUTER if bits else None
        embedding = model.model.embed_tokens.weight.detach()
        self.head = _projection(model.output_weight.detach(), None, outer)
        tied = model.lm_head is None
        self.embedding = self.head.weight if tied else _projection(embedding, None, outer).weight
        self.dtype, self.device = embedding.dtype, embedding.device
        blocks = (block for block in model.model.layers if isinstance(block, Block))
        self.layers = [_layer(block, bits) for block in blocks]
        self.norm = model.model.norm.weight.detach()
        self.cos, self.sin = model.cos, model.sin  # fp32 [positions of the context, K]


def _layer(block: Block, bits: Bits | None) -> Layer:
    attention: Attention = block.self_attn
    mlp: FeedForward = block.mlp
    heads = attention.q_norm, attention.k_norm
    normed = [norm.weight.detach() for norm in heads if isinstance(norm, nn.RMSNorm)]
    return Layer(
        attention_norm=block.input_layernorm.weight.detach(),
        qkv=_fused(bits, attention.q_proj, attention.k_proj, attention.v_proj),
        head_norms=(normed[0], normed[1]) if normed else None,
        out=_fused(bits, attention.o_proj),
        mlp_norm=block.post_attention_layernorm.weight.detach(),
        gate_up=_fused(bits, mlp.gate_proj, mlp.up_proj),
        down=_fused(bits, mlp.down_proj),
    )


def _fused(bits: Bits | None, *parts: nn.Linear) -> Projection:
    """Layers on the same input as one product."""
    weights = [part.weight.detach() for part in parts]
    biases = [part.bias.detach() for part in parts if part.bias is not None]
    weight = torch.cat(weights) if len(weights) > 1 else weights[0]
    return _projection(weight, torch.cat(biases) if biases else None, bits)


def _projection(weight: Tensor, bias: Tensor | None, bits: Bits | None) -> Projection:
    if bits is None or not can_quantize(weight):
        return Projection(weight, bias)
    rounded = quantize(weight, bits)
    return Projection(rounded.dequantize().to(weight.dtype), bias, rounded)
