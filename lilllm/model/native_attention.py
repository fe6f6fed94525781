"""Causal attention in bf16 by kernels/attention.c, where the processor and a C compiler allow it.

`block_attention.py` decides when, and computes the same with torch elsewhere. Shapes as there: N
heads of keys of all texts, T positions, R query heads to each, K head width.
"""

import ctypes
from functools import cache

import torch
from torch import Tensor

from lilllm.kernels.build import load


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def is_available() -> bool:
    """Whether this machine has the kernel; compiles it at the first call, in some seconds."""
    return _library() is not None


@cache
def _library() -> ctypes.CDLL | None:
    library = load("attention")
    return library if hasattr(library, "attend_forward") else None


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
    out, logs = torch.empty_like(q), q.new_empty(q.shape[:2], dtype=torch.float32)
    library = _library()
    assert library is not None
    library.attend_forward(*_sizes(q, k, segments), *_pointers(q, k, v, segments, out, logs))
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
    q, k, v, grad = (x.contiguous() for x in (q, k, v, grad))
    found = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    library = _library()
    assert library is not None
    library.attend_backward(
        *_sizes(q, k, segments), *_pointers(q, k, v, segments, out, logs, grad, *found)
    )
    return found


@_backward.register_fake
def _(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    segments: Tensor | None,
    out: Tensor,
    logs: Tensor,
    grad: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
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


def _pointers(*tensors: Tensor | None) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(None if x is None else x.data_ptr()) for x in tensors]
