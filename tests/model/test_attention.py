import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lilllm.model.attention import attend, keep_apart
from lilllm.model.block_attention import BLOCK, block_attention
from lilllm.model.transformer import Shape, Transformer


def reference(q: Tensor, k: Tensor, v: Tensor, segments: Tensor | None = None) -> Tensor:
    """torch's own attention, with every mask written out."""
    groups = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(groups, dim=1) for x in (k, v))
    T = q.shape[2]
    mask = torch.ones(T, T, dtype=torch.bool).tril()
    if segments is not None:
        mask = mask & (segments[:, None, :, None] == segments[:, None, None, :])
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def draw(
    length: int, heads: int = 4, groups: int = 2, dtype: torch.dtype = torch.float64
) -> list[Tensor]:
    torch.manual_seed(length)
    shapes = (2, heads, length, 8), (2, groups, length, 8), (2, groups, length, 8)
    return [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes]


def documents(length: int) -> Tensor:
    """Segments of other lengths in each row."""
    return torch.stack([torch.arange(length) // 7, torch.arange(length) // (length // 2 + 1)])


def with_gradients(out: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    torch.manual_seed(1)
    grad = torch.randn(out.shape, dtype=torch.float64).to(out.dtype)
    return [out, *torch.autograd.grad(out, inputs, grad)]


@pytest.mark.parametrize("segmented", [False, True])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("length", [1, 2, BLOCK, BLOCK + 1, 3 * BLOCK - 5])
def test_block_attention_and_its_gradients_equal_torchs(
    length: int, groups: int, segmented: bool
) -> None:
    inputs = draw(length, groups=groups)
    segments = documents(length) if segmented else None
    got = with_gradients(block_attention(*inputs, segments), inputs)
    want = with_gradients(reference(*inputs, segments), inputs)
    for ours, theirs in zip(got, want, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_long_sequences_have_few_blocks_and_equal_results() -> None:
    inputs = draw(9 * BLOCK, heads=2, groups=1)
    got = with_gradients(block_attention(*inputs), inputs)
    for ours, theirs in zip(got, with_gradients(reference(*inputs), inputs), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_scores_far_apart_do_not_overflow() -> None:
    inputs = [(x * 40).detach().requires_grad_() for x in draw(40, dtype=torch.float32)]
    for value in with_gradients(block_attention(*inputs), inputs):
        assert torch.isfinite(value).all()


def test_in_bf16_the_error_is_that_of_torchs_kernel() -> None:
    inputs = draw(300, dtype=torch.float32)
    exact = with_gradients(reference(*(x.double() for x in inputs)), inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outs = block_attention(*inputs), reference(*inputs)
    ours, theirs = (with_gradients(out, inputs) for out in outs)
    assert ours[0].dtype == torch.bfloat16
    for got, other, want in zip(ours, theirs, exact, strict=True):
        assert (got - want).norm() < 2 * (other - want).norm()


def test_documents_in_a_row_do_not_see_each_other() -> None:
    shape = Shape(64, d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, d_ff=48, max_seq_len=40)
    model = Transformer(shape, seed=0).eval()
    ids = torch.randint(64, (1, 40), generator=torch.Generator().manual_seed(0))
    segments = torch.tensor([[0] * 15 + [1] * 25])
    first, whole = model(ids[:, :15]), model(ids, segments)
    torch.testing.assert_close(whole[:, :15], first, atol=1e-5, rtol=1e-5)
    other = ids.clone()
    other[:, :15] = 0
    torch.testing.assert_close(model(other, segments)[:, 15:], whole[:, 15:])


def test_attend_takes_documents_as_the_model_gives_them() -> None:
    inputs = draw(50, dtype=torch.float32)
    segments = documents(50)
    torch.testing.assert_close(
        attend(*inputs, keep_apart(segments)), reference(*inputs, segments), atol=1e-5, rtol=1e-5
    )
    meta = keep_apart(segments.to("meta"))  # where neither blocks nor FlexAttention are used
    assert isinstance(meta, Tensor) and meta.shape == (2, 1, 50, 50)
