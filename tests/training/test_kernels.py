import contextlib

import torch
from torch.nn.attention import SDPBackend

from lilllm.model.transformer import Shape
from lilllm.training.hardware import Machine
from lilllm.training.kernels import _seconds, by_speed, fastest_attention


def test_kernels_are_ordered_by_speed_and_those_that_fail_come_last() -> None:
    flash, cudnn, efficient = (
        SDPBackend.FLASH_ATTENTION,
        SDPBackend.CUDNN_ATTENTION,
        SDPBackend.EFFICIENT_ATTENTION,
    )
    assert by_speed({flash: 2.0, cudnn: None, efficient: 1.0}) == [efficient, flash, cudnn]


def test_a_kernel_is_timed_by_running_it() -> None:
    inputs = [torch.zeros(1, 2, 8, 4, requires_grad=True) for _ in range(3)]
    seconds = _seconds(SDPBackend.MATH, inputs, "cpu")
    assert seconds is not None and seconds > 0


def test_a_cpu_has_no_choice() -> None:
    shape = Shape(64, d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, d_ff=48, max_seq_len=16)
    machine = Machine("cpu", "fp32", 1, 1e11, "test")
    assert isinstance(fastest_attention(shape, 2, machine), contextlib.nullcontext)
