"""Weights in 8 or 4 bits: groups of 32 neighbours in a row share one scale.

| bits | a number is stored as     | a group's scale        | bits per weight |
|------|---------------------------|------------------------|-----------------|
| 8    | an integer in [-127, 127] | largest magnitude / 127| 8.5             |
| 4    | an integer in [-8, 7]     | largest magnitude / -8, with its sign | 4.5 |

Values and scales are those of llama.cpp's Q8_0 and Q4_0, except that numbers are rounded for the
scale as it is stored. Quantizing what was dequantized gives the same integers again. In a state
dict the matrix `X` becomes `X.values` and `X.scales`. Embedding and output matrix suffer most and
always get 8 bits; vectors, and matrices whose rows are not whole groups, stay as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Bits = Literal[8, 4]
GROUP = 32
"""Weights that share a scale."""
OUTER: Bits = 8
"""Bits of the embedding and of the output matrix."""
OUTER_NAMES = ("model.embed_tokens.weight", "lm_head.weight")
VALUES, SCALES = ".values", ".scales"


@dataclass(frozen=True, slots=True)
class Quantized:
    """A matrix [N, K] in few bits.

    Attributes:
        bits: 8 or 4.
        values: int8 [N, K]; with 4 bits uint8 [N, K / 2], where a group's first 16 numbers plus 8
            are the low halves of its 16 bytes.
        scales: fp16 [N, K / 32].
    """

    bits: Bits
    values: Tensor
    scales: Tensor

    def dequantize(self) -> Tensor:
        """The fp32 matrix [N, K] that this stands for."""
        rows, groups = self.scales.shape
        if self.bits == 8:
            numbers = self.values.view(rows, groups, GROUP)
        else:
            packed = self.values.view(rows, groups, GROUP // 2)
            numbers = torch.cat((packed & 15, packed >> 4), dim=-1).to(torch.int8) - 8
        return (numbers * self.scales.float()[:, :, None]).view(rows, -1)


def can_quantize(weight: Tensor) -> bool:
    """Whether the rows of a matrix are whole groups."""
    return weight.ndim == 2 and weight.shape[1] % GROUP == 0


def quantize(weight: Tensor, bits: Bits) -> Quantized:
    """Round a matrix [N, K] to 8 or 4 bits; see `can_quantize`."""
    groups = weight.float().view(weight.shape[0], -1, GROUP)
    largest = groups.gather(-1, groups.abs().argmax(dim=-1, keepdim=True))  # with its sign
    scales = (largest.abs() / 127 if bits == 8 else largest / -8).half()
    steps = scales.float()
    numbers = torch.where(steps == 0, 0, groups / steps).round()
    if bits == 8:
        values = numbers.clamp(-127, 127).to(torch.int8).view(weight.shape)
    else:
        shifted = (numbers.clamp(-8, 7) + 8).to(torch.uint8)
        low, high = shifted.chunk(2, dim=-1)
        values = (low | high << 4).view(weight.shape[0], -1)
    return Quantized(bits, values, scales.squeeze(-1))


def quantize_state(state: Mapping[str, Tensor], bits: Bits) -> dict[str, Tensor]:
    """A model's state dict with its matrices in few bits."""
    packed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if not can_quantize(tensor):
            packed[name] = tensor
            continue
        matrix = quantize(tensor, OUTER if name in OUTER_NAMES else bits)
        packed |= {name + VALUES: matrix.values, name + SCALES: matrix.scales}
    return packed


def unpack(name: str, values: Tensor, scales: Tensor) -> Quantized:
    """A matrix out of the two tensors that stand for it.

    Raises:
        ValueError: they do not fit each other; the message names the tensor.
    """
    bits: dict[torch.dtype, Bits] = {torch.int8: 8, torch.uint8: 4}
    if values.dtype not in bits or scales.dtype != torch.float16:
        raise ValueError(f"{name} has types {values.dtype} and {scales.dtype}")
    matrix = Quantized(bits[values.dtype], values, scales)
    width = scales.shape[-1] * GROUP * matrix.bits // 8
    if values.ndim != 2 or scales.ndim != 2 or values.shape != (len(scales), width):
        raise ValueError(f"{name} has shapes {list(values.shape)} and {list(scales.shape)}")
    return matrix
