"""torch.compile for the pieces that training repeats: the layers and the loss, each once.

A piece compiled once and called for every layer takes a tenth of the time that a graph of all
layers takes, and what is left between the pieces is cheap.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from lilllm.model import native_attention, native_linear, native_swiglu


@cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function compiled for every shape that it meets, the same one at every call."""
    import torch

    # no compiler can look into what loads a library
    for kernel in (native_attention, native_linear, native_swiglu):
        torch.compiler.assume_constant_result(kernel.is_faster)  # type: ignore[no-untyped-call]
    return torch.compile(function, dynamic=False)
