"""`--nproc N`: torchrun started for the user, and one answer from many processes.

Each process leaves its result or its error as a file in a folder named by an environment
variable; the command that started them shows the one that counts.
"""

import contextlib
import dataclasses
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from lilllm.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    Interrupted,
    LilllmError,
    RunError,
)
from lilllm.events import Report

ANSWERS = "LILLLM_ANSWERS"
"""Names the folder of answers in the environment of processes that `launch` started."""

SHUTDOWN_SECONDS = 60
"""After a signal or a failure, so long do the processes have to save and end."""

Result = TypeVar("Result")
Processes = Annotated[
    int, typer.Option("--nproc", min=1, max=1024, help="Processes to train with, one per GPU.")
]


def over_processes(count: int, work: Callable[[Report], Result]) -> Callable[[Report], Any]:
    """`work` as it is, or the same command in `count` processes if none were started yet."""
    if count == 1 or "WORLD_SIZE" in os.environ:
        return work
    return lambda report: launch(count)


def launch(count: int) -> Any:
    """Run this command in several processes of this machine; the first one's result.

    Raises:
        LilllmError: the error of the process that failed first, of the class that it had there.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable(logging.CRITICAL)  # what goes wrong is told below
    with tempfile.TemporaryDirectory(prefix="lilllm-") as folder:
        answers = Path(folder)
        with _environment(
            {
                ANSWERS: folder,
                "TORCH_CPP_LOG_LEVEL": "ERROR",
                "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // count)),
                "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(SHUTDOWN_SECONDS),
            }
        ):
            machine = LaunchConfig(
                *(1, 1, count),  # fewest machines, most machines, processes of each
                run_id=answers.name,
                rdzv_backend="c10d",
                rdzv_endpoint="localhost:0",
                max_restarts=0,
                **_signals(LaunchConfig),
            )
            try:
                elastic_launch(machine, sys.executable)("-u", "-m", "lilllm", *sys.argv[1:])
            except (ChildFailedError, SignalException) as err:
                raise _first_error(answers, err) from err
        return json.loads((answers / "result.json").read_text(encoding="utf-8"))


def _signals(config: type) -> dict[str, Any]:
    """What is handed on to the processes, where this version of torch can be told so."""
    if "signals_to_handle" not in {field.name for field in dataclasses.fields(config)}:
        return {}
    from lilllm.training.signals import stop_signals

    return {"signals_to_handle": ",".join(["SIGQUIT", *(s.name for s in stop_signals())])}


@contextlib.contextmanager
def _environment(changes: dict[str, str]) -> Iterator[None]:
    """Set variables that are not set yet, and take them back."""
    added = {name: value for name, value in changes.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def leave_answer(folder: Path, result: Any) -> None:
    """In a started process: keep the result, if this is the process that speaks."""
    if os.environ["RANK"] == "0":
        (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


def leave_error(folder: Path, message: str, hint: str, exit_code: int, err: BaseException) -> None:
    """In a started process: keep its error for the command that started it."""
    record = {
        "kind": type(err).__name__,
        "told_elsewhere": getattr(err, "told_elsewhere", False),
        "time": time.time(),
        "message": message,
        "hint": hint,
        "exit_code": exit_code,
    }
    path = folder / f"error-{os.environ['RANK']}.json"
    path.write_text(json.dumps(record), encoding="utf-8")


def _first_error(folder: Path, cause: Exception) -> LilllmError:
    """The error that began it: the earliest that is not about another process."""
    errors = [json.loads(path.read_text("utf-8")) for path in folder.glob("error-*.json")]
    errors.sort(key=lambda e: (e["kind"] == "LostProcess", e["told_elsewhere"], e["time"]))
    if not errors or errors[0]["kind"] == "LostProcess":
        return RunError(
            f"a process was killed before it could say why ({_how_it_ended(cause)})",
            "not enough memory is the usual reason; the same command continues from the last save",
        )
    first = errors[0]
    known = (ConfigError, DataError, CheckpointError, RunError, Interrupted)
    kinds: dict[int, type[LilllmError]] = {kind.exit_code: kind for kind in known}
    return kinds.get(first["exit_code"], LilllmError)(first["message"], first["hint"])


def _how_it_ended(cause: Exception) -> str:
    failures = getattr(cause, "failures", None)
    if not failures:
        return str(cause)
    rank, failure = min(failures.items(), key=lambda item: item[1].timestamp)
    return f"process {rank}, exit code {failure.exitcode}"
