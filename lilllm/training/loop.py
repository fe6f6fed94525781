"""The one training loop: every kind of training is an objective, its data and this.

Phases of a step: read the batch, accumulate the gradients of the objective's sums, divide by
the count of the whole step, clip, update, then log, save and validate as configured. It knows
no file format besides its own checkpoints' `state/`; the caller passes what writes weights.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from lilllm.config.schema import OptimizationConfig
from lilllm.data.batches import Batch, Windows, sample_rows
from lilllm.errors import Interrupted, RunError
from lilllm.events import Note, Report, Sampled, Saved, StepDone, Validated
from lilllm.files import lock_folder, make_folder, remove_partials, write_atomic
from lilllm.model.transformer import Transformer, flops_per_token
from lilllm.training.hardware import Machine, peak_memory_bytes
from lilllm.training.metrics import MetricsLog, read_metrics
from lilllm.training.optimizers import (
    load_optimizer_tensors,
    make_optimizers,
    optimizer_tensors,
    set_lr,
)
from lilllm.training.schedules import lr_scale
from lilllm.training.signals import StopRequest
from lilllm.training.state import Counters, load_state, prune, save_checkpoint, step_name

Objective = Callable[[Transformer, Tensor, Tensor, Tensor | None], Tensor]


class StopAsked(Exception):
    """Raised by `poll` inside a long validation pass when a signal has come."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the loop calls but does not know.

    write_weights: fill a folder with model, tokenizer and config.
    validate: measures of the model on held-out data; it calls its argument between batches,
        which may raise. The first measure decides which checkpoint is `best` (lower is better).
    sample: (prompt, text) pairs that the model writes.
    """

    write_weights: Callable[[Path, Counters], None]
    validate: Callable[[Callable[[], None]], dict[str, float]] = lambda poll: {}
    sample: Callable[[], list[tuple[str, str]]] = list


@dataclass(slots=True)
class Run:
    """One stage's training: what stays the same from step to step, and how far it is."""

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
    sample_every: int = 0
    compiled: bool = False
    counters: Counters = field(default_factory=Counters)
    optimizers: list[torch.optim.Optimizer] = field(default_factory=list)
    best: float = math.inf
    measures: dict[str, float] = field(default_factory=dict)
    last_loss: float | None = None
    tokens_per_s: float = 0.0
    mfu: float = 0.0

    @property
    def metrics(self) -> MetricsLog:
        """The log of this stage."""
        return MetricsLog(self.folder / "metrics.jsonl")


def train(run: Run, resume_from: Path | None) -> None:
    """Train until `run.steps`, saving, validating and logging on the way.

    Args:
        run: what to train; its counters and measures are updated.
        resume_from: a valid checkpoint of this stage whose weights `run.model` already has.

    Raises:
        Interrupted: a signal came; the state is saved.
        RunError: the loss or the gradient is not finite, memory ran out, a save failed, or
            another process trains in the same folder.
    """
    with lock_folder(run.folder):
        _train(run, resume_from)


def _train(run: Run, resume_from: Path | None) -> None:
    make_folder(run.folder)
    remove_partials(run.folder)
    run.optimizers = make_optimizers(run.model, run.config, run.machine.dtype)
    if resume_from is not None:
        run.counters, tensors = load_state(resume_from)
        load_optimizer_tensors(run.model, run.optimizers, tensors)
        run.report(Note(f"continuing from {resume_from}"))
    if run.metrics.path.is_file():  # what was logged after the last save is done again
        run.metrics.append("resume", step=run.counters.step)
    _recall(run)
    saved_at = run.counters.step if resume_from is not None else -1
    objective = torch.compile(run.objective, dynamic=False) if run.compiled else run.objective
    with StopRequest() as stop:
        try:
            meter = Meter(run)
            while run.counters.step < run.steps:
                loss, grad_norm = _step(run, objective)
                meter.step(loss, grad_norm)
                step = run.counters.step
                last = step == run.steps
                if stop or last or step % run.config.save_every == 0:
                    _save(run)
                    saved_at = step
                if stop:
                    raise StopAsked
                if last or (run.config.eval_every and step % run.config.eval_every == 0):
                    _validate(run, stop)
                if run.sample_every and (step % run.sample_every == 0 or last):
                    _sample(run)
                meter.restart()
            if not run.measures:  # interrupted between the last save and its validation
                _validate(run, stop)
        except StopAsked:
            if saved_at != run.counters.step:
                _save(run)
            raise Interrupted(
                f"stopped by {stop.name} after step {run.counters.step}; saved in "
                f"{run.folder / step_name(run.counters.step)}",
                "run the same command again to continue",
            ) from None
        except torch.OutOfMemoryError as err:
            raise _out_of_memory(run) from err
        except RuntimeError as err:
            if "can't allocate memory" in str(err):
                raise _out_of_memory(run) from err
            raise


def _step(run: Run, objective: Objective) -> tuple[float, float]:
    """One optimizer step; returns the mean loss in nats and the gradient norm before clipping."""
    config, step = run.config, run.counters.step
    sequences = config.batch_tokens // run.windows.length
    rows = sample_rows(run.counters.samples, sequences, len(run.windows), run.seed)
    total = torch.zeros((), device=run.machine.device)
    count = 0
    run.model.train()
    for micro, start in enumerate(range(0, sequences, config.micro_batch_size)):
        batch = run.windows.read(rows[start : start + config.micro_batch_size])
        count += int((batch.targets >= 0).sum())
        if run.model.shape.dropout:  # keyed, so that no generator state has to be saved
            torch.manual_seed(hash((run.seed, step, micro)) & (2**63 - 1))
        ids, targets, segments = to_device(batch, run.machine.device)
        with run.machine.autocast():
            loss = objective(run.model, ids, targets, segments)
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    if not count:
        raise RunError(
            f"step {step + 1}: no target token in the whole batch",
            "look at the rows with `lilllm data inspect`; prompts may fill the context",
        )
    gradients = [p.grad for p in run.model.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients) / count
    mean_loss, grad_norm = total.item() / count, norm.item()
    if not (math.isfinite(mean_loss) and math.isfinite(grad_norm)):
        raise _not_finite(run, mean_loss, grad_norm, rows.tolist())
    clip = config.grad_clip or math.inf
    torch._foreach_mul_(gradients, min(1.0, clip / max(grad_norm, 1e-12)) / count)
    set_lr(run.optimizers, lr_scale(step, run.steps, config))
    for optimizer in run.optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    run.counters = Counters(
        step + 1, run.counters.samples + sequences, run.counters.tokens + config.batch_tokens
    )
    return mean_loss, grad_norm


def to_device(batch: Batch, device: str) -> tuple[Tensor, Tensor, Tensor | None]:
    """A batch as int64 tensors on a device."""
    ids, targets = torch.from_numpy(batch.ids), torch.from_numpy(batch.targets)
    segments = torch.from_numpy(batch.segments) if batch.segments is not None else None
    return (
        ids.to(device, non_blocking=True),
        targets.to(device, non_blocking=True),
        segments.to(device, non_blocking=True) if segments is not None else None,
    )


class Meter:
    """Means over the steps since the last line of metrics; saving and validating do not count."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.losses: list[float] = []
        self.seconds = self.all_seconds = 0.0
        self.all_steps = 0
        self.restart()

    def restart(self) -> None:
        """Begin timing a step."""
        self.began = time.perf_counter()

    def step(self, loss: float, grad_norm: float) -> None:
        """Count a step that has just ended; report it when a line is due."""
        run, step = self.run, self.run.counters.step
        elapsed = time.perf_counter() - self.began
        self.seconds += elapsed
        self.all_seconds += elapsed
        self.all_steps += 1
        self.losses.append(loss)
        if step % run.config.log_every and step != run.steps:
            return
        tokens_per_s = len(self.losses) * run.config.batch_tokens / self.seconds
        run.last_loss = mean = sum(self.losses) / len(self.losses)
        run.tokens_per_s = self.all_steps * run.config.batch_tokens / self.all_seconds
        flops = flops_per_token(run.model.shape, run.windows.length)
        run.mfu = run.tokens_per_s * flops / run.machine.peak_flops
        event = StepDone(
            stage=run.stage,
            step=step,
            max_steps=run.steps,
            loss=mean,
            lr=run.optimizers[-1].param_groups[0]["lr"],
            grad_norm=grad_norm,
            tokens=run.counters.tokens,
            tokens_per_s=tokens_per_s,
            mfu=tokens_per_s * flops / run.machine.peak_flops,
            eta_seconds=(run.steps - step) * run.config.batch_tokens / tokens_per_s,
            memory_bytes=peak_memory_bytes(run.machine.device),
        )
        run.metrics.append(
            "step",
            **{
                name: getattr(event, name)
                for name in ("step", "loss", "lr", "grad_norm", "tokens", "tokens_per_s", "mfu")
            },
        )
        run.report(event)
        self.losses, self.seconds = [], 0.0


def _save(run: Run) -> None:
    counters = run.counters
    folder = save_checkpoint(
        run.folder,
        counters,
        lambda partial: run.hooks.write_weights(partial, counters),
        optimizer_tensors(run.model, run.optimizers),
    )
    prune(run.folder, run.config.keep_last)
    run.report(Saved(run.stage, counters.step, str(folder)))


def _validate(run: Run, stop: StopRequest) -> None:
    def poll() -> None:
        if stop:
            raise StopAsked

    step = run.counters.step
    run.model.eval()
    with torch.no_grad(), run.machine.autocast():
        run.measures = run.hooks.validate(poll)
    run.metrics.append("validation", step=step, **run.measures)
    if not run.measures:
        return
    run.report(Validated(run.stage, step, run.measures))
    first = next(iter(run.measures.values()))
    if first < run.best and (run.folder / step_name(step)).is_dir():
        run.best = first
        run.metrics.append("best", step=step, score=first)
        write_atomic(run.folder / "best", step_name(step) + "\n")


def _recall(run: Run) -> None:
    """The best score and the last loss of an earlier part of this run."""
    for event in read_metrics(run.metrics.path):
        run.last_loss = event.get("loss", run.last_loss)
        run.best = event.get("score", run.best)


def _sample(run: Run) -> None:
    run.model.eval()
    for prompt, text in run.hooks.sample():
        run.metrics.append("sample", step=run.counters.step, prompt=prompt, text=text)
        run.report(Sampled(run.stage, run.counters.step, prompt, text))


def _not_finite(run: Run, loss: float, grad_norm: float, rows: list[int]) -> RunError:
    saved = run.folder / "latest"
    good = (
        f"; the last good checkpoint is {run.folder / saved.read_text().strip()}"
        if (saved.is_file())
        else ""
    )
    shown = ", ".join(map(str, rows[:8])) + (", ..." if len(rows) > 8 else "")
    return RunError(
        f"step {run.counters.step + 1}: loss {loss}, gradient norm {grad_norm}: not finite, "
        f"so nothing was updated (samples {shown}){good}",
        f"lower the learning rate: {run.stage}.lr={run.config.lr / 3:.1g}, with --fresh",
    )


def _out_of_memory(run: Run) -> RunError:
    size = run.config.micro_batch_size
    return RunError(
        f"step {run.counters.step + 1}: out of memory with micro_batch_size={size}",
        f"{run.stage}.micro_batch_size={max(1, size // 2)} needs about half of it",
    )
