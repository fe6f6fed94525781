"""Which checkpoint a command means, and opening it: its model, its tokenizer, its defaults.

A checkpoint may be named by its own folder, by a stage folder, a run folder or a config; with
nothing named it is the newest under `runs/` that can do the job. Damaged ones are passed over
when searching and refused when named.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from lilllm.config import Config, Layout, layout, load_config
from lilllm.config.layout import RUNS
from lilllm.config.load import is_config_file
from lilllm.config.schema import GenerateConfig
from lilllm.errors import CheckpointError
from lilllm.events import Caution, Note, Report
from lilllm.files import MANIFEST, manifest_problem
from lilllm.model.checkpoint import (
    DAMAGED,
    OURS,
    is_checkpoint,
    load_bits,
    load_generation,
    load_labels,
    load_model,
    load_stop_ids,
    verify,
)
from lilllm.model.quantized import Bits
from lilllm.model.transformer import Transformer
from lilllm.tokenizer import Tokenizer
from lilllm.training.hardware import DTYPES, resolve_device
from lilllm.training.metrics import last_time

STEPS = "step-*"
MAKE_ONE = "`lilllm run configs/demo.yaml` makes one, or name a checkpoint folder"


@dataclass(frozen=True, slots=True)
class Loaded:
    """An opened checkpoint.

    config: of the run that made it, None for a foreign one. generate: its sampling defaults.
    stop_ids: tokens that end a text. chat_trained: whether it has learnt to answer. bits: of its
    matrices where it was saved in few.
    """

    folder: Path
    model: Transformer
    tokenizer: Tokenizer
    config: Config | None
    generate: GenerateConfig
    stop_ids: frozenset[int]
    chat_trained: bool
    bits: Bits | None = None

    def prompt_ids(self, text: str) -> list[int]:
        """Ids of the beginning of a text; at least one, the token that begins every text."""
        return self.tokenizer.encode_prompt(text) or [self.first_id]

    @property
    def first_id(self) -> int:
        """The token that begins every text: BOS, or end-of-text where there is none."""
        bos = self.tokenizer.bos_id
        return self.tokenizer.end_id if bos is None else bos


def find_checkpoint(
    target: Path | Config | None, report: Report, *, chat: bool = False, text: bool = False
) -> Path:
    """The checkpoint folder that `target` means, verified.

    Args:
        target: a checkpoint folder, a stage folder (its `latest`), a run folder or a config,
            read or by its path (the last finetuning step, else pretraining), or None for the
            newest under `runs/`.
        report: is told which one was taken, and what was wrong with those passed over.
        chat: prefer finetuned checkpoints to newer base models when searching.
        text: pass over classifiers when searching, as `chat` does too.

    Raises:
        CheckpointError: there is none, or the named one is damaged.
        ConfigError: the config cannot be read.
    """
    if isinstance(target, Path) and is_checkpoint(target):
        verify(target, report)
        return target
    if target is None:
        candidates = sorted(_all_checkpoints(RUNS), key=_age_key, reverse=True)
        if chat or text:
            candidates = [folder for folder in candidates if not _is_classifier(folder)]
        if chat:  # sorting is stable: still the newest first among equals
            candidates.sort(key=lambda folder: "finetune" not in folder.parts)
        missing = CheckpointError(f"no checkpoint anywhere under {RUNS}/", MAKE_ONE)
    elif isinstance(target, Config):
        candidates, root = _of_config(target)
        hint = "`lilllm pretrain` with the same config makes one"
        missing = CheckpointError(f"the run {root} has no checkpoint", hint)
    else:
        candidates, missing = _within(target)
    for folder in candidates:
        if problem := _problem(folder):
            report(Caution(f"{problem}; using the checkpoint before it"))
            continue
        report(Note(f"checkpoint: {folder}"))
        return folder
    raise missing


def load_checkpoint(
    folder: Path,
    *,
    device: str = "auto",
    precision: str = "fp32",
    generate: GenerateConfig | None = None,
) -> Loaded:
    """Open a checkpoint folder that `find_checkpoint` returned, ours or a foreign one.

    Args:
        folder: a verified checkpoint folder.
        device: as in a config.
        precision: of the weights: fp32, bf16 or fp16.
        generate: sampling defaults to use instead of those stored in the folder.

    Raises:
        CheckpointError: the model or tokenizer cannot be read, or they do not fit each other.
        RunError: no such device.
    """
    tokenizer = Tokenizer.load(folder)
    model = load_model(folder, dtype=DTYPES[precision], device=resolve_device(device)).eval()
    if tokenizer.vocab_size > model.shape.vocab_size:
        raise CheckpointError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} tokens, the model knows "
            f"{model.shape.vocab_size}",
            "copy the tokenizer that the model was trained with into the folder",
        )
    record = _record(folder)
    config = _config_of(record)
    stored = (config or Config()).generate.model_copy(update=load_generation(folder))
    return Loaded(
        folder=folder,
        model=model,
        tokenizer=tokenizer,
        config=config,
        generate=generate or stored,
        stop_ids=tokenizer.stop_ids | load_stop_ids(folder),
        chat_trained=is_chat_trained(folder, tokenizer),
        bits=load_bits(folder),
    )


def is_chat_trained(folder: Path, tokenizer: Tokenizer) -> bool:
    """Whether a model has learnt to answer: its run says, or of a foreign one its template."""
    record = _record(folder)
    if not record:
        return tokenizer.chat_template is not None
    return bool(record.get("chat", "base" in record))  # older ones say nothing but their base


def named_generate(target: Path | None) -> GenerateConfig | None:
    """The sampling options of a config that was named by its path; None for anything else.

    Raises:
        ConfigError: the config cannot be read.
    """
    return load_config(target).generate if target is not None and is_config_file(target) else None


def _within(target: Path) -> tuple[list[Path], CheckpointError]:
    """Checkpoints that a config file, stage folder or run folder may mean, best first."""
    if _is_gguf(target):
        raise CheckpointError(
            f"{target}: a GGUF file, not a checkpoint folder",
            f"`lilllm import {target} --to FOLDER` makes one of it",
        )
    if is_config_file(target):
        found, root = _of_config(load_config(target))
        command = f"`lilllm pretrain {target}` makes one"
        return found, CheckpointError(f"{target}: its run {root} has no checkpoint", command)
    if not target.is_dir():
        return [], CheckpointError(f"{target}: no such checkpoint, folder or config", _known())
    if found := _steps(target):
        return found, CheckpointError(f"{target}: every checkpoint in it is damaged", MAKE_ONE)
    places = Layout(root=target, tokenizer=target / "tokenizer", data=target / "data")
    finetuned = sorted((target / "finetune").glob("*/"), key=_stage_age, reverse=True)
    found = _first_stage([*finetuned, places.pretrain])
    if not found and (target / "config.json").is_file():
        verify(target, lambda event: None)  # says what is missing of a model folder
    return found, CheckpointError(f"{target}: no checkpoint in it", _known())


def _is_gguf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"GGUF"
    except OSError:
        return False


def _of_config(config: Config) -> tuple[list[Path], Path]:
    """Checkpoints of the run of a config, best first, and its run folder."""
    places = layout(config)
    stages = [places.finetune(name) for name in reversed(config.finetune)]
    return _first_stage([*stages, places.pretrain]), places.root


def _first_stage(stages: Sequence[Path]) -> list[Path]:
    """The checkpoints of the first stage that has any, then those of the later ones."""
    return [folder for stage in stages for folder in _steps(stage)]


def _steps(stage: Path) -> list[Path]:
    """Checkpoint folders of a stage: the one that `latest` names, then newest first."""
    folders = sorted((path for path in stage.glob(STEPS) if path.is_dir()), reverse=True)
    try:
        latest = (stage / "latest").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):  # the newest will do
        latest = ""
    return sorted(folders, key=lambda folder: folder.name != latest)


def _all_checkpoints(runs: Path) -> Iterable[Path]:
    for run in runs.glob("*/"):
        if is_checkpoint(run):  # an imported model
            yield run
        for stage in (run / "pretrain", *run.glob("finetune/*/")):
            yield from stage.glob(f"{STEPS}/")


def _age_key(folder: Path) -> tuple[float, str]:
    """When its stage last did something, and the name of the step.

    The stage's own log tells it, because a copy of a run has other times of its files.
    """
    if at := last_time(folder.parent / "metrics.jsonl"):
        return at, folder.name
    manifest = folder / MANIFEST
    try:
        return (manifest if manifest.is_file() else folder).stat().st_mtime, folder.name
    except OSError:
        return 0.0, folder.name


def _stage_age(stage: Path) -> tuple[float, str]:
    return max((_age_key(folder) for folder in _steps(stage)), default=(0.0, ""))


def _is_classifier(folder: Path) -> bool:
    try:
        return bool(load_labels(folder))
    except CheckpointError:  # its problem is told when it is chosen
        return False


def _problem(folder: Path) -> str:
    if problem := manifest_problem(folder):
        return problem
    return "" if is_checkpoint(folder) else f"{folder}: no model in it"


def _known() -> str:
    """The checkpoints there are, as a hint."""
    newest = sorted(_all_checkpoints(RUNS), key=_age_key, reverse=True)[:3]
    return f"there are: {', '.join(map(str, newest))}" if newest else MAKE_ONE


def _record(folder: Path) -> dict[str, Any]:
    """What `lilllm.yaml` says about how a checkpoint was made; nothing for a foreign one."""
    path = folder / OURS
    if not path.is_file():
        return {}
    try:
        record = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as err:
        raise CheckpointError(f"{path}: cannot be read ({err})", DAMAGED) from err
    return record if isinstance(record, dict) else {}


def _config_of(record: dict[str, Any]) -> Config | None:
    """The config in a record, if there is one and this version understands it."""
    try:
        return Config.model_validate(record["config"])
    except (KeyError, ValidationError):
        return None
