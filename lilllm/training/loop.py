"""The one training loop: every kind of training is an objective, its data and this.

Phases of a step: read the batch, accumulate the gradients of the objective's sums, divide by
the count of the whole step, clip, update, then log, save and validate as configured. It knows
no file format besides its own checkpoints' `state/`; the caller passes what writes weights.
"""

import math
from pathlib import Path

import torch

from lilllm.data.batches import longest_first, sample_rows
from lilllm.errors import Interrupted
from lilllm.events import Note, Sampled, Saved, Validated
from lilllm.files import make_folder, remove_partials, write_atomic
from lilllm.training.ahead import Ahead, quiet_collector
from lilllm.training.distributed import (
    LostProcess,
    Parallel,
    gathered,
    lost_process,
    total_norm,
    whole,
)
from lilllm.training.kernels import fastest_attention
from lilllm.training.meter import Meter, Outcome
from lilllm.training.metrics import read_metrics
from lilllm.training.objectives.loss import Loss, move
from lilllm.training.optimizers import (
    load_optimizer_tensors,
    make_optimizers,
    optimizer_tensors,
    set_lr,
    update,
)
from lilllm.training.run import (
    Run,
    everywhere,
    no_target,
    not_finite,
    out_of_memory,
    telling_out_of_memory,
)
from lilllm.training.schedules import lr_scale
from lilllm.training.signals import StopRequest
from lilllm.training.state import load_state, prune, save_checkpoint, step_name

SMALLEST_SCALE = 1.0
"""In fp16: gradients that overflow even with this loss scale are not finite."""


class StopAsked(Exception):
    """Raised by `poll` inside a long validation pass when a signal has come."""


def train(run: Run, resume_from: Path | None) -> None:
    """Train until `run.steps`, saving, validating and logging on the way.

    Whoever calls holds the lock of `run.folder`, if others might train there.

    Args:
        run: what to train; its counters and measures are updated.
        resume_from: a valid checkpoint of this stage whose weights `run.model` already has.

    Raises:
        Interrupted: a signal came; the state is saved.
        RunError: the loss or the gradient is not finite, memory ran out, or a save failed.
    """
    try:
        with telling_out_of_memory(
            lambda: out_of_memory(run.stage, run.config, f"step {run.counters.step + 1}")
        ):
            _train(run, resume_from)
    except RuntimeError as err:
        if run.world.size > 1 and lost_process(err):
            raise LostProcess(
                f"step {run.counters.step + 1}: another process of this run ended",
                "its own message says why; the same command continues from the last save",
            ) from err
        raise


def _train(run: Run, resume_from: Path | None) -> None:
    world = run.world
    if world.is_first:
        make_folder(run.folder)
        remove_partials(run.folder)
    if run.compiled:
        run.model.compile_pieces()
    run.model.recompute = run.config.activation_checkpointing
    parallel = Parallel(run.model, run.objective, world, run.config.distributed == "fsdp2")
    run.optimizers = make_optimizers(run.model, run.config, run.machine.dtype)
    if resume_from is not None:
        run.counters, tensors = load_state(resume_from)
        load_optimizer_tensors(run.model, run.optimizers, tensors)
        run.report(Note(f"continuing from {resume_from}"))
    world.first(run.open_trackers)
    if run.metrics.path.is_file():  # what was logged after the last save is done again
        run.metrics.append("resume", step=run.counters.step)
    recalled = _recall(run)
    logged = world.first(lambda: recalled)  # so that all do the same
    saved_at = run.counters.step if resume_from is not None else -1
    attention = fastest_attention(run.model.shape, run.config.micro_batch_size, run.machine)
    with StopRequest() as stop, quiet_collector(), attention:
        try:
            ahead = Ahead(run, parallel) if Ahead.fits(run, parallel) else None
            meter = Meter(run)
            if resume_from is not None:  # a signal may have come between that save and these
                if _wants_score(run) and "validation" not in logged:
                    _validate(run, parallel, stop)
                if _wants_sample(run) and "sample" not in logged:
                    _sample(run)
            while run.counters.step < run.steps:
                outcome = _step(run, parallel, ahead)
                step = run.counters.step
                last, stopping = step == run.steps, world.any(bool(stop))
                saving = stopping or last or step % run.config.save_every == 0
                scoring = _wants_score(run)
                if ahead is not None and (saving or scoring or step % run.config.log_every == 0):
                    ahead.check()
                meter.step(*outcome)
                if saving:
                    _save(run)
                    saved_at = step
                if stopping:
                    raise StopAsked
                if scoring:
                    _validate(run, parallel, stop)
                if _wants_sample(run):
                    _sample(run)
                meter.restart()
            if not run.measures:  # all was done before, but the result needs them
                _validate(run, parallel, stop)
        except StopAsked:
            if saved_at != run.counters.step:
                _save(run)
            raise everywhere(
                Interrupted(
                    f"stopped by {stop.name or 'a signal'} after step {run.counters.step}; saved "
                    f"in {run.folder / step_name(run.counters.step)}",
                    "run the same command again to continue",
                ),
                run,
            ) from None


def _step(run: Run, parallel: Parallel, ahead: Ahead | None) -> Outcome:
    """One optimizer step; with `ahead` it is asked for but not waited for.

    Returns:
        the mean loss in nats, the gradient norm before clipping, and the objective's measures.
    """
    config, step, world = run.config, run.counters.step, run.world
    rows = sample_rows(run.counters.samples, run.sequences, len(run.windows), run.seed)
    share = run.sequences // world.size
    own_rows = longest_first(run.windows, rows[world.rank * share : (world.rank + 1) * share])
    starts = range(0, share, config.micro_batch_size)
    loss_scale = run.counters.loss_scale if run.machine.precision == "fp16" else 1.0
    sums = torch.zeros((), device=run.machine.device)  # of losses, of their unit, of measures
    run.model.train()
    for micro, start in enumerate(starts):
        batch = run.windows.read(own_rows[start : start + config.micro_batch_size])
        # draws are keyed, so that no generator state has to be saved
        torch.manual_seed(hash((run.seed, step, micro, world.rank)) & (2**63 - 1))
        with parallel.accumulate(last=start == starts[-1]):
            with run.machine.autocast():
                loss: Loss = parallel.loss(*move(batch, run.machine.device))
            (loss.total * loss_scale).backward()  # type: ignore[no-untyped-call]
        sums = sums + loss.sums()
    gradients = [p.grad for p in run.model.parameters() if p.grad is not None]
    world.sum(sums)
    if ahead is not None:
        set_lr(run.optimizers, lr_scale(step, run.steps, config))
        values = ahead.update(gradients, sums, list(loss.measures))
        _finish_step(run, applied=True)
        return values
    total, count, *others = sums.tolist()
    if not count:
        raise everywhere(no_target(step), run)
    scale = parallel.gradient_scale / (count * loss_scale)
    mean_loss, grad_norm = total / count, total_norm(gradients) * scale
    finite = math.isfinite(grad_norm)
    if not math.isfinite(mean_loss) or not (finite or loss_scale > SMALLEST_SCALE):
        raise everywhere(not_finite(run, mean_loss, grad_norm, rows), run)
    if finite:  # in fp16, gradients that overflow cost their step and halve the scale
        clip = config.grad_clip or math.inf
        set_lr(run.optimizers, lr_scale(step, run.steps, config))
        update(run.optimizers, min(1.0, clip / max(grad_norm, 1e-12)) * scale)
    _finish_step(run, applied=finite)
    return (
        mean_loss,
        grad_norm,
        {name: value / count for name, value in zip(loss.measures, others, strict=True)},
    )


def _finish_step(run: Run, applied: bool) -> None:
    for optimizer in run.optimizers:
        optimizer.zero_grad(set_to_none=True)
    run.counters = run.counters.after_step(run.sequences, run.step_tokens, applied)


def _save(run: Run) -> None:
    counters = run.counters
    weights = {name: whole(tensor) for name, tensor in run.model.state_dict().items()}
    state = optimizer_tensors(run.model, run.optimizers)

    def write() -> Path:
        folder = save_checkpoint(
            run.folder,
            counters,
            lambda partial: run.hooks.write_weights(partial, counters, weights),
            state,
        )
        prune(run.folder, run.config.keep_last)
        return folder

    folder = run.world.first(write)
    run.report(Saved(run.stage, counters.step, str(folder)))


def _validate(run: Run, parallel: Parallel, stop: StopRequest) -> None:
    def poll() -> None:
        if run.world.any(bool(stop)):
            raise StopAsked

    step = run.counters.step
    with parallel.evaluating(), run.machine.autocast():
        run.measures = run.hooks.validate(poll)
    run.metrics.append("validation", step=step, **run.measures)
    if not run.measures:
        return
    run.report(Validated(run.stage, step, run.measures))
    first = next(iter(run.measures.values()))
    if first < run.best and (run.folder / step_name(step)).is_dir():
        run.best = first
        run.metrics.append("best", step=step, score=first)
        if run.world.is_first:
            write_atomic(run.folder / "best", step_name(step) + "\n")


def _wants_score(run: Run) -> bool:
    step, every = run.counters.step, run.config.eval_every
    return step == run.steps or bool(every and step % every == 0)


def _wants_sample(run: Run) -> bool:
    step, every = run.counters.step, run.sample_every
    return bool(every) and (step == run.steps or step % every == 0)


def _recall(run: Run) -> set[str]:
    """Take the best score and the last loss of an earlier part of this run.

    Returns:
        the kinds of events that were logged after the step that it continues from.
    """
    logged = set()
    for event in read_metrics(run.metrics.path):
        run.last_loss = event.get("loss", run.last_loss)
        run.best = event.get("score", run.best)
        if event.get("step") == run.counters.step:
            logged.add(event["event"])
    return logged


def _sample(run: Run) -> None:
    run.model.eval()
    with gathered(run.model):
        for prompt, text in run.world.first(run.hooks.sample):
            run.metrics.append("sample", step=run.counters.step, prompt=prompt, text=text)
            run.report(Sampled(run.stage, run.counters.step, prompt, text))
