"""Few-bit weights: errors bounded, llama.cpp's numbers, and rounding twice changes nothing."""

import pytest
import torch

from lilllm.model.quantized import GROUP, can_quantize, quantize

torch.set_num_threads(1)
WEIGHT = torch.randn(48, 96, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("bits", [8, 4])
def test_the_error_is_at_most_half_a_step(bits: int) -> None:
    error = (quantize(WEIGHT, bits).dequantize() - WEIGHT).view(48, -1, GROUP).abs()
    groups = WEIGHT.view(48, -1, GROUP)
    if bits == 8:
        step = groups.abs().amax(-1, keepdim=True) / 127
    else:
        step = (groups.amax(-1, keepdim=True) - groups.amin(-1, keepdim=True)) / 15
    assert (error <= step * 0.52).all()


@pytest.mark.parametrize("bits", [8, 4])
def test_rounding_twice_changes_nothing(bits: int) -> None:
    once = quantize(WEIGHT, bits)
    twice = quantize(once.dequantize(), bits)
    assert torch.equal(once.values, twice.values) and torch.equal(once.scales, twice.scales)


@pytest.mark.parametrize("bits", [8, 4])
def test_numbers_are_those_of_the_gguf_package_or_one_step_beside(bits: int) -> None:
    gguf = pytest.importorskip("gguf")
    kind = gguf.GGMLQuantizationType.Q8_0 if bits == 8 else gguf.GGMLQuantizationType.Q4_1
    theirs = gguf.dequantize(gguf.quantize(WEIGHT.numpy(), kind), kind)
    ours = quantize(WEIGHT, bits)
    steps = (ours.dequantize() - torch.from_numpy(theirs)).view(48, -1, GROUP)
    step = ours.scales.float().view(48, 96 // GROUP, -1)[:, :, :1]
    steps = (steps / step).abs().round()
    assert steps.max() <= 1 and (steps == 0).float().mean() > 0.98


def test_a_group_of_zeros_stays_zero() -> None:
    for bits in (8, 4):
        assert not quantize(torch.zeros(2, GROUP), bits).dequantize().any()


def test_rows_that_are_not_whole_groups_cannot_be_quantized() -> None:
    assert can_quantize(WEIGHT) and not can_quantize(WEIGHT[:, :95])
    assert not can_quantize(WEIGHT[0])
