"""Which of torch's attention kernels a GPU is fastest with: each is run, none is presumed."""

import contextlib
import time

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from lilllm.model.attention import attend
from lilllm.model.transformer import Shape
from lilllm.training.hardware import Machine, synchronize

KERNELS = (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION)
REPEATS = 5


def fastest_attention(
    shape: Shape, rows: int, machine: Machine
) -> contextlib.AbstractContextManager[object]:
    """The context in which attention tries its kernels in the order of their speed here.

    Args:
        shape: of the model.
        rows: sequences of a forward pass.
        machine: on other devices than CUDA there is no choice, and nothing is run.
    """
    if machine.device != "cuda":
        return contextlib.nullcontext()
    T, K = shape.max_seq_len, shape.head_dim
    inputs = [
        torch.zeros(rows, heads, T, K, device="cuda", dtype=machine.dtype, requires_grad=True)
        for heads in (shape.n_heads, shape.n_kv_heads, shape.n_kv_heads)
    ]
    seconds = {kernel: _seconds(kernel, inputs, machine.device) for kernel in KERNELS}
    return sdpa_kernel([*by_speed(seconds), SDPBackend.MATH], set_priority=True)


def by_speed(seconds: dict[SDPBackend, float | None]) -> list[SDPBackend]:
    """Kernels from fast to slow; those that cannot do it (None) are last."""
    return sorted(seconds, key=lambda kernel: (seconds[kernel] is None, seconds[kernel] or 0.0))


def _seconds(kernel: SDPBackend, inputs: list[Tensor], device: str) -> float | None:
    """Time of a forward and backward pass, or None where the kernel cannot do it."""
    q, k, v = inputs
    try:
        with sdpa_kernel(kernel):
            for repeat in range(REPEATS + 1):
                if repeat == 1:  # the first one only warms up
                    synchronize(device)
                    began = time.perf_counter()
                torch.autograd.grad(attend(q, k, v).sum(), inputs)
            synchronize(device)
    except RuntimeError:
        return None
    return (time.perf_counter() - began) / REPEATS
