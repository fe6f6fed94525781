"""Finetuning: the named steps of `finetune:`, each from the checkpoint of the one before."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lilllm.config import Config, layout
from lilllm.config.schema import FinetuneConfig
from lilllm.data.batches import PackedWindows
from lilllm.errors import CheckpointError, ConfigError, DataError
from lilllm.events import Note, Report
from lilllm.files import manifest_problem
from lilllm.model.checkpoint import load_model, weights_hash
from lilllm.model.transformer import Transformer, flops_per_token
from lilllm.stages.chat_rows import prepare_rows, row_windows
from lilllm.stages.plot_loss import plot_loss
from lilllm.stages.training_stage import (
    check_provenance,
    open_stage,
    wants_compile,
    write_weights,
)
from lilllm.tokenizer import Tokenizer
from lilllm.training.distributed import World, join
from lilllm.training.hardware import Machine, keep_freed_memory, peak_memory_bytes
from lilllm.training.loop import train
from lilllm.training.objectives.next_token import next_token_loss
from lilllm.training.run import Hooks, Run
from lilllm.training.state import newest_valid, step_name
from lilllm.training.validation import mean_loss


@dataclass(frozen=True, slots=True)
class StepResult:
    """One finetuned checkpoint and its measures."""

    checkpoint: Path
    method: str
    step: int
    rows: int
    train_loss: float | None
    val_loss: float | None
    tokens_per_s: float | None
    mfu: float | None
    peak_memory_bytes: int


def stage_keys(name: str) -> tuple[str, ...]:
    """The config keys that the weights of a step depend on, besides its base."""
    return ("seed", "device", "precision", "threads", f"finetune.{name}")


def run_step(config: Config, name: str, report: Report, fresh: bool = False) -> StepResult:
    """Train one named step; continue if it was interrupted.

    Raises:
        ConfigError: no such step, no sources, or it was begun with other settings.
        CheckpointError: its base is missing or damaged.
        DataError: its rows cannot be read.
        Interrupted: a signal came; everything is saved.
        RunError: not finite, out of memory, or a save failed.
    """
    section = config.finetune.get(name)
    if section is None:
        known = ", ".join(config.finetune) or "none"
        raise ConfigError(f"finetune.{name}: no such step in the config; steps: {known}")
    if not section.sources:
        raise ConfigError(
            f"finetune.{name}.sources is empty",
            f"for example finetune.{name}.sources=[builtin:stories-instruct]",
        )
    keep_freed_memory()
    world = join(config.device)
    folder = layout(config).finetune(name)
    base = base_checkpoint(config, name, report)
    tokenizer = Tokenizer.load(base)
    config, machine, resume_from = open_stage(
        folder, config, stage_keys(name), report, fresh, world
    )
    model = load_model(base, dropout=config.model.dropout)
    length = min(config.model.max_seq_len, model.shape.max_seq_len)
    cache, counts = world.first(
        lambda: prepare_rows(folder, section, tokenizer, length, config.seed, report)
    )
    provenance = {
        "tokenizer_hash": tokenizer.hash,
        "base": str(base),
        "base_hash": weights_hash(base),
        "rows_hash": cache.name,
    }
    if resume_from is not None:
        check_provenance(resume_from, provenance)
        model = load_model(resume_from, dropout=config.model.dropout)
    model.to(machine.device)
    windows = row_windows(cache, "train", length, tokenizer.end_id)
    if windows is None:
        raise DataError(f"finetune.{name}: no rows to train on")
    steps = step_count(section, len(windows), length)
    flops = flops_per_token(model.shape, length) * steps * section.batch_tokens
    training = Run(
        stage=f"finetune.{name}",
        folder=folder,
        model=model,
        objective=next_token_loss,
        windows=windows,
        config=section,
        steps=steps,
        seed=config.seed,
        machine=machine,
        hooks=Hooks(
            write_weights=lambda partial, counters, weights: write_weights(
                partial, model, weights, tokenizer, config, provenance, counters
            ),
            validate=_validation(
                model, row_windows(cache, "val", length, tokenizer.end_id), section, machine, world
            ),
        ),
        report=report,
        world=world,
        compiled=world.first(lambda: wants_compile(section, machine.device, flops, report)),
    )
    report(
        Note(
            f"{section.method} from {base}: {counts.train:,} rows in {len(windows):,} samples of "
            f"{length} tokens ({counts.val:,} rows held out), {steps:,} steps"
        )
    )
    train(training, resume_from)
    world.first(lambda: plot_loss(layout(config).root))
    return StepResult(
        checkpoint=folder / step_name(training.counters.step),
        method=section.method,
        step=training.counters.step,
        rows=counts.train,
        train_loss=training.last_loss,
        val_loss=training.measures.get("val_loss"),
        tokens_per_s=training.tokens_per_s or None,
        mfu=training.mfu or None,
        peak_memory_bytes=peak_memory_bytes(machine.device),
    )


def step_count(section: FinetuneConfig, windows: int, length: int) -> int:
    """Optimizer steps of a finetuning step: `max_steps`, or `epochs` passes rounded up."""
    if section.max_steps is not None:
        return section.max_steps
    return max(1, math.ceil(section.epochs * windows * length / section.batch_tokens))


def base_checkpoint(config: Config, name: str, report: Report) -> Path:
    """The checkpoint that a step starts from.

    Raises:
        CheckpointError: there is none.
    """
    wanted = config.finetune[name].base
    if wanted != "auto":
        folder = Path(wanted)
        problem = "" if (folder / "config.json").is_file() else f"{folder}: not a checkpoint folder"
        if not problem and (folder / "manifest.json").is_file():
            problem = manifest_problem(folder)
        if problem:
            raise CheckpointError(f"finetune.{name}.base: {problem}", "name a checkpoint folder")
        return folder
    names = list(config.finetune)
    before = names.index(name)
    places = layout(config)
    stage = places.finetune(names[before - 1]) if before else places.pretrain
    found = newest_valid(stage, report)
    if found is None:
        command = f"finetune --step {names[before - 1]}" if before else "pretrain"
        raise CheckpointError(
            f"{stage}: no checkpoint to start finetune.{name} from", f"run lilllm {command} first"
        )
    return found


def _validation(
    model: Transformer,
    windows: PackedWindows | None,
    section: FinetuneConfig,
    machine: Machine,
    world: World,
) -> Callable[[Callable[[], None]], dict[str, float]]:
    def validate(poll: Callable[[], None]) -> dict[str, float]:
        if windows is None:
            return {}
        size = section.micro_batch_size
        tokens = section.eval_tokens
        loss = mean_loss(model, next_token_loss, windows, tokens, size, machine, world, poll)
        return {} if loss is None else {"val_loss": loss}

    return validate
