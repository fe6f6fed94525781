"""The gate of a feed-forward network in bf16 by kernels/swiglu.c, and by torch elsewhere.

Shapes: F feed-forward width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from lilllm.model.native import call, library

LEAST = 2**16
"""Numbers below which a call of the kernel takes more time than it saves."""


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) up, for both of [..., F].

    Source: Shazeer 2020, arXiv:2002.05202.
    """
    in_bf16 = gate.dtype == up.dtype == torch.bfloat16 and gate.device.type == "cpu"
    if in_bf16 and is_faster(gate.numel(), gate.shape[-1]):
        return native_swiglu(gate, up)  # type: ignore[no-any-return]
    return F.silu(gate) * up


def is_faster(numbers: int, width: int) -> bool:
    """Whether to use the kernel for that many numbers; compiles it at the first call."""
    return numbers >= LEAST and width % 32 == 0 and library("swiglu") is not None


@torch.library.custom_op("lilllm::swiglu", mutates_args=())
def native_swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) up in bf16, for both of [..., F]; 32 divides F. Differentiable."""
    out = gate.new_empty(gate.shape)
    _call("swiglu_forward", gate.contiguous(), up.contiguous(), out)
    return out


@native_swiglu.register_fake
def _(gate: Tensor, up: Tensor) -> Tensor:
    return gate.new_empty(gate.shape)


@torch.library.custom_op("lilllm::swiglu_backward", mutates_args=())
def _backward(grad: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    found = gate.new_empty(gate.shape), gate.new_empty(gate.shape)
    _call("swiglu_backward", grad.contiguous(), gate.contiguous(), up.contiguous(), *found)
    return found


@_backward.register_fake
def _(grad: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    return gate.new_empty(gate.shape), gate.new_empty(gate.shape)


def _save(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    ctx.save_for_backward(*inputs)


def _differentiate(ctx, grad):  # type: ignore[no-untyped-def]
    return _backward(grad, *ctx.saved_tensors)


native_swiglu.register_autograd(_differentiate, setup_context=_save)


def _call(function: str, *tensors: Tensor) -> None:
    width = tensors[0].shape[-1]
    call("swiglu", function, tensors[0].numel() // width, width, torch.get_num_threads(), *tensors)
