import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lilllm.model.native_swiglu import LEAST, is_faster, native_swiglu, swiglu

needs_kernel = pytest.mark.skipif(
    not is_faster(LEAST, 32), reason="no C compiler, or a processor without AVX512-BF16"
)


def with_gradients(gate: Tensor, up: Tensor, *, exact: bool) -> list[Tensor]:
    if exact:
        gate, up = (x.detach().double().requires_grad_() for x in (gate, up))
    out = F.silu(gate) * up if exact else swiglu(gate, up)
    torch.manual_seed(1)
    grad = torch.randn(out.shape).bfloat16().to(out.dtype)
    return [out, *torch.autograd.grad(out, (gate, up), grad)]


@needs_kernel
@pytest.mark.parametrize("scale", [0.1, 3.0, 30.0])
def test_rounded_once_to_bf16(scale: float) -> None:
    torch.manual_seed(0)
    gate, up = (torch.randn(3, 700, 96).mul(scale).bfloat16().requires_grad_() for _ in range(2))
    ours, exact = (with_gradients(gate, up, exact=exact) for exact in (False, True))
    for got, want in zip(ours, exact, strict=True):
        assert got.dtype == torch.bfloat16
        error = (got.double() - want).abs()
        # near the minimum of silu its slope is a difference of like numbers in fp32
        assert (error <= 1.01 * 2**-8 * want.abs() + 1e-5 * scale).all()


@needs_kernel
def test_all_numbers_of_bf16_with_their_slopes() -> None:
    numbers = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    numbers = numbers.view(-1, 64).requires_grad_()
    ones = torch.ones_like(numbers, requires_grad=True)
    ours = native_swiglu(numbers, ones)
    ours = [ours, *torch.autograd.grad(ours, (numbers, ones), torch.ones_like(ours))]
    wide, up = numbers.detach().double().requires_grad_(), ones.detach().double().requires_grad_()
    out = F.silu(wide) * up
    finite = numbers.isfinite()
    for got, want in zip(ours, [out, *torch.autograd.grad(out.sum(), (wide, up))], strict=True):
        error = (got.double() - want).abs()[finite]
        assert (error <= 1.01 * 2**-8 * want[finite].abs() + 1e-6).all()
        assert got[numbers.isnan()].isnan().all()
    assert (ours[0][numbers == torch.inf] == torch.inf).all()
    assert ours[0][numbers == -torch.inf].isnan().all(), "as torch has it: 0 times infinity"


def test_small_and_odd_ones_go_to_torch() -> None:
    assert not is_faster(LEAST - 1, 32)
    assert not is_faster(LEAST, 33)
    gate = torch.randn(5, 33)
    assert torch.equal(swiglu(gate, gate), F.silu(gate) * gate)


@needs_kernel
def test_torch_finds_the_operator_well_made() -> None:
    gate, up = (torch.randn(9, 64).bfloat16().requires_grad_() for _ in range(2))
    torch.library.opcheck(native_swiglu, (gate, up))
