"""How fast a config trains here: full steps of the real loop on tokens drawn at random.

Nothing is prepared and nothing is kept: the loop runs in a temporary folder, and whoever
measures ends it by an exception before it would save.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lilllm.config import Config
from lilllm.data.batches import PackedWindows, StreamWindows, Windows
from lilllm.errors import ConfigError, Interrupted
from lilllm.events import Event, Note, Report, StepDone
from lilllm.model.checkpoint import save_model
from lilllm.model.transformer import (
    Transformer,
    count_parameters,
    flops_per_token,
    init_weights,
)
from lilllm.stages.model_shape import resolve_shape
from lilllm.stages.training_stage import wants_compile
from lilllm.training.hardware import (
    Machine,
    keep_freed_memory,
    peak_memory_bytes,
    resolve_machine,
)
from lilllm.training.loop import train
from lilllm.training.objectives import Objective
from lilllm.training.objectives.next_token import next_token_loss
from lilllm.training.optimizers import make_optimizers, optimizer_tensors
from lilllm.training.run import Hooks, Run
from lilllm.training.state import Counters, save_checkpoint


@dataclass(frozen=True, slots=True)
class BenchResult:
    """Speed of whole steps, logging included, between the first and the last measured one.

    mfu: share of `peak_gflops`, which was measured just before (on a known GPU: its data sheet).
    step_s: seconds per step, a mean per logged line. first_step_s: compiling included.
    """

    tokens_per_s: float
    mfu: float
    peak_memory_bytes: int
    steps: int
    step_s: list[float]
    first_step_s: float
    batch_tokens: int
    micro_batch_size: int
    parameters: int
    peak_gflops: float
    peak_source: str
    device: str
    precision: str
    threads: int
    compiled: bool


class Enough(Exception):
    """Raised by who measures, to end the loop."""


@dataclass(slots=True)
class _Clock:
    """When the logged steps ended; ends the loop after the last one that is wanted."""

    last: int
    steps: list[int] = field(default_factory=lambda: [0])
    ends: list[float] = field(default_factory=lambda: [time.perf_counter()])

    def __call__(self, event: StepDone) -> None:
        self.steps.append(event.step)
        self.ends.append(time.perf_counter())
        if event.step >= self.last:
            raise Enough

    def means(self, after: int = 0) -> list[float]:
        """Seconds per step between lines of the log, from the first line at `after` steps on."""
        lines = list(zip(self.steps, self.ends, strict=True))
        return [
            (end - start) / (step - before)
            for (before, start), (step, end) in pairwise(lines)
            if before >= after
        ]


def run(config: Config, report: Report, steps: int = 8, warmup: int = 2) -> BenchResult:
    """Train for `warmup` + `steps` steps and time the last ones.

    Raises:
        ConfigError: fewer than one step of either kind.
        RunError: no such device, or memory ran out.
    """
    if steps < 1 or warmup < 1:
        raise ConfigError("the first step compiles and allocates; --steps and --warmup are over 0")
    keep_freed_memory()
    machine = resolve_machine(config)
    log_every = 1 if machine.device == "cpu" else steps  # elsewhere a line waits for the device
    warmup = -(-warmup // log_every) * log_every
    clock = _Clock(warmup + steps)
    training = train_random_tokens(config, machine, report, clock, clock.last, log_every)
    measured = clock.means(after=warmup)
    section, shape = training.config, training.model.shape
    tokens_per_s = section.batch_tokens / statistics.mean(measured)
    flops = flops_per_token(shape)
    return BenchResult(
        tokens_per_s=tokens_per_s,
        mfu=tokens_per_s * flops / machine.peak_flops,
        peak_memory_bytes=peak_memory_bytes(machine.device),
        steps=clock.steps[-1] - warmup,
        step_s=measured,
        first_step_s=clock.means()[0],
        batch_tokens=section.batch_tokens,
        micro_batch_size=section.micro_batch_size,
        parameters=sum(count_parameters(shape).values()),
        peak_gflops=machine.peak_flops / 1e9,
        peak_source=machine.peak_source,
        device=machine.device,
        precision=machine.precision,
        threads=machine.threads,
        compiled=training.compiled,
    )


def train_random_tokens(
    config: Config,
    machine: Machine,
    report: Report,
    on_step: Callable[[StepDone], None],
    steps: int,
    log_every: int = 1,
    objective: Objective = next_token_loss,
) -> Run:
    """Run the training loop of a config on random tokens until `on_step` raises `Enough`.

    Args:
        config: its model and its `pretrain` section are used.
        machine: where to compute.
        report: is told everything that the loop says.
        on_step: called after every logged step; `Enough` of it ends the loop without an error.
        steps: how many `on_step` will want at most.
        log_every: steps between logged ones.
        objective: what is computed.
    """
    section = config.pretrain
    shape = resolve_shape(config.model, config.model.vocab_size or config.tokenizer.vocab_size)
    model = Transformer(shape)
    init_weights(model, config.seed, config.model.init_std, config.model.zero_init)
    model.to(machine.device)

    def listen(event: Event) -> None:
        report(event)
        if isinstance(event, StepDone):
            on_step(event)

    flops = flops_per_token(shape) * section.steps * section.batch_tokens
    with tempfile.TemporaryDirectory(prefix="lilllm-bench-") as folder:
        training = Run(
            stage="pretrain",
            folder=Path(folder) / "pretrain",
            model=model,
            objective=objective,
            windows=random_windows(config, shape.vocab_size),
            config=section.model_copy(update={"log_every": log_every, "save_every": 2**62 - 1}),
            steps=steps + 1,  # the last one would save
            seed=config.seed,
            machine=machine,
            hooks=Hooks(write_weights=lambda folder, counters, weights: None),
            report=listen,
            compiled=wants_compile(section, machine.device, flops, report),
        )
        how = "compiled" if training.compiled else "not compiled"
        report(Note(f"{machine.device}, {machine.precision}, {machine.threads} threads, {how}"))
        try:
            train(training, None)
        except Enough:
            pass
        except Interrupted as err:  # what it says was saved is gone with the folder
            raise Interrupted("stopped by a signal; nothing is kept of a measurement") from err
    return training


def random_windows(config: Config, vocab_size: int) -> Windows:
    """Windows over documents of random tokens, packed as the config says, for a few steps."""
    section, length = config.pretrain, config.model.max_seq_len
    draw = np.random.default_rng(0)
    size = max(4 * section.batch_tokens, 2**20)
    tokens = draw.integers(0, vocab_size, size, dtype=np.int32)

    def read(start: int, stop: int) -> NDArray[np.integer]:
        return tokens[start:stop]

    if section.packing == "stream":
        return StreamWindows(read, size, length)
    lengths = draw.integers(1, 2 * length, size)
    return PackedWindows(
        read, np.append(np.cumsum(lengths)[np.cumsum(lengths) < size], size), length, 0
    )


def save_seconds(config: Config, machine: Machine) -> float:
    """Seconds that one checkpoint of a config's model, with its optimizer's state, takes."""
    shape = resolve_shape(config.model, config.model.vocab_size or config.tokenizer.vocab_size)
    model = Transformer(shape, seed=0).to(machine.device)
    optimizers = make_optimizers(model, config.pretrain, machine.dtype)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for optimizer in optimizers:
        optimizer.step()
    with tempfile.TemporaryDirectory(prefix="lilllm-bench-") as folder:
        began = time.perf_counter()
        save_checkpoint(
            Path(folder),
            Counters(1, 1, 1),
            lambda partial: save_model(
                partial, model, bos_id=0, eos_ids=[0], pad_id=None, generation={}
            ),
            optimizer_tensors(model, optimizers),
        )
        return time.perf_counter() - began
