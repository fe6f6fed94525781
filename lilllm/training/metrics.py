"""`metrics.jsonl`: one event per line, append-only, readable after any crash."""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lilllm.files import make_folder, write_error
from lilllm.training.trackers import Tracker

TRACKED = {"step", "validation"}


@dataclass(frozen=True, slots=True)
class MetricsLog:
    """Appends events to a file; a line torn by a crash is closed by the next append.

    path: of the file. writable: False in processes that leave the writing to another one.
    trackers: are told the figures of steps and validations too.
    """

    path: Path
    writable: bool = True
    trackers: Sequence[Tracker] = ()

    def append(self, event: str, **fields: Any) -> None:
        """Add one line. Figures that are not finite are left out.

        Raises:
            RunError: the disk is full or the folder cannot be written.
        """
        if not self.writable:
            return
        figures = {
            key: value
            for key, value in fields.items()
            if not isinstance(value, float) or math.isfinite(value)
        }
        line = json.dumps({"event": event, "time": round(time.time(), 3), **figures})
        make_folder(self.path.parent)
        try:
            with self.path.open("ab+") as file:
                if file.tell() and not _ends_with_newline(file):
                    file.write(b"\n")
                file.write(line.encode() + b"\n")
        except OSError as err:
            raise write_error(self.path, err) from err
        if event in TRACKED:
            numbers = {k: v for k, v in figures.items() if isinstance(v, float) and k != "step"}
            for tracker in self.trackers:
                tracker(figures["step"], numbers)


def _ends_with_newline(file: Any) -> bool:
    file.seek(-1, 2)
    ends = file.read(1) == b"\n"
    file.seek(0, 2)
    return bool(ends)


TAIL = 1 << 18
"""Bytes at the end of a log in which its last line is, also when it is a long sample."""


def last_time(path: Path) -> float:
    """When the last event of a log was written, in seconds since the epoch; 0 without one."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL))
            lines = file.read().splitlines()
    except OSError:
        return 0.0
    for line in reversed(lines):
        try:
            return float(json.loads(line)["time"])
        except (ValueError, KeyError, TypeError):  # torn, or nothing that a run wrote
            continue
    return 0.0


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The events of a run as if it had never been interrupted.

    After a `resume` event the steps that were lost and done again count once, as done again.
    """
    events: list[dict[str, Any]] = []
    if not path.is_file():
        return events
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:  # torn by a crash
            continue
        if not isinstance(event, dict) or "event" not in event:  # nothing that a run wrote
            continue
        if event["event"] == "resume":
            events = [old for old in events if old.get("step", 0) <= event["step"]]
        events.append(event)
    return events
