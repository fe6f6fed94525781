"""Pretraining: prepared shards and a tokenizer in, checkpoints that write text out."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from lilllm.config import Config, layout
from lilllm.data.batches import PackedWindows, StreamWindows, documents_in
from lilllm.data.shards import Shards
from lilllm.errors import ConfigError, DataError
from lilllm.events import Note, Report, short_count
from lilllm.files import MANIFEST, manifest_problem, sha256_file
from lilllm.model.checkpoint import load_model
from lilllm.model.transformer import (
    Transformer,
    count_parameters,
    flops_per_token,
    init_weights,
)
from lilllm.stages.evaluate import score_split
from lilllm.stages.model_shape import resolve_shape
from lilllm.stages.plot_loss import plot_loss
from lilllm.stages.sample import sample_texts
from lilllm.stages.training_stage import (
    caution_warmup,
    check_provenance,
    hold,
    open_stage,
    put_back_on_error,
    stoppable,
    trackers_of,
    wants_compile,
    write_weights,
)
from lilllm.tokenizer import Tokenizer
from lilllm.training.distributed import World, gathered, join
from lilllm.training.hardware import Machine, keep_freed_memory, peak_memory_bytes
from lilllm.training.loop import train
from lilllm.training.objectives.next_token import next_token_loss
from lilllm.training.run import Hooks, Run
from lilllm.training.state import step_name
from lilllm.training.validation import held_out_means

KEYS = ("seed", "device", "precision", "threads", "tokenizer", "data", "model", "pretrain")
"""What the weights depend on; changing one refuses to continue a run."""


@dataclass(frozen=True, slots=True)
class PretrainResult:
    """Where the model is and how good it is; tokens of the whole run, speed of this call."""

    checkpoint: Path
    step: int
    tokens: int
    train_loss: float | None
    val_loss: float | None
    val_bpb: float | None
    tokens_per_s: float | None
    mfu: float | None
    peak_memory_bytes: int
    parameters: int


def run(config: Config, report: Report, fresh: bool = False) -> PretrainResult:
    """Train the model of a config on its prepared data; continue if it was interrupted.

    Raises:
        ConfigError: the stage was begun with other settings, or sizes do not fit the data.
        DataError: shards are missing, damaged or of another tokenizer.
        Interrupted: a signal came; everything is saved.
        RunError: not finite, out of memory, or a save failed.
    """
    keep_freed_memory()
    world = join(config.device)
    places = layout(config)
    tokenizer = Tokenizer.load(places.tokenizer)
    if config.data.path is not None and (problem := manifest_problem(places.data)):
        raise DataError(problem, "prepare it again, or copy it again from where it is whole")
    shards = open_shards(places.data, "train", tokenizer)
    with hold(places.pretrain, world):
        with put_back_on_error(places.pretrain, places.root, fresh, world):
            config, machine, resume_from = open_stage(
                places.pretrain, config, KEYS, report, fresh, world
            )
            training = _planned(config, shards, tokenizer, machine, resume_from, world, report)
        report(Note(_describe(training, shards)))
        caution_warmup(training)
        train(training, resume_from)
        with gathered(training.model):
            scores = world.first(lambda: _final_score(training, config, tokenizer, report))
        training.metrics.append("done", step=training.counters.step, val_bpb=scores.get("bpb"))
    return PretrainResult(
        checkpoint=places.pretrain / step_name(training.counters.step),
        step=training.counters.step,
        tokens=training.counters.tokens,
        train_loss=training.last_loss,
        val_loss=scores.get("loss"),
        val_bpb=scores.get("bpb"),
        tokens_per_s=training.tokens_per_s or None,
        mfu=training.mfu or None,
        peak_memory_bytes=peak_memory_bytes(machine.device),
        parameters=sum(count_parameters(training.model.shape).values()),
    )


def _planned(
    config: Config,
    shards: Shards,
    tokenizer: Tokenizer,
    machine: Machine,
    resume_from: Path | None,
    world: World,
    report: Report,
) -> Run:
    """The training of a config: its model, its windows, and what surrounds them."""
    places, section = layout(config), config.pretrain
    provenance = {
        "tokenizer_hash": tokenizer.hash,
        "data_hash": sha256_file(places.data / MANIFEST),
    }
    shape = resolve_shape(config.model, tokenizer.vocab_size)
    if resume_from is not None:
        check_provenance(resume_from, provenance)
        model = load_model(resume_from, dropout=config.model.dropout)
    else:
        model = Transformer(shape)
        init_weights(model, config.seed, config.model.init_std, config.model.zero_init)
    model.to(machine.device)
    _check_prompts(config, tokenizer, shape.max_seq_len)
    windows = make_windows(config, shards)
    flops = flops_per_token(shape) * section.steps * section.batch_tokens
    return Run(
        stage="pretrain",
        folder=places.pretrain,
        model=model,
        objective=next_token_loss,
        windows=windows,
        config=section,
        steps=section.steps,
        seed=config.seed,
        machine=machine,
        hooks=Hooks(
            write_weights=lambda folder, counters, weights: write_weights(
                folder, model, weights, tokenizer, config, provenance, counters
            ),
            validate=_validation(config, model, tokenizer, machine, world),
            trackers=trackers_of(config, places.pretrain, "pretrain"),
            documents=lambda rows: [
                shards.document_name(number)
                for number in documents_in(windows.spans(rows), shards.document_ends).tolist()
            ],
            sample=lambda: sample_texts(model, tokenizer, section.sample_prompts, config),
        ),
        report=report,
        world=world,
        sample_every=section.sample_every,
        compiled=world.first(lambda: wants_compile(section, machine.device, flops, report)),
    )


def _check_prompts(config: Config, tokenizer: Tokenizer, length: int) -> None:
    """Do nothing if the prompts of samples leave room for an answer.

    Raises:
        ConfigError: one does not.
    """
    for prompt in config.pretrain.sample_prompts if config.pretrain.sample_every else ():
        tokens = len(tokenizer.encode_prompt(prompt))
        if tokens >= length:
            raise ConfigError(
                f"pretrain.sample_prompts: {prompt[:40]!r} has {tokens} tokens, and the context "
                f"holds {length}",
                "give a shorter one",
            )


def _final_score(
    training: Run, config: Config, tokenizer: Tokenizer, report: Report
) -> dict[str, float]:
    """Bits per byte of the val split; the weights are saved, so a signal only ends the scoring."""
    plot_loss(layout(config).root)
    model = training.model
    with stoppable(report) as told, training.machine.autocast():
        return score_split(model, tokenizer, layout(config).data, "val", config.eval, told)


def open_shards(folder: Path, split: str, tokenizer: Tokenizer) -> Shards:
    """The shards of a split.

    Raises:
        DataError: they are missing, damaged or were made with another tokenizer.
    """
    shards = Shards.open(folder, split)
    if shards.tokenizer_hash != tokenizer.hash:
        raise DataError(
            f"{folder}: made with another tokenizer (hash {shards.tokenizer_hash[:12]}, not "
            f"{tokenizer.hash[:12]})",
            "prepare it again with `lilllm data prep`, or name the right tokenizer.path",
        )
    return shards


def make_windows(config: Config, shards: Shards) -> PackedWindows | StreamWindows:
    """The table of training samples.

    Raises:
        DataError: the text is shorter than one sample.
    """
    length = config.model.max_seq_len
    windows: PackedWindows | StreamWindows
    if config.pretrain.packing == "best_fit":
        windows = PackedWindows(
            shards.read, shards.document_ends, length, shards.end_id, fill_id=shards.end_id
        )
    else:
        windows = StreamWindows(shards.read, shards.n_tokens, length)
    if not len(windows):
        raise DataError(
            f"{shards.n_tokens} training tokens are fewer than one sample of "
            f"model.max_seq_len={length} tokens",
            "give more text in data.sources, or a shorter model.max_seq_len",
        )
    return windows


def _validation(
    config: Config, model: Transformer, tokenizer: Tokenizer, machine: Machine, world: World
) -> Callable[[Callable[[], None]], dict[str, float]]:
    """A quick validation pass over a fixed sample of the val split's windows.

    `val_bpb_windows` uses the mean bytes per token of the split, so it is close to, but not,
    the bits per byte of whole documents that the end of the run reports.
    """
    shards = open_shards(layout(config).data, "val", tokenizer)
    section = config.pretrain
    windows = PackedWindows(
        shards.read, shards.document_ends, config.model.max_seq_len, shards.end_id
    )

    def validate(poll: Callable[[], None]) -> dict[str, float]:
        size = section.micro_batch_size
        tokens = section.eval_tokens
        means = held_out_means(model, next_token_loss, windows, tokens, size, machine, world, poll)
        if not means:
            return {}
        loss = means["loss"]
        tokens_per_byte = shards.n_tokens / shards.n_bytes
        return {"val_loss": loss, "val_bpb_windows": loss / math.log(2) * tokens_per_byte}

    return validate


def _describe(training: Run, shards: Shards) -> str:
    shape, section = training.model.shape, training.config
    parameters = sum(count_parameters(shape).values())
    tokens = training.steps * section.batch_tokens
    machine = training.machine
    compiled = "compiled" if training.compiled else "not compiled"
    return (
        f"{short_count(parameters)} parameters, {training.steps:,} steps of "
        f"{section.batch_tokens:,} tokens ({short_count(tokens)}; {tokens / shards.n_tokens:.1f} "
        f"epochs of {short_count(shards.n_tokens)}); {_processes(training)}{machine.device}, "
        f"{machine.precision}, {machine.threads} threads, {compiled}; "
        f"peak {machine.peak_flops / 1e9:,.0f} GFLOP/s ({machine.peak_source}); "
        f"torch {torch.__version__}"
    )


def _processes(training: Run) -> str:
    size = training.world.size
    return f"{size} processes ({training.config.distributed}), each " if size > 1 else ""
