"""One task of preparation: documents in, tokens and a record per document out, atomically.

A task is a pure function of its inputs. Its three files are written aside and renamed, the
record of what it read last; where that record is whole, the task is done. Which documents stay
is decided over all tasks, in `select.py`.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from lilllm.data.badrows import BadRows, OnBadRow, Policy
from lilllm.data.builtin import PREFIX, builtin_documents
from lilllm.data.documents import HUB, row_documents
from lilllm.data.plan import Part, Task
from lilllm.data.rows import file_rows
from lilllm.data.text import Piece, text_pieces
from lilllm.errors import LilllmError
from lilllm.files import PARTIAL, fsync_path, read_json, write_error, write_json

Encoder = Callable[[list[str]], list[NDArray[Any]]]
EncoderFactory = Callable[[], Encoder]
Progressed = Callable[[int], None]

RECORD = np.dtype(
    [("split_key", "<u8"), ("weight_key", "<u8"), ("tokens", "<u8"), ("bytes", "<u8")]
)
"""Per document: the two halves of its 128-bit hash, tokens with end of text, UTF-8 bytes.

A document that broke off while it was read has 0 bytes.
"""

FLUSH_CHARACTERS = 4 << 20


@dataclass(frozen=True, slots=True)
class TaskFiles:
    """Where a task leaves what it made."""

    tokens: Path
    records: Path
    summary: Path


def task_files(folder: Path, index: int) -> TaskFiles:
    """The files of task number `index` below a work folder."""
    stem = f"part-{index:05d}"
    return TaskFiles(folder / f"{stem}.bin", folder / f"{stem}.docs", folder / f"{stem}.json")


def task_summary(folder: Path, index: int, itemsize: int) -> dict[str, Any] | None:
    """What a finished task read; None when it has to run (again)."""
    files = task_files(folder, index)
    try:
        summary = read_json(files.summary)
        whole = (
            files.tokens.stat().st_size == summary["tokens"] * itemsize
            and files.records.stat().st_size == summary["records"] * RECORD.itemsize
        )
    except (LilllmError, OSError, KeyError, TypeError):
        return None
    return summary if whole else None


def run_task(
    task: Task,
    folder: Path,
    encoder: Encoder,
    end_id: int,
    dtype: str,
    policy: Policy,
    seed: int,
    progressed: Progressed,
) -> dict[str, Any]:
    """Tokenize the documents of a task into `folder`.

    Returns:
        its summary: tokens, records, documents, bytes, empty, skipped, first_bad.

    Raises:
        DataError: an input cannot be read, or a bad row is refused.
        RunError: the disk is full or the folder cannot be written.
    """
    bad = BadRows(policy)
    files = task_files(folder, task.index)
    partials = [
        p.with_name(f"{PARTIAL}{p.name}-{os.getpid()}") for p in (files.tokens, files.records)
    ]
    try:
        with partials[0].open("wb") as tokens, partials[1].open("wb") as records:
            writer = _Writer(tokens, records, encoder, end_id, dtype, progressed)
            for piece in _limited(task_pieces(task, bad, seed), task.limit):
                writer.add(piece)
            writer.flush()
        for partial, final in zip(partials, (files.tokens, files.records), strict=True):
            fsync_path(partial)
            partial.replace(final)
    except OSError as err:
        for partial in partials:
            partial.unlink(missing_ok=True)
        raise write_error(files.tokens, err) from err
    summary = {**writer.counts, "skipped": bad.skipped, "first_bad": bad.first}
    write_json(files.summary, summary)
    return summary


def _limited(pieces: Iterator[Piece], limit: int | None) -> Iterator[Piece]:
    """Pieces of at most `limit` documents."""
    documents = 0
    for piece in pieces:
        if limit is not None and documents >= limit:
            return
        yield piece
        documents += piece.last and not piece.broken


def task_pieces(task: Task, on_bad_row: OnBadRow, seed: int) -> Iterator[Piece]:
    """The documents of a task, long ones in pieces."""
    if task.path.startswith(PREFIX):
        for text, where in builtin_documents(task.start, task.stop, seed):
            yield Piece(text, where)
    elif task.path.startswith(HUB):
        from lilllm.data.hub import hub_rows

        rows = row_documents(hub_rows(task.path, task.hub_split), task.field, on_bad_row)
        yield from (Piece(*document) for document in rows)
    else:
        for part in task.parts:
            yield from _part_pieces(part, task, on_bad_row)


def _part_pieces(part: Part, task: Task, on_bad_row: OnBadRow) -> Iterator[Piece]:
    position = (part.start, part.stop, part.first_line)
    if part.input.kind == "text":
        yield from text_pieces(part.input, task.separator, on_bad_row, *position)
        return
    rows = file_rows(part.input, on_bad_row, *position, [task.field], task.header)
    yield from (Piece(*document) for document in row_documents(rows, task.field, on_bad_row))


class _Writer:
    """Collects pieces, encodes them in batches, appends tokens and records to two files."""

    def __init__(
        self,
        tokens: IO[bytes],
        records: IO[bytes],
        encoder: Encoder,
        end_id: int,
        dtype: str,
        progressed: Progressed,
    ) -> None:
        self._tokens, self._records = tokens, records
        self._encoder = encoder
        self._dtype = np.dtype(dtype)
        self._end = np.array([end_id], dtype=self._dtype)
        self._progressed = progressed
        self._pieces: list[str] = []
        self._closed: list[tuple[int, bytes, int]] = []  # pieces so far, hash, bytes
        self._characters = 0
        self._open_tokens = 0  # of a document whose first pieces are already written
        self._restart()
        self.counts = dict.fromkeys(("tokens", "records", "documents", "bytes", "empty"), 0)

    def _restart(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._bytes = 0

    def add(self, piece: Piece) -> None:
        data = piece.text.encode()
        self._hash.update(data)
        self._bytes += len(data)
        self._pieces.append(piece.text)
        self._characters += len(piece.text)
        if piece.last:
            self._close(broken=piece.broken)
        if self._characters >= FLUSH_CHARACTERS:
            self.flush()

    def _close(self, broken: bool) -> None:
        if not self._bytes and not self._open_tokens:
            self._pieces.pop()
            self.counts["empty"] += not broken
        else:
            size = 0 if broken else self._bytes
            self._closed.append((len(self._pieces), self._hash.digest(), size))
            self.counts["documents"] += not broken
            self.counts["bytes"] += size
        self._restart()

    def flush(self) -> None:
        """Encode and write what has come in so far."""
        encoded = self._encoder(self._pieces)
        lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
        sums = np.concatenate(([0], np.cumsum(lengths)))
        out: list[NDArray[Any]] = []
        records = np.zeros(len(self._closed), dtype=RECORD)
        begin = 0
        for index, (stop, digest, size) in enumerate(self._closed):
            out += encoded[begin:stop]
            out.append(self._end)
            keys = np.frombuffer(digest, dtype="<u8")
            tokens = int(sums[stop] - sums[begin]) + 1 + self._open_tokens
            records[index] = (keys[0], keys[1], tokens, size)
            self._open_tokens = 0
            begin = stop
        self._open_tokens += int(sums[-1] - sums[begin])
        out += encoded[begin:]
        if out:
            ids = np.concatenate(out).astype(self._dtype, copy=False)
            self._tokens.write(ids.data)
            self.counts["tokens"] += len(ids)
        self._records.write(records.tobytes())
        self.counts["records"] += len(records)
        self._progressed(self._characters)
        self._pieces, self._closed, self._characters = [], [], 0
