"""An append-only file of JSON rows that survives a crash at any moment.

A row is one line, written in one piece and flushed to disk before anybody is told that it is
kept. Power that fails in the middle of a line leaves a torn one, always the last: it is cut off
when the file is opened again. Several processes may append to the same file.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from lilllm.data.badrows import BadRows
from lilllm.data.inputs import find_inputs
from lilllm.data.rows import file_rows
from lilllm.errors import ConfigError
from lilllm.events import Caution, Report
from lilllm.files import fsync_path, make_folder, write_error


class Journal:
    """Opens a journal, or begins one.

    Args:
        path: the .jsonl file.
        report: is told when a torn last line was cut off.
        begins: how its rows begin; what follows its last newline and cannot be one of them is kept.

    Raises:
        ConfigError: such a thing that is no JSON follows the last newline.
        RunError: it cannot be written.
    """

    def __init__(self, path: Path, report: Report, *, begins: bytes = b"") -> None:
        self.path = path
        make_folder(path.parent)
        with self._locked() as file:
            torn = _torn_line(file)
            shown = torn.decode("utf-8", "replace")[:60]
            if torn[: len(begins)] != begins[: len(torn)]:
                raise ConfigError(
                    f"{path}: its last line is no JSON: {shown!r}", "mend it, or name another file"
                )
            if torn:
                file.truncate(file.seek(0, os.SEEK_END) - len(torn))
                os.fsync(file.fileno())
        fsync_path(path.parent)
        if torn:
            report(Caution(f"{path}: its last line was torn by a crash and is cut off: {shown!r}"))

    def rows(self) -> Iterator[tuple[dict[str, Any], str]]:
        """Every row so far, with its file and line.

        Raises:
            DataError: a line is not a JSON object.
        """
        if self.path.stat().st_size:
            yield from file_rows(find_inputs(str(self.path))[0], BadRows("refuse"))

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep rows: after the return they are on disk, all of them.

        Raises:
            RunError: the disk is full or the file cannot be written; none of them is kept.
        """
        lines = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
        with self._locked() as file:
            size = file.seek(0, os.SEEK_END)
            try:
                left = memoryview(lines.encode("utf-8", "replace"))
                while left:
                    left = left[file.write(left) :]
                os.fsync(file.fileno())
            except OSError as err:
                with contextlib.suppress(OSError):
                    file.truncate(size)
                raise write_error(self.path, err) from err

    @contextlib.contextmanager
    def _locked(self) -> Iterator[IO[bytes]]:
        """The file, open for reading and appending, while no other process appends."""
        try:
            file = self.path.open("a+b", buffering=0)
        except OSError as err:
            raise write_error(self.path, err) from err
        with file:
            with contextlib.suppress(ImportError):  # not on this system: no lock
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX)
            yield file


def _torn_line(file: IO[bytes]) -> bytes:
    """What follows the last newline and is no JSON; a whole row only gets its newline."""
    start, tail = file.seek(0, os.SEEK_END), b""
    while start and b"\n" not in tail:
        length = min(start, 1 << 16)
        start = file.seek(start - length)
        tail = file.read(length) + tail
    torn = tail[tail.rfind(b"\n") + 1 :]
    if not torn:
        return b""
    try:
        json.loads(torn)
    except (ValueError, RecursionError):
        return torn
    file.write(b"\n")  # somebody edited the file by hand
    return b""
