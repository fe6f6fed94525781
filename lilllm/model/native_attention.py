"""Causal attention in bf16 by kernels/attention.c, where the processor and a C compiler allow it.

`block_attention.py` decides when, and computes the same with torch elsewhere. Shapes as there: N
heads of keys of all texts, T positions, R query heads to each, K head width.
"""

import torch
from torch import Tensor

from lilllm.model.native import call, library


def is_faster(heads: int) -> bool:
    """Whether to use the kernel for `heads` = N; compiles it at the first call, in a second.

    Every head is one thread's work, so there must be enough of them.
    """
    return 2 * heads >= torch.get_num_threads() and library("attention") is not None


@torch.library.custom_op("lilllm::attention", mutates_args=())
def native_attention(
    q: Tensor, k: Tensor, v: Tensor, segments: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Causal attention; differentiable.

    Args:
        q: scaled queries [N, T R, K] in bf16, heads of a group side by side; 32 divides K.
        k: keys [N, T, K] in bf16.
        v: values [N, T, K] in bf16.
        segments: [B, T] in int64; a query sees keys of its own number only, and equal numbers are
            adjacent. None: one segment.

    Returns:
        [N, T R, K] in bf16, and for the backward pass log2 of each row's sum of exp(scores).

    Source: Dao 2023, "FlashAttention-2", arXiv:2307.08691.
    """
    q, k, v = (x.contiguous() for x in (q, k, v))
    segments = None if segments is None else segments.contiguous()
    out, logs = torch.empty_like(q), q.new_empty(q.shape[:2], dtype=torch.float32)
    _call("attend_forward", _sizes(q, k, segments), q, k, v, segments, out, logs)
    return out, logs


@native_attention.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, segments: Tensor | None) -> tuple[Tensor, Tensor]:
    return q.new_empty(q.shape), q.new_empty(q.shape[:2], dtype=torch.float32)


@torch.library.custom_op("lilllm::attention_backward", mutates_args=())
def _backward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    segments: Tensor | None,
    out: Tensor,
    logs: Tensor,
    grad: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v, out, logs, grad = (x.contiguous() for x in (q, k, v, out, logs, grad))
    segments = None if segments is None else segments.contiguous()
    found = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    sizes = _sizes(q, k, segments)
    _call("attend_backward", sizes, q, k, v, segments, out, logs, grad, *found)
    return found


@_backward.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, *others: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


def _save(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    ctx.save_for_backward(*inputs, *output)


def _differentiate(ctx, grad, _):  # type: ignore[no-untyped-def]
    q, k, v, segments, out, logs = ctx.saved_tensors
    return *_backward(q, k, v, segments, out, logs, grad), None


native_attention.register_autograd(_differentiate, setup_context=_save)


def _sizes(q: Tensor, k: Tensor, segments: Tensor | None) -> list[int]:
    """N, G, T, R, K and threads."""
    N, T, K = k.shape
    groups = N if segments is None else N // len(segments)
    return [N, groups, T, q.shape[1] // T, K, torch.get_num_threads()]


def _call(name: str, sizes: list[int], *tensors: Tensor | None) -> None:
    """Call a function of the kernel; every tensor is contiguous.

    Raises:
        RuntimeError: there is no memory for what it needs.
    """
    if call("attention", name, *sizes, *tensors):
        raise RuntimeError(f"{name}: can't allocate memory")  # as torch says it
