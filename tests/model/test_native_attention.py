import pytest
import torch
from torch import Tensor

from lilllm.model.attention import attend
from lilllm.model.block_attention import _BlockAttention
from lilllm.model.native_attention import is_faster, native_attention
from tests.model.test_attention import documents, reference, with_gradients

pytestmark = pytest.mark.skipif(
    not is_faster(64), reason="no C compiler, or a processor without AVX512-BF16"
)


def draw(length: int, groups: int, width: int = 32, heads: int = 4) -> list[Tensor]:
    torch.manual_seed(length)
    shapes = (2, heads, length, width), (2, groups, length, width), (2, groups, length, width)
    return [torch.randn(shape).bfloat16().requires_grad_() for shape in shapes]


@pytest.mark.parametrize("segmented", [False, True])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("length", [1, 2, 15, 24, 63, 64, 65, 129, 480])
def test_the_error_is_that_of_torchs_kernel(length: int, groups: int, segmented: bool) -> None:
    compare(draw(length, groups), documents(length) if segmented else None)


@pytest.mark.parametrize(
    ("width", "heads", "groups", "length"), [(96, 3, 1, 65), (128, 5, 1, 31), (64, 2, 2, 129)]
)
def test_other_widths_and_groups(width: int, heads: int, groups: int, length: int) -> None:
    segments = documents(length + 1)[:, :-1]  # lies in memory with gaps
    compare(draw(length, groups, width, heads), segments)
    compare(draw(length, groups, width, heads), None)


def compare(inputs: list[Tensor], segments: Tensor | None) -> None:
    exact = with_gradients(reference(*(x.double() for x in inputs), segments), inputs)
    ours = with_gradients(attend(*inputs, segments), inputs)
    theirs = with_gradients(reference(*inputs, segments), inputs)
    for got, other, want in zip(ours, theirs, exact, strict=True):
        assert got.dtype == torch.bfloat16
        error, others = ((x.double() - want.double()).abs().max() for x in (got, other))
        assert error <= 1.1 * others + want.abs().max() / 256 + 1e-6  # the last bit of bf16


def test_it_is_what_attention_in_bf16_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_BlockAttention, "apply", None)
    assert attend(*draw(40, 2)).shape == (2, 4, 40, 32)
    monkeypatch.undo()
    assert attend(*draw(40, 2, width=16)).shape == (2, 4, 40, 16), "what it cannot do torch does"


def test_results_are_the_same_bits_with_any_number_of_threads() -> None:
    inputs = draw(200, 2, width=64)
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(with_gradients(attend(*inputs, documents(200)), inputs))
    finally:
        torch.set_num_threads(before)
    assert all(
        torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True)
    )


def test_large_scores_do_not_overflow_and_what_is_no_number_stays_so() -> None:
    q, k, v = draw(100, 2)
    large = (40 * q).detach().requires_grad_(), (40 * k).detach().requires_grad_(), v
    assert all(value.isfinite().all() for value in with_gradients(attend(*large), list(large)))
    broken = q.detach().clone()
    broken[0, 1, 50, 3] = torch.nan
    out = attend(broken, k, v)
    assert out[0, 1, 50].isnan().all()
    assert out.isnan().sum() == 32, "only where it was"


def test_torch_finds_the_operators_well_made() -> None:
    q, k, v = (x.flatten(0, 1).detach().requires_grad_() for x in draw(33, 4))
    torch.library.opcheck(native_attention, (q, k, v, documents(33)))
    torch.library.opcheck(native_attention, (q, k, v, None))
