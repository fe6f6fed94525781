"""Finetuning: the named steps of `finetune:`, each from the checkpoint of the one before."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lilllm.config import Config, layout
from lilllm.config.schema import FinetuneConfig, LoraConfig
from lilllm.errors import CheckpointError, ConfigError
from lilllm.events import Note, Report, counted, short_count, silent
from lilllm.files import sha256_file
from lilllm.model.checkpoint import load_model, load_weights, weights_hash
from lilllm.model.lora import (
    Lora,
    add_lora,
    linear_names,
    load_adapter,
    merge,
    save_adapter,
    training_bytes,
)
from lilllm.model.transformer import Transformer, flops_per_token
from lilllm.stages.find_checkpoint import find_checkpoint, is_chat_trained
from lilllm.stages.methods import classify, distill, dpo, grpo, sft
from lilllm.stages.methods.job import Job, Measures, Plan
from lilllm.stages.plot_loss import plot_loss
from lilllm.stages.score_tasks import Scorer
from lilllm.stages.step_keys import check_keys, stage_keys
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
from lilllm.training.distributed import gathered, join
from lilllm.training.hardware import keep_freed_memory, peak_memory_bytes
from lilllm.training.loop import train
from lilllm.training.run import Hooks, Run, out_of_memory, telling_out_of_memory
from lilllm.training.state import Counters, newest_valid, step_name
from lilllm.training.validation import held_out_means


@dataclass(frozen=True, slots=True)
class StepResult:
    """One finetuned checkpoint and its measures, `val_loss` among them when rows are held out.

    training_bytes: of weights, gradients and optimizer state.
    """

    checkpoint: Path
    method: str
    step: int
    rows: int
    train_loss: float | None
    tokens_per_s: float | None
    mfu: float | None
    peak_memory_bytes: int
    training_bytes: int
    trained_parameters: int
    measures: Measures


ADAPTER_FOLDER = "adapter"
"""Of a checkpoint that was trained with LoRA: its adapter, in the layout of `peft`."""

METHODS: dict[str, Callable[[Job], Plan]] = {
    "sft": sft.plan,
    "distill": distill.plan,
    "grpo": grpo.plan,
    "classify": classify.plan,
    "dpo": dpo.plan,
}
"""What `finetune.NAME.method` may be; the schema lists the same names."""


def other_inputs(section: FinetuneConfig) -> list[str]:
    """Hashes of what a step learns from besides its base and its rows: teacher, own rewards.

    Raises:
        CheckpointError: the teacher is missing or damaged.
    """
    hashes = []
    if section.method == "distill":
        hashes.append(weights_hash(find_checkpoint(Path(section.teacher), silent)))
    for reward in section.rewards if section.method == "grpo" else ():
        path = Path(reward.function.rpartition(":")[0])
        if reward.kind == "python" and path.is_file():
            hashes.append(sha256_file(path))
    return hashes


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
    check_keys(config, name)
    keep_freed_memory()
    world = join(config.device)
    folder, root = layout(config).finetune(name), layout(config).root
    base = base_checkpoint(config, name, report)
    tokenizer = Tokenizer.load(base)
    with hold(folder, world):
        with put_back_on_error(folder, root, fresh, world):
            config, machine, resume_from = open_stage(
                folder, config, stage_keys(config, name), report, fresh, world
            )
            section = config.finetune[name]
            dropout = config.model.dropout if section.dropout is None else section.dropout
            model = load_model(base, device=machine.device, dropout=dropout)
            length = min(config.model.max_seq_len, model.shape.max_seq_len)
            job = Job(
                *(config, name, section, folder, base, model, tokenizer, machine, world, length),
                *(resume_from, report),
            )
            with telling_out_of_memory(
                lambda: out_of_memory(f"finetune.{name}", section, "before the first step")
            ):
                plan, training = _planned(job)
        _describe(job, plan, training)
        caution_warmup(training)
        train(training, resume_from)
        world.first(lambda: plot_loss(layout(config).root))
        with gathered(model):
            measures = training.measures | world.first(lambda: _measure(job, plan))
    return StepResult(
        checkpoint=folder / step_name(training.counters.step),
        method=section.method,
        step=training.counters.step,
        rows=plan.rows,
        train_loss=training.last_loss,
        tokens_per_s=training.tokens_per_s or None,
        mfu=training.mfu or None,
        peak_memory_bytes=peak_memory_bytes(machine.device),
        training_bytes=training_bytes(model, training.optimizers),
        trained_parameters=trained_parameters(model),
        measures=measures,
    )


def _planned(job: Job) -> tuple[Plan, Run]:
    """What a step trains on, and its training."""
    section = job.section
    if job.model.shape.n_labels and section.method != "classify":
        raise CheckpointError(
            f"{job.base}: a classifier, which writes no text to train further",
            f"name a language model with finetune.{job.name}.base",
        )
    plan = METHODS[section.method](job)
    if section.lora is not None:
        _add_lora(job, section.lora)
    return plan, _prepare(job, plan)


def _measure(job: Job, plan: Plan) -> Measures:
    """What the method measures of its last weights, and the tasks that the step names."""
    with stoppable(job.report) as report:
        measures = plan.measure(report)
        stop_ids = job.tokenizer.stop_ids
        scorer = Scorer(job.model, job.tokenizer, stop_ids, plan.labels, job.config.seed, report)
        with job.machine.autocast():
            for name in job.section.tasks:
                measures |= {name: scorer.score(name, job.config.eval.tasks[name])}
    return measures


def _prepare(job: Job, plan: Plan) -> Run:
    """The training of a plan; the model gets the weights of the checkpoint it continues from."""
    config, section, model, machine, world = (
        *(job.config, job.section, job.model, job.machine, job.world),
    )
    provenance = {
        "tokenizer_hash": job.tokenizer.hash,
        "base": str(job.base),
        "base_hash": weights_hash(job.base),
        "rows_hash": plan.data_hash,
    }
    if others := other_inputs(section):
        provenance["other_inputs"] = ",".join(others)
    if job.resume_from is not None:
        check_provenance(job.resume_from, provenance)
        if section.lora is None:
            load_weights(job.resume_from, model)
        else:
            load_adapter(job.resume_from / ADAPTER_FOLDER, model)
    answers = section.format == "chat" and plan.teaches_answers
    record = provenance | {"chat": answers or is_chat_trained(job.base, job.tokenizer)}
    length = plan.windows.length
    if plan.batch_rows is None and section.batch_tokens % length:
        raise ConfigError(
            f"finetune.{job.name}.batch_tokens={section.batch_tokens} is not a multiple of the "
            f"{length} positions that {job.base} takes",
            f"model.max_seq_len={length} finetune.{job.name}.batch_tokens="
            f"{max(1, round(section.batch_tokens / length)) * length}",
        )
    sequences = plan.batch_rows or section.batch_tokens // length
    steps = plan.steps or step_count(section, len(plan.windows), sequences)
    flops = flops_per_token(model.shape, length) * steps * sequences * length
    return Run(
        stage=f"finetune.{job.name}",
        folder=job.folder,
        model=model,
        objective=plan.objective,
        windows=plan.windows,
        config=section,
        steps=steps,
        seed=config.seed,
        machine=machine,
        hooks=Hooks(
            write_weights=lambda *given: _write(job, plan, record, *given),
            documents=plan.documents,
            trackers=trackers_of(config, job.folder, job.name),
            validate=lambda poll: _validate(job, plan, poll),
        ),
        report=job.report,
        world=world,
        batch_rows=plan.batch_rows,
        compiled=(section.compile is True or plan.batch_rows is None)  # shapes that repeat
        and world.first(lambda: wants_compile(section, machine.device, flops, job.report)),
    )


def _add_lora(job: Job, section: LoraConfig) -> None:
    """Freeze the model and put an adapter beside its matrices.

    Raises:
        ConfigError: the config names matrices that the model does not have.
    """
    try:
        add_lora(job.model, _sizes(job, section), job.config.seed)
    except ValueError as err:
        raise ConfigError(f"finetune.{job.name}.lora.targets: {err}") from err


def _sizes(job: Job, section: LoraConfig) -> Lora:
    targets = section.targets or linear_names(job.model)
    return Lora(section.rank, section.alpha, section.dropout, targets)


def _write(
    job: Job,
    plan: Plan,
    record: dict[str, Any],
    folder: Path,
    counters: Counters,
    weights: dict[str, Tensor],
) -> None:
    """Fill a checkpoint folder: a whole model, and beside it the adapter that is in it, if any."""
    if job.section.lora is not None:
        lora, adapter = _sizes(job, job.section.lora), folder / ADAPTER_FOLDER
        save_adapter(adapter, lora, weights, str(job.base.resolve()), bool(plan.labels))
        weights = merge(job.model, weights)
    write_weights(
        folder, job.model, weights, job.tokenizer, job.config, record, counters, plan.labels
    )


def trained_parameters(model: Transformer) -> int:
    """How many parameters are not frozen."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _describe(job: Job, plan: Plan, training: Run) -> None:
    held_out = f" ({counted(plan.held_out_rows, 'row')} held out)" if plan.held_out_rows else ""
    job.report(
        Note(
            f"{job.section.method} from {job.base}: {counted(plan.rows, 'row')} in "
            f"{counted(len(plan.windows), 'sample')} of {plan.windows.length} tokens{held_out}, "
            f"{counted(training.steps, 'step')}, "
            f"{short_count(trained_parameters(job.model))} parameters trained"
        )
    )


def _validate(job: Job, plan: Plan, poll: Callable[[], None]) -> dict[str, float]:
    if plan.held_out is None:
        return {}
    means = held_out_means(
        job.model,
        plan.objective,
        plan.held_out,
        job.section.eval_tokens,
        job.section.micro_batch_size,
        job.machine,
        job.world,
        poll,
    )
    return {f"val_{name}": value for name, value in means.items()}


def step_count(section: FinetuneConfig, samples: int, per_step: int) -> int:
    """Optimizer steps of a finetuning step: `max_steps`, or `epochs` passes rounded up."""
    if section.max_steps is not None:
        return section.max_steps
    return max(1, math.ceil(section.epochs * samples / max(1, per_step)))


def base_checkpoint(config: Config, name: str, report: Report) -> Path:
    """The checkpoint that a step starts from.

    Raises:
        CheckpointError: there is none.
        ConfigError: the base is the step itself.
    """
    wanted, places = config.finetune[name].base, layout(config)
    if wanted != "auto":
        try:
            named = find_checkpoint(Path(wanted), report)
        except CheckpointError as err:
            raise CheckpointError(f"finetune.{name}.base: {err.message}", err.hint) from err
        own = places.finetune(name).resolve()
        if own in named.resolve().parents:
            raise ConfigError(
                f"finetune.{name}.base: {wanted} means {named}, a checkpoint of this very step",
                f"name the stage to start from, for example {places.pretrain}",
            )
        return named
    names = list(config.finetune)
    before = names.index(name)
    stage = places.finetune(names[before - 1]) if before else places.pretrain
    found = newest_valid(stage, report)
    if found is None:
        command = f"finetune --step {names[before - 1]}" if before else "pretrain"
        raise CheckpointError(
            f"{stage}: no checkpoint to start finetune.{name} from", f"run lilllm {command} first"
        )
    return found
