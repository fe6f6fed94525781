"""The order of the stages, and which of them a config still needs.

Every stage keeps `result.json`: what it made and a hash of everything that went in. A stage
whose inputs have not changed is skipped; one that was interrupted is continued.
"""

import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lilllm.config import Config, layout
from lilllm.errors import ConfigError, LilllmError
from lilllm.events import (
    Report,
    StageFinished,
    StageSkipped,
    StageStarted,
    short_count,
    silent,
)
from lilllm.files import (
    MANIFEST,
    make_folder,
    manifest_problem,
    read_json,
    refuse_locked,
    sha256_file,
    sha256_json,
    write_json,
)
from lilllm.model.checkpoint import is_checkpoint, load_shape, weights_hash
from lilllm.model.transformer import count_parameters, flops_per_token
from lilllm.stages import evaluate, finetune, prepare, pretrain, train_tokenizer
from lilllm.stages.model_shape import planned_vocab_size, resolve_shape
from lilllm.stages.step_keys import check_keys, stage_keys
from lilllm.stages.training_stage import FREE_KEYS, refuse_changes
from lilllm.tokenizer import Tokenizer
from lilllm.training.distributed import World, join
from lilllm.training.state import newest_valid

FORMAT = 1  # raise it when a stage's files mean something else than before


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a config.

    name: as typed. folder: where it works. run: does it. inputs: a hash of what goes in, asked
    only once everything before it is there. about: what it will do, for people.
    keys: config keys that a begun training may not change; empty for stages that are redone.
    """

    name: str
    folder: Path
    run: Callable[[Report, bool], Any]
    inputs: Callable[[], str]
    about: str
    keys: tuple[str, ...] = ()


def stages_of(config: Config) -> list[Stage]:
    """Every stage that a config has, in the order in which they build on each other."""
    places = layout(config)
    stages = []
    if config.tokenizer.path is None:
        stages.append(
            Stage(
                "tokenizer",
                places.tokenizer,
                lambda report, fresh: train_tokenizer.run(config, report),
                lambda: train_tokenizer.inputs_hash(config),
                f"byte-level BPE, {config.tokenizer.vocab_size:,} tokens, from up to "
                f"{short_count(config.tokenizer.train_bytes)}B of text",
            )
        )
    if config.data.path is None:
        stages.append(
            Stage(
                "data",
                places.data,
                lambda report, fresh: prepare.run(config, report, fresh),
                lambda: prepare.inputs_hash(config),
                "tokens of " + ", ".join(source.path for source in config.data.sources),
            )
        )
    stages.append(
        Stage(
            "pretrain",
            places.pretrain,
            lambda report, fresh: pretrain.run(config, report, fresh),
            lambda: _hash(
                config,
                pretrain.KEYS,
                [Tokenizer.load(places.tokenizer).hash, sha256_file(places.data / MANIFEST)],
            ),
            _about_pretraining(config),
            pretrain.KEYS,
        )
    )
    stages += [_finetune_stage(config, name) for name in config.finetune]
    stages.append(
        Stage(
            "eval",
            places.eval,
            lambda report, fresh: evaluate.run(config, report),
            lambda: _hash(
                config,
                ("eval", "data"),
                [
                    _newest_weights_hash(_last_training_folder(config)),
                    [
                        *(prepare.source_identity(source) for source in config.eval.sources),
                        *(_of_task(config, name) for name in config.eval.tasks),
                    ],
                ],
            ),
            "bits per byte on the validation split",
        )
    )
    return stages


def build(
    config: Config,
    report: Report,
    until: str,
    build_missing: bool = True,
    fresh: bool = False,
) -> dict[str, Any]:
    """Run the stages up to and including `until`, each only if it is needed.

    Args:
        config: one model's life.
        report: is told what is built, skipped and continued.
        until: name of the last stage.
        build_missing: False refuses when an earlier stage is not up to date.
        fresh: start the stage `until` again, its old folder moved aside.

    Returns:
        the result of every stage, by name, as JSON values.

    Raises:
        ConfigError: no such stage, an earlier one is missing, or a begun training was changed.
    """
    stages = stages_of(config)
    names = [stage.name for stage in stages]
    if until not in names:
        raise ConfigError(
            f"{until}: nothing to build: the config takes it from elsewhere or has no such stage",
            f"its stages: {', '.join(names)}",
        )
    stages = _needed(stages[: names.index(until) + 1], config)
    world = join(config.device)
    if not world.is_first:
        report = silent

    def refuse_any_changes() -> None:
        for stage in stages:
            step = stage.name.removeprefix("finetune.")
            if step != stage.name:
                check_keys(config, step)
            if stage.keys and not (fresh and stage.name == until):
                refuse_changes(stage.folder, config, stage.keys)

    world.first(refuse_any_changes)
    results = {}
    for stage in stages:
        last = stage.name == until
        done = world.first(partial(_finished, stage))
        if done is not None and not (fresh and last):
            report(StageSkipped(stage.name, f"up to date in {stage.folder}"))
            results[stage.name] = done
            continue
        if not last and not build_missing:
            raise ConfigError(
                f"{stage.name} is not there or not up to date, and --no-build was given",
                f"run `lilllm {_command(stage.name)}` with this config first",
            )
        if not stage.keys:
            world.first(lambda: _refuse_while_training(config))
        report(StageStarted(stage.name, stage.about))
        began = time.monotonic()
        result = _run(stage, report, fresh and last, world)
        report(StageFinished(stage.name, time.monotonic() - began, str(stage.folder)))
        results[stage.name] = result
    return results


def _run(stage: Stage, report: Report, fresh: bool, world: World) -> dict[str, Any]:
    """Do a stage and keep its result; every process trains, the first one does all else."""

    def alone() -> Any:
        return _plain(stage.run(report, fresh))

    inputs = world.first(lambda: _inputs(stage))  # before it runs: they may change meanwhile
    result: dict[str, Any] = alone() if stage.keys else world.first(alone)

    def keep() -> None:
        make_folder(stage.folder.parent)
        write_json(_result_path(stage), {"inputs": inputs, "result": result})

    world.first(keep)
    return result


def _refuse_while_training(config: Config) -> None:
    """Do nothing if no training of this run, which reads its tokenizer and its data, goes on.

    Raises:
        RunError: one does.
    """
    for stage in stages_of(config):
        if stage.keys:
            refuse_locked(stage.folder)


def _needed(stages: list[Stage], config: Config) -> list[Stage]:
    """The last stage and what it builds on, in order.

    An evaluation, which ends `lilllm run`, wants every step of finetuning. A step whose `base` is
    another run's needs nothing before it.
    """
    names = [stage.name for stage in stages]
    wanted = {names[-1]}
    if names[-1] == "eval":
        steps = {f"finetune.{step}" for step in config.finetune}
        wanted |= steps or {"pretrain"}
        if not (config.eval.sources or config.eval.tasks):
            wanted.add("data")
    for number in range(len(stages) - 1, -1, -1):
        if names[number] in wanted:
            wanted |= _built_on(stages, number, config, whole=names[-1] == "eval")
    return [stage for stage in stages if stage.name in wanted]


def _built_on(stages: list[Stage], number: int, config: Config, whole: bool) -> set[str]:
    """Names of the stages whose result a stage reads.

    A checkpoint that `base` names is taken as it is, unless the `whole` run is wanted.
    """
    name = stages[number].name
    if not name.startswith("finetune."):
        return {"data": {"tokenizer"}, "pretrain": {"tokenizer", "data"}}.get(name, set())
    base = config.finetune[name.removeprefix("finetune.")].base
    if base == "auto":
        return {stages[number - 1].name}
    place = Path(base).resolve()
    if is_checkpoint(place) and not whole:
        return set()
    folders = {stage.name: stage.folder.resolve() for stage in stages[:number]}
    return {known for known, folder in folders.items() if folder in (place, *place.parents)}


def _finetune_stage(config: Config, name: str) -> Stage:
    keys = stage_keys(config, name)
    section = config.finetune[name]
    of_weights = tuple(key for key in keys if key != "model.dropout")  # counted below, if any

    def inputs() -> str:
        base = finetune.base_checkpoint(config, name, silent)
        sources = [prepare.source_identity(source) for source in section.sources]
        tasks = [_of_task(config, task) for task in section.tasks]
        others = finetune.other_inputs(section)
        if "model.dropout" in keys and config.model.dropout:
            others.append(f"dropout {config.model.dropout}")
        if config.model.max_seq_len < load_shape(base).max_seq_len:  # then it drops or cuts rows
            others.append(f"context {config.model.max_seq_len}")
        return _hash(config, of_weights, [weights_hash(base), sources, *others, *tasks])

    return Stage(
        f"finetune.{name}",
        layout(config).finetune(name),
        lambda report, fresh: finetune.run_step(config, name, report, fresh),
        inputs,
        f"{section.method} on " + ", ".join(source.path for source in section.sources),
        keys,
    )


def _of_task(config: Config, name: str) -> list[Any]:
    """What the score of a task depends on besides the model."""
    task = config.eval.tasks[name]
    sources = [prepare.source_identity(each) for each in (*task.sources, *task.shot_sources)]
    return [name, task.model_dump(mode="json"), sources]


def _inputs(stage: Stage) -> str | None:
    """The hash of what goes into a stage; None if something is missing, which it says itself."""
    try:
        return stage.inputs()
    except (LilllmError, OSError):
        return None


def _finished(stage: Stage) -> dict[str, Any] | None:
    """The result of a stage that was completed with the same inputs."""
    path = _result_path(stage)
    if not path.is_file():
        return None
    try:
        record = read_json(path)
        result: dict[str, Any] = record["result"]
        if (inputs := _inputs(stage)) is None or record["inputs"] != inputs:
            return None
    except (OSError, KeyError, TypeError):
        return None
    checkpoint = result.get("checkpoint") if stage.keys else None
    made = Path(checkpoint) if checkpoint else stage.folder
    if stage.name != "eval" and manifest_problem(made):
        return None
    return result


def _result_path(stage: Stage) -> Path:
    """Beside the folder for stages whose folder is replaced as a whole."""
    if stage.keys or stage.name == "eval":
        return stage.folder / "result.json"
    return stage.folder.with_name(f"{stage.folder.name}.result.json")


def _hash(config: Config, keys: tuple[str, ...], more: list[Any]) -> str:
    values = config.model_dump(mode="json")
    picked: dict[str, Any] = {}
    for key in keys:
        value: Any = values
        for part in key.split("."):
            value = value[part]
        picked[key] = _without_free_keys(value)
    return sha256_json([FORMAT, picked, more])


def _without_free_keys(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {k: _without_free_keys(v) for k, v in value.items() if k not in FREE_KEYS}


def _last_training_folder(config: Config) -> Path:
    places = layout(config)
    return places.finetune(list(config.finetune)[-1]) if config.finetune else places.pretrain


def _newest_weights_hash(stage_folder: Path) -> str:
    newest = newest_valid(stage_folder, silent)
    return weights_hash(newest) if newest else ""


def _about_pretraining(config: Config) -> str:
    section = config.pretrain
    try:
        vocab_size = planned_vocab_size(config)
    except LilllmError:  # whoever needs the tokenizer tells what is wrong with it
        vocab_size = config.tokenizer.vocab_size
    shape = resolve_shape(config.model, vocab_size)  # an estimate: the tokenizer decides
    parameters = sum(count_parameters(shape).values())
    tokens = section.steps * section.batch_tokens
    flops = tokens * flops_per_token(shape)
    disk = parameters * 12 * (section.keep_last + 2)  # fp32 weights and two moments
    return (
        f"{short_count(parameters)} parameters on {short_count(tokens)} tokens: "
        f"{flops:.1e} FLOPs, up to {disk / 2**20:,.0f} MiB of checkpoints"
    )


def _command(stage: str) -> str:
    if stage.startswith("finetune."):
        return f"finetune --step {stage.removeprefix('finetune.')}"
    return {"tokenizer": "tokenizer train", "data": "data prep"}.get(stage, stage)


def _plain(result: Any) -> Any:
    fields = {
        field.name: value
        for field in dataclasses.fields(result)
        if (value := getattr(result, field.name)) is not None
    }
    measures = fields.pop("measures", {})  # of a finetuning step, which stand among its fields
    return json.loads(json.dumps({**fields, **measures}, default=str))
