"""Weights in 8 or 4 bits: groups of 32 neighbours in a row share one scale.

| bits | a number is stored as     | a group's scale        | bits per weight |
|------|---------------------------|------------------------|-----------------|
| 8    | an integer in [-127, 127] | largest magnitude / 127| 8.5             |
| 4    | an integer in [-8, 7]     | largest magnitude / -8, with its sign | 4.5 |

Values and scales are those of llama.cpp's Q8_0 and Q4_0, except that numbers are rounded for the
scale as it is stored. Quantizing what was dequantized gives the same
integers again. Which matrices get how many bits is decided by whoever has them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

GROUP = 32
"""Weights that share a scale."""


@dataclass(frozen=True, slots=True)
class Quantized:
    """A matrix [N, K] in few bits.

    Attributes:
        bits: 8 or 4.
        values: int8 [N, K]; with 4 bits uint8 [N, K / 2], where a group's first 16 numbers plus 8
            are the low halves of its 16 bytes.
        scales: fp16 [N, K / 32].
    """

    bits: int
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


def quantize(weight: Tensor, bits: int) -> Quantized:
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
