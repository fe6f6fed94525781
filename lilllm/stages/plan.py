"""What a config's pretraining will take: parameters, arithmetic, memory, disk and time."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from lilllm.config import Config
from lilllm.config.schema import OptimizationConfig
from lilllm.events import Note, Report
from lilllm.model.transformer import (
    Shape,
    Transformer,
    count_parameters,
    flops_per_token,
    init_weights,
)
from lilllm.stages.model_shape import planned_vocab_size, resolve_shape
from lilllm.training.hardware import (
    Machine,
    keep_freed_memory,
    memory_bytes,
    peak_memory_bytes,
    resolve_machine,
    synchronize,
)
from lilllm.training.memory import StepMemory, micro_batch_rows, step_memory
from lilllm.training.objectives.next_token import next_token_loss

HEAP_SHARE, PACKED_HEAP_SHARE = 0.65, 0.10
"""What a CPU's heap holds beyond live tensors, as a share of the activations: freed blocks that
no later tensor fits into. The second where `keep_freed_memory` packs tensors. Measured with
glibc's malloc (benchmarks/plan_memory.py)."""

TRIAL_TOKENS = 4096
"""Tokens of the micro-batch that is timed, at most: seconds on a CPU, whatever the config."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Counts, bytes, FLOPs and seconds of a pretraining run.

    memory_bytes: by part, and in total. On a CPU, where the peak of the whole process is what one
    sees, `process` is Python with torch, and `heap` what the allocator cannot use.
    seconds: of all steps, from the speed of a real micro-batch on this machine; absent where
    that would not fit.
    """

    parameters: dict[str, int]
    steps: int
    tokens: int
    tokens_per_parameter: float
    flops_per_token: int
    total_flops: int
    memory_bytes: dict[str, int]
    memory_available_bytes: int
    disk_bytes: int
    device: str
    precision: str
    threads: int
    peak_flops: float
    tokens_per_s: float | None
    mfu: float | None
    seconds: float | None
    advice: str | None


def run(config: Config, report: Report) -> Plan:
    """Plan the pretraining of a config.

    Nothing is trained or written. The vocabulary is that of `tokenizer.path`, or else the one asked
    for: a corpus that is too small for it makes a smaller one.

    Raises:
        RunError: the named device is not there.
    """
    packed = keep_freed_memory()
    machine = resolve_machine(config)
    section = config.pretrain
    shape = resolve_shape(config.model, planned_vocab_size(config))
    parts = count_parameters(shape)
    parameters = sum(parts.values())
    flops = flops_per_token(shape)
    tokens = section.steps * section.batch_tokens
    process = _resting_bytes()
    rows = micro_batch_rows(section, shape.max_seq_len)
    section = section.model_copy(update={"micro_batch_size": rows})
    memory = step_memory(shape, section, lambda model, *batch: _loss(machine, model, *batch))
    by_part = {
        "weights": memory.weights,
        "gradients": memory.gradients,
        "optimizer": memory.optimizer,
        "activations": memory.activations,
    }
    if machine.device == "cpu":
        by_part["heap"] = int((PACKED_HEAP_SHARE if packed else HEAP_SHARE) * memory.activations)
        by_part["process"] = process
    total, available = sum(by_part.values()), memory_bytes(machine.device)
    fits = total <= available or not available  # 0: nobody tells
    report(Note("timing one micro-batch") if fits else Note("too large to be timed here"))
    speed = _tokens_per_s(shape, section, machine, config.seed) if fits else None
    return Plan(
        parameters={**parts, "total": parameters},
        steps=section.steps,
        tokens=tokens,
        tokens_per_parameter=tokens / parameters,
        flops_per_token=flops,
        total_flops=flops * tokens,
        memory_bytes={**by_part, "total": total},
        memory_available_bytes=available,
        disk_bytes=(memory.weights + memory.optimizer) * (section.keep_last + 2),
        device=machine.device,
        precision=machine.precision,
        threads=machine.threads,
        peak_flops=machine.peak_flops,
        tokens_per_s=speed,
        mfu=speed * flops / machine.peak_flops if speed else None,
        seconds=tokens / speed if speed else None,
        advice=None if fits else advise(section, memory, total, available),
    )


def advise(section: OptimizationConfig, memory: StepMemory, total: int, available: int) -> str:
    """What to change so that a step fits into memory."""
    room = available - (total - memory.activations)
    size = section.micro_batch_size
    while size > 1 and memory.activations * size > room * section.micro_batch_size:
        size = next(n for n in range(size - 1, 0, -1) if section.micro_batch_size % n == 0)
    if memory.activations * size <= room * section.micro_batch_size:
        return f"pretrain.micro_batch_size={size} fits"
    return "a smaller model.d_model, model.n_layers or model.max_seq_len is needed"


def _resting_bytes() -> int:
    """What a process that trains takes before there is a model: optimizers import a lot."""
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
    return peak_memory_bytes("cpu")


def _loss(machine: Machine, model: Transformer, ids: Tensor, targets: Tensor) -> Tensor:
    with machine.autocast():
        return next_token_loss(model, ids, targets, None).total


def _tokens_per_s(shape: Shape, section: OptimizationConfig, machine: Machine, seed: int) -> float:
    """Forward and backward of a real micro-batch, the better of two after one to warm up."""
    model = Transformer(shape)
    model.recompute = section.activation_checkpointing
    init_weights(model, seed)
    model.to(machine.device)
    sequences = max(1, min(section.micro_batch_size, TRIAL_TOKENS // shape.max_seq_len))
    ids = torch.randint(shape.vocab_size, (sequences, shape.max_seq_len), device=machine.device)
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        _loss(machine, model, ids, ids).backward()  # type: ignore[no-untyped-call]
        synchronize(machine.device)
        seconds.append(time.perf_counter() - began)
    return ids.numel() / min(seconds[1:])
