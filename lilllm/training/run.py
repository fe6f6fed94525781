"""What a training run is made of, how far it is, and the errors that name its state."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from lilllm.config.schema import OptimizationConfig
from lilllm.data.batches import Ints, Windows
from lilllm.errors import ConfigError, DataError, LilllmError, RunError
from lilllm.events import Report, counted, silent
from lilllm.model.transformer import Transformer
from lilllm.training.distributed import World
from lilllm.training.hardware import Machine
from lilllm.training.metrics import MetricsLog
from lilllm.training.objectives.loss import Objective
from lilllm.training.state import Counters
from lilllm.training.trackers import Tracker


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the loop calls but does not know.

    write_weights: fill a folder with the given weights, tokenizer and config.
    validate: measures of the model on held-out data; it calls its argument between batches,
        which may raise. The first measure decides which checkpoint is `best` (lower is better).
    sample: (prompt, text) pairs that the model writes.
    trackers: opens loggers besides our own; given the step that the run continues from.
    documents: names of the documents that some samples are made of, for error messages.
    """

    write_weights: Callable[[Path, Counters, dict[str, Tensor]], None]
    validate: Callable[[Callable[[], None]], dict[str, float]] = lambda poll: {}
    sample: Callable[[], list[tuple[str, str]]] = list
    trackers: Callable[[int], list[Tracker]] = lambda step: []
    documents: Callable[[Ints], list[str]] = lambda rows: []


@dataclass(slots=True)
class Run:
    """One stage's training: what stays the same from step to step, and how far it is.

    What is trained are the parameters of `model` that require gradients. `batch_rows` is the
    number of samples of a step; None: as many as `config.batch_tokens` holds.

    Raises:
        ConfigError: the batch cannot be shared equally by the processes.
        DataError: there are fewer samples than a step takes.
    """

    stage: str
    folder: Path
    model: Transformer
    objective: Objective
    windows: Windows
    config: OptimizationConfig
    steps: int
    seed: int
    machine: Machine
    hooks: Hooks
    report: Report
    world: World = field(default_factory=World)
    sample_every: int = 0
    batch_rows: int | None = None
    compiled: bool = False
    counters: Counters = field(default_factory=Counters)
    optimizers: list[torch.optim.Optimizer] = field(default_factory=list)
    trackers: list[Tracker] = field(default_factory=list)
    best: float = math.inf
    measures: dict[str, float] = field(default_factory=dict)
    last_loss: float | None = None
    tokens_per_s: float = 0.0
    mfu: float = 0.0

    def __post_init__(self) -> None:
        """Only the first process speaks, and a batch that cannot be shared is no run."""
        _check_batch(self)
        if not self.world.is_first:
            self.report = silent

    def open_trackers(self) -> None:
        """Begin or continue the loggers besides our own."""
        self.trackers = self.hooks.trackers(self.counters.step)

    @property
    def metrics(self) -> MetricsLog:
        """The log of this stage; the first process writes it."""
        path = self.folder / "metrics.jsonl"
        return MetricsLog(path, writable=self.world.is_first, trackers=self.trackers)

    @property
    def sequences(self) -> int:
        """Samples of a step, over all processes."""
        if self.batch_rows is not None:
            return self.batch_rows
        return self.config.batch_tokens // self.windows.length

    @property
    def step_tokens(self) -> int:
        """Positions of a step, over all processes."""
        return self.sequences * self.windows.length


def _check_batch(run: Run) -> None:
    """Do nothing if a step's samples are there, and can be shared equally.

    Raises:
        ConfigError: they cannot be shared.
        DataError: the table has fewer samples than a step takes.
    """
    size = run.world.size
    if run.batch_rows is None:
        key, each = "batch_tokens", run.windows.length
        said = f"{run.sequences} sequences of {each} tokens"
    else:
        key, each, said = "batch_rows", 1, f"{run.sequences} rows"
    given = f"{run.stage}.{key}={run.sequences * each}"
    if run.sequences % size:
        raise ConfigError(
            f"{given} is {said}, which {size} processes cannot share equally",
            f"{run.stage}.{key}={-(-run.sequences // size) * size * each}, or another number of "
            "processes",
        )
    share, micro = run.sequences // size, run.config.micro_batch_size
    if share > micro and share % micro:
        raise ConfigError(
            f"{run.stage}.micro_batch_size={micro} does not divide the {share} sequences that "
            f"each of {size} processes has in a step",
            f"{run.stage}.micro_batch_size={math.gcd(micro, share)}",
        )
    if len(run.windows) < run.sequences:
        raise DataError(
            f"{counted(len(run.windows), 'sample')} {'is' if len(run.windows) == 1 else 'are'} all "
            "there is to train on, fewer than the "
            f"{run.sequences} of one step ({given})",
            f"give more data, or {run.stage}.{key}={_small_batch(run) * each}",
        )


def _small_batch(run: Run) -> int:
    """Samples of a step of which there are some eight in the data, shared equally."""
    share = len(run.windows) // (8 * run.world.size)
    micro = run.config.micro_batch_size
    return run.world.size * max(1, share - share % micro if share > micro else share)


def everywhere(error: LilllmError, run: Run) -> LilllmError:
    """An error that every process meets at once; the first one tells it."""
    error.told_elsewhere = not run.world.is_first
    return error


def no_target(step: int) -> RunError:
    """The error for a step, counted from 0, that has nothing to learn from."""
    return RunError(
        f"step {step + 1}: no target in the whole batch",
        "look at the rows with `lilllm data inspect`; prompts may fill the context",
    )


def not_finite(
    run: Run, loss: float, grad_norm: float, rows: Ints, step: int | None = None
) -> RunError:
    """The error for a loss or gradient that must not be used.

    Args:
        run: what was trained.
        loss: the mean loss.
        grad_norm: the norm of its gradient.
        rows: those of the batch.
        step: counted from 0; None: the one at hand.
    """
    saved = run.folder / "latest"
    good = (
        f"; the last good checkpoint is {run.folder / saved.read_text().strip()}"
        if (saved.is_file())
        else ""
    )
    step = (run.counters.step if step is None else step) + 1
    documents = run.hooks.documents(rows)
    run.metrics.append("not finite", step=step, samples=rows.tolist(), documents=documents)
    named = documents or [f"sample {row}" for row in rows.tolist()]
    shown = ", ".join(named[:4]) + (f" and {len(named) - 4} more" if len(named) > 4 else "")
    peaks = {"lr": run.config.lr}
    if run.config.optimizer == "muon":
        peaks["muon_lr"] = run.config.muon_lr
    lower = " ".join(f"{run.stage}.{key}={peak / 3:.1g}" for key, peak in peaks.items())
    return RunError(
        f"step {step}: loss {loss}, gradient norm {grad_norm}: not finite, so nothing was updated; "
        f"its batch: {shown} (all of it in {run.metrics.path}){good}",
        f"lower the learning rate: {lower}, with --fresh",
    )


def out_of_memory(stage: str, config: OptimizationConfig, when: str) -> RunError:
    """The error for what needs more memory than there is, and what needs less."""
    size = config.micro_batch_size
    return RunError(
        f"{when}: out of memory with micro_batch_size={size}",
        f"{stage}.micro_batch_size={max(1, size // 2)} needs about half of it for activations, "
        f"{stage}.activation_checkpointing=true much less; `lilllm plan` shows where it goes",
    )


@contextmanager
def telling_out_of_memory(error: Callable[[], RunError]) -> Iterator[None]:
    """Raise `error()` for whatever torch says when memory runs out on a GPU or a CPU."""
    try:
        yield
    except torch.OutOfMemoryError as err:
        raise error() from err
    except RuntimeError as err:
        if "can't allocate memory" in str(err):
            raise error() from err
        raise
