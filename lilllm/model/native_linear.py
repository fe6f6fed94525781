"""Linear layers in bf16 by kernels/products.c, where the processor and a C compiler allow it.

`linear.py` decides when. Shapes: N outputs, K inputs, both multiples of 32.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lilllm.model.native import Passed, call, library

LEAST_WORK = 2**24
"""Multiplications below which a call of the kernel takes more time than it saves."""
LEAST_ROWS = 256
"""Rows below which the copy of the weights does."""
STEP = 1024
"""Rows that are copied at once for the gradients of weights, a multiple of 32."""


def is_faster(rows: int, inputs: int, *outputs: int) -> bool:
    """Whether to use the kernel for layers of these sizes; compiles it at the first call."""
    possible = all(size % 32 == 0 for size in (inputs, *outputs))
    enough = rows >= LEAST_ROWS and rows * inputs * sum(outputs) >= LEAST_WORK
    return possible and enough and library("products") is not None


def native_linear(x: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
    """Multiply by each weight, x W^T, in bf16; differentiable.

    Args:
        x: [..., K] in bf16, at least one row.
        weights: [N, K] each, in fp32. Their gradients are not rounded to bf16.

    Returns:
        [..., N] in bf16 for each weight.
    """
    assert (
        x.numel() > 0
        and x.dtype == torch.bfloat16
        and all(w.dtype == torch.float32 for w in weights)
    )
    assert all(size % 32 == 0 for size in (x.shape[-1], *map(len, weights)))
    if not torch.is_grad_enabled():
        return list(_forward(x, weights, False, False)[:-2])
    return list(_Linear.apply(x, *weights))  # type: ignore[no-untyped-call]


class _Linear(torch.autograd.Function):
    """The gradients read copies that the forward pass makes while x and W are near the cores."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        of_x, *of_weights = ctx.needs_input_grad
        *ys, outputs, rows = _forward(x, weights, of_x, any(of_weights))
        ctx.save_for_backward(outputs, rows)
        return tuple(ys)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        of_x, *of_weights = ctx.needs_input_grad
        outputs, rows = ctx.saved_tensors
        x_grad = _input_gradient(grads, outputs) if of_x else None
        if not any(of_weights):
            return x_grad, *(None for _ in grads)
        return x_grad, *_weight_gradients(grads, rows)


@torch.library.custom_op("lilllm::linear", mutates_args=())
def _forward(
    x: Tensor, weights: Sequence[Tensor], keep_weights: bool, keep_x: bool
) -> list[Tensor]:
    """Return each x W^T, and the copies of all W [all N, K] and of x [rows, K], or nothing."""
    found: list[Tensor] = _outputs(x, weights, keep_weights, keep_x)
    kept = [copy if len(copy) else None for copy in found[-2:]]
    room = x.new_empty(sum(map(len, weights)), x.shape[-1])
    weights = [weight.contiguous() for weight in weights]
    sizes = _rows(x), x.shape[-1], [len(weight) for weight in weights]
    _call("linear_forward", *sizes, x.contiguous(), weights, found[:-2], room, *kept, STEP)
    return found


@_forward.register_fake
def _outputs(
    x: Tensor, weights: Sequence[Tensor], keep_weights: bool, keep_x: bool
) -> list[Tensor]:
    ys = [x.new_empty(*x.shape[:-1], len(weight)) for weight in weights]
    outputs = x.new_empty(keep_weights * sum(map(len, weights)), x.shape[-1])
    return [*ys, outputs, x.new_empty(keep_x * (_rows(x) + -_rows(x) % 32), x.shape[-1])]


@torch.library.custom_op("lilllm::linear_input_gradient", mutates_args=())
def _input_gradient(grads: Sequence[Tensor], outputs: Tensor) -> Tensor:
    grads = [grad.contiguous() for grad in grads]
    found = outputs.new_empty(*grads[0].shape[:-1], outputs.shape[-1])
    sizes = _rows(found), found.shape[-1], [grad.shape[-1] for grad in grads]
    _call("linear_input_gradient", *sizes, grads, outputs, found)
    return found


@_input_gradient.register_fake
def _(grads: Sequence[Tensor], outputs: Tensor) -> Tensor:
    return outputs.new_empty(*grads[0].shape[:-1], outputs.shape[-1])


@torch.library.custom_op("lilllm::linear_weight_gradients", mutates_args=())
def _weight_gradients(grads: Sequence[Tensor], rows: Tensor) -> list[Tensor]:
    grads = [grad.contiguous() for grad in grads]
    found = [rows.new_empty(g.shape[-1], rows.shape[-1], dtype=torch.float32) for g in grads]
    room = rows.new_empty(min(len(rows), STEP), sum(map(len, found)))
    sizes = _rows(grads[0]), rows.shape[-1], [len(each) for each in found]
    _call("linear_weight_gradient", *sizes, grads, rows, found, room, STEP)
    return found


@_weight_gradients.register_fake
def _(grads: Sequence[Tensor], rows: Tensor) -> list[Tensor]:
    return [rows.new_empty(g.shape[-1], rows.shape[-1], dtype=torch.float32) for g in grads]


def _call(function: str, rows: int, inputs: int, outputs: list[int], *others: Passed) -> None:
    sizes = rows, inputs, len(outputs), torch.get_num_threads()
    call("products", function, *sizes, outputs, *others)


def _rows(x: Tensor) -> int:
    return x.shape[:-1].numel()
