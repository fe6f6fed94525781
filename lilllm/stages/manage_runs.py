"""What is under `runs/`: listing runs, and removing one."""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lilllm.config.layout import RUNS
from lilllm.errors import ConfigError, RunError
from lilllm.files import LOCK_PREFIX, locked_by, refuse_locked
from lilllm.training.metrics import read_metrics
from lilllm.training.state import checkpoints, read_marker


@dataclass(frozen=True, slots=True)
class StageSummary:
    """One training stage of a run: its newest checkpoint and last measures."""

    name: str
    checkpoints: int
    latest: str
    val_loss: float | None
    val_bpb: float | None


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run folder; `modified` is in seconds since the epoch."""

    name: str
    bytes: int
    modified: float
    stages: list[StageSummary]


def list_runs(root: Path = RUNS) -> list[RunSummary]:
    """Every run folder, the one touched last first."""
    runs = [_summary(folder) for folder in root.glob("*") if folder.is_dir()]
    return sorted(runs, key=lambda run: -run.modified)


def find_run(name: str, root: Path = RUNS) -> Path:
    """The folder of a run.

    Raises:
        ConfigError: there is no such run.
    """
    folder = root / name
    if not name or Path(name).name != name or name in {".", ".."} or not folder.is_dir():
        known = ", ".join(run.name for run in list_runs(root)) or "none"
        raise ConfigError(f"{folder}: no such run", f"runs here: {known}")
    return folder


def remove_run(name: str, root: Path = RUNS) -> Path:
    """Delete a run folder and everything in it.

    Raises:
        ConfigError: there is no such run.
        RunError: it is being worked on, or cannot be deleted.
    """
    folder = find_run(name, root)
    for lock in folder.rglob(f"{LOCK_PREFIX}*"):
        refuse_locked(locked_by(lock))
    try:
        if folder.is_symlink():
            folder.unlink()
        else:
            shutil.rmtree(folder)
    except OSError as err:
        raise RunError(
            f"{folder}: cannot be removed ({err.strerror or err})", "remove it by hand"
        ) from err
    return folder


def _summary(folder: Path) -> RunSummary:
    files = list(_files(folder))
    stages = [folder / "pretrain", *sorted((folder / "finetune").glob("*"))]
    return RunSummary(
        name=folder.name,
        bytes=sum(file.st_size for file in files),
        modified=max((file.st_mtime for file in files), default=folder.stat().st_mtime),
        stages=[_stage(stage, folder) for stage in stages if checkpoints(stage)],
    )


def _files(folder: Path) -> Iterator[os.stat_result]:
    """Of each file; those that a training run removes meanwhile are left out."""
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                yield Path(place, name).stat()


def _stage(stage: Path, run: Path) -> StageSummary:
    measures: dict[str, float] = {}
    for event in read_metrics(stage / "metrics.jsonl"):
        if event["event"] in {"validation", "done"}:
            measures |= {k: v for k, v in event.items() if isinstance(v, float)}
    return StageSummary(
        name=stage.relative_to(run).as_posix(),
        checkpoints=len(checkpoints(stage)),
        latest=read_marker(stage, "latest"),
        val_loss=measures.get("val_loss"),
        val_bpb=measures.get("val_bpb"),
    )
