"""A transformer's weights laid out for decoding: fused, and in few bits where asked for.

Q, K and V are one product, gate and up another. What is computed with them is `decoder.py`'s.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lilllm.model import Transformer
from lilllm.model.quantized import GROUP, OUTER, Bits, Quantized, can_quantize, quantize
from lilllm.model.transformer import Attention, Block, FeedForward


@dataclass(slots=True)
class Projection:
    """The product x W^T + b.

    Attributes:
        weight: W [N, K], dequantized where it was quantized.
        bias: b [N].
        quantized: W in few bits.
        packed: W once more, as oneDNN wants it for the products of a batch.
    """

    weight: Tensor
    bias: Tensor | None = None
    quantized: Quantized | None = None
    packed: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Apply it to x [..., K]."""
        if self.packed is None:
            return F.linear(x, self.weight, self.bias)
        made: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")
        return made


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
        self.d_ff = -(-model.shape.d_ff // GROUP) * GROUP  # widened by zeros to whole groups
        outer: Bits | None = OUTER if bits else None
        embedding = model.model.embed_tokens.weight.detach()
        self.head = _projection(model.output_weight.detach(), None, outer)
        tied = model.lm_head is None
        self.embedding = self.head.weight if tied else _projection(embedding, None, outer).weight
        self.dtype, self.device = embedding.dtype, embedding.device
        blocks = (block for block in model.model.layers if isinstance(block, Block))
        self.layers = [_layer(block, bits, self.d_ff - self.shape.d_ff) for block in blocks]
        self.norm = model.model.norm.weight.detach()
        self.cos, self.sin = model.cos, model.sin  # fp32 [positions of the context, K]

    def pack(self, texts: int) -> None:
        """Lay the matrices out a second time for steps of some texts, where oneDNN gains by it.

        It reorders a bf16 matrix at every product otherwise: a fifth of the time of 32 texts.
        """
        if self.dtype != torch.bfloat16 or self.device.type != "cpu" or not _can_pack():
            return
        parts = [
            part
            for layer in self.layers
            for part in (layer.qkv, layer.out, layer.gate_up, layer.down)
        ]
        for part in (*parts, self.head):
            if part.packed is None:
                part.packed = torch.ops.mkldnn._reorder_linear_weight(part.weight, texts)


def _can_pack() -> bool:
    """Whether this torch and this processor have oneDNN's products of packed bf16 matrices."""
    ops = torch.ops.mkldnn
    needed = "_is_mkldnn_bf16_supported", "_reorder_linear_weight", "_linear_pointwise"
    return all(hasattr(ops, name) for name in needed) and ops._is_mkldnn_bf16_supported()


def _layer(block: Block, bits: Bits | None, padding: int) -> Layer:
    """The weights of a block, its feed-forward width widened by some zeros."""
    attention: Attention = block.self_attn
    mlp: FeedForward = block.mlp
    heads = attention.q_norm, attention.k_norm
    normed = [norm.weight.detach() for norm in heads if isinstance(norm, nn.RMSNorm)]
    qkv = attention.q_proj, attention.k_proj, attention.v_proj
    wide = (
        F.pad(part.weight.detach(), (0, 0, 0, padding)) for part in (mlp.gate_proj, mlp.up_proj)
    )
    down = _projection(mlp.down_proj.weight.detach(), None, bits)
    if padding:
        down = Projection(F.pad(down.weight, (0, padding)))
    return Layer(
        attention_norm=block.input_layernorm.weight.detach(),
        qkv=_projection(torch.cat([part.weight.detach() for part in qkv]), _biases(*qkv), bits),
        head_norms=(normed[0], normed[1]) if normed else None,
        out=_projection(attention.o_proj.weight.detach(), _biases(attention.o_proj), bits),
        mlp_norm=block.post_attention_layernorm.weight.detach(),
        gate_up=_projection(torch.cat([*wide]), None, bits),
        down=down,
    )


def _biases(*parts: nn.Linear) -> Tensor | None:
    """The biases of layers on the same input, if they have any."""
    biases = [part.bias.detach() for part in parts if part.bias is not None]
    return torch.cat(biases) if biases else None


def _projection(weight: Tensor, bias: Tensor | None, bits: Bits | None) -> Projection:
    if bits is None or not can_quantize(weight):
        return Projection(weight, bias)
    rounded = quantize(weight, bits)
    return Projection(rounded.dequantize().to(weight.dtype), bias, rounded)
