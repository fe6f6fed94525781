"""Weights in 8 or 4 bits: groups of 32 neighbours in a row share a scale.

| bits | a number is stored as     | a group has                                  | bits in all |
|------|---------------------------|----------------------------------------------|-------------|
| 8    | an integer in [-127, 127] | a step: its largest magnitude / 127          | 8.5         |
| 4    | an integer in [0, 15]     | its least number, and a step: its range / 15 | 5           |

These are the formats of llama.cpp's Q8_0 and Q4_1, except that numbers are rounded for the step as
it is stored. Quantizing what was dequantized gives the same integers again. In a state dict
the matrix `X` becomes `X.values` and `X.scales`. Embedding and output matrix suffer most and
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
        values: int8 [N, K]; with 4 bits uint8 [N, K / 2], where a group's first 16 numbers are the
            low halves of its 16 bytes.
        scales: fp16 steps [N, K / 32]; with 4 bits steps and least numbers [N, K / 32, 2].
    """

    bits: Bits
    values: Tensor
    scales: Tensor

    def dequantize(self) -> Tensor:
        """The fp32 matrix [N, K] that this stands for."""
        rows, groups = self.scales.shape[:2]
        scales = self.scales.float()
        if self.bits == 8:
            numbers = self.values.view(rows, groups, GROUP) * scales[:, :, None]
        else:
            packed = self.values.view(rows, groups, GROUP // 2)
            counts = torch.cat((packed & 15, packed >> 4), dim=-1)
            numbers = counts * scales[:, :, :1] + scales[:, :, 1:]
        return numbers.view(rows, -1)


def can_quantize(weight: Tensor) -> bool:
    """Whether the rows of a matrix are whole groups."""
    return weight.ndim == 2 and weight.shape[1] % GROUP == 0


def quantize(weight: Tensor, bits: Bits) -> Quantized:
    """Round a matrix [N, K] to 8 or 4 bits; see `can_quantize`."""
    groups = weight.float().view(weight.shape[0], -1, GROUP)
    if bits == 8:
        scales = (groups.abs().amax(dim=-1) / 127).half()
        steps = scales.float()[:, :, None]
        numbers = torch.where(steps == 0, 0, groups / steps).round().clamp(-127, 127)
        return Quantized(bits, numbers.to(torch.int8).view(weight.shape), scales)
    least = groups.amin(dim=-1)
    scales = torch.stack(((groups.amax(dim=-1) - least) / 15, least), dim=-1).half()
    steps, least = scales.float()[:, :, None].unbind(dim=-1)
    numbers = torch.where(steps == 0, 0, (groups - least) / steps).round().clamp(0, 15)
    low, high = numbers.to(torch.uint8).chunk(2, dim=-1)
    return Quantized(bits, (low | high << 4).view(weight.shape[0], -1), scales)


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
    rows, columns = values.shape if values.ndim == 2 else (0, 0)
    wanted = rows, columns * 8 // matrix.bits // GROUP, *(() if matrix.bits == 8 else (2,))
    if values.ndim != 2 or columns * 8 % (matrix.bits * GROUP) or scales.shape != wanted:
        raise ValueError(f"{name} has shapes {list(values.shape)} and {list(scales.shape)}")
    return matrix
