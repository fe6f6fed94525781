"""How the operators `native_*.py` reach their C kernels in `../kernels`.

Each operator decides itself when its kernel is the faster way; torch does the work elsewhere.
"""

import ctypes
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from lilllm.kernels.build import load


@cache
def library(name: str) -> ctypes.CDLL | None:
    """Kernels that need AVX512-BF16 or AMX; compiled at the first call, in a second.

    None where there is no compiler and on other processors. On those with AMX vectors multiply far
    more slowly than torch does, so products must be in tiles, which the operating system allows.
    """
    found = load(name)
    if torch.cpu._is_amx_tile_supported() and (
        hasattr(found, "multiplies_in_vectors") or not torch.cpu._init_amx()
    ):
        return None
    return found if hasattr(found, "needs_avx512_bf16") else None


Passed = int | Tensor | Sequence[int | Tensor] | None
"""What a kernel can be given: numbers, contiguous tensors, arrays of either, NULL."""


def call(name: str, function: str, *arguments: Passed) -> int:
    """Call a function of a kernel."""
    return int(getattr(library(name), function)(*map(_passed, arguments)))


def _passed(argument: Passed) -> object:
    if isinstance(argument, Tensor):
        return ctypes.c_void_p(argument.data_ptr())
    if not isinstance(argument, Sequence):
        return argument
    addresses = [each.data_ptr() for each in argument if isinstance(each, Tensor)]
    numbers = [each for each in argument if isinstance(each, int)]
    return (
        (ctypes.c_void_p * len(addresses))(*addresses)
        if addresses
        else (ctypes.c_int * len(numbers))(*numbers)
    )
