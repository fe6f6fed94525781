"""From the tasks' tokens to shards: chosen documents copied in order, in bounded memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from lilllm.data.select import TRAIN, VAL, Selection
from lilllm.data.tasks import task_files

SHARD_TOKENS = 1 << 27
"""A shard is closed behind the document that reaches this."""

CHUNK_TOKENS = 1 << 22


class ShardWriter:
    """Writes one split as numbered shards."""

    def __init__(self, folder: Path, split: str, dtype: str, shard_tokens: int) -> None:
        self._folder, self._split = folder, split
        self._dtype = np.dtype(dtype)
        self._limit = shard_tokens
        self._bin: IO[bytes] | None = None
        self._idx: IO[bytes] | None = None
        self.shards: list[dict[str, Any]] = []

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def _close(self) -> None:
        for file in (self._bin, self._idx):
            if file is not None:
                file.close()
        self._bin = self._idx = None

    def write(self, ids: NDArray[Any]) -> None:
        """Append tokens of the current document or documents."""
        if self._bin is None or self._idx is None:
            name = f"{self._split}-{len(self.shards):05d}"
            self._bin = (self._folder / f"{name}.bin").open("wb")
            self._idx = (self._folder / f"{name}.idx").open("wb")
            self.shards.append({"file": name, "tokens": 0, "documents": 0, "bytes": 0})
        self._bin.write(np.ascontiguousarray(ids, dtype=self._dtype).data)

    def end_documents(self, lengths: NDArray[np.int64], bytes_: int) -> None:
        """Record documents whose tokens were written; they all belong to the same shard."""
        assert self._idx is not None
        shard = self.shards[-1]
        self._idx.write((shard["tokens"] + np.cumsum(lengths)).astype("<u8").tobytes())
        shard["tokens"] += int(lengths.sum())
        shard["documents"] += len(lengths)
        shard["bytes"] += bytes_
        if shard["tokens"] >= self._limit:
            self._close()

    @property
    def room(self) -> int:
        """Tokens that the current shard still takes before it is closed."""
        return self._limit - (self.shards[-1]["tokens"] if self._bin is not None else 0)


def assemble(
    work: Path,
    out: Path,
    records: Sequence[NDArray[np.void]],
    selection: Selection,
    dtype: str,
    shard_tokens: int = SHARD_TOKENS,
) -> dict[str, dict[str, Any]]:
    """Write the shards of both splits into `out`.

    Documents with several copies come again in later rounds over everything, so that copies lie
    far apart.

    Returns:
        split to {"tokens", "documents", "bytes", "shards"}.
    """
    splits = {}
    for name, code in (("train", TRAIN), ("val", VAL)):
        copies = np.where(selection.split == code, selection.copies, 0)
        with ShardWriter(out, name, dtype, shard_tokens) as writer:
            for round_ in range(int(copies.max(initial=0))):
                start = 0
                for index, part in enumerate(records):
                    chosen = copies[start : start + len(part)] > round_
                    start += len(part)
                    if chosen.any():
                        _copy_part(task_files(work, index).tokens, part, chosen, writer)
            totals = {
                key: sum(shard[key] for shard in writer.shards)
                for key in ("tokens", "documents", "bytes")
            }
            splits[name] = {**totals, "shards": writer.shards}
    return splits


def _copy_part(
    path: Path, records: NDArray[np.void], chosen: NDArray[np.bool_], writer: ShardWriter
) -> None:
    lengths = records["tokens"].astype(np.int64)
    starts = np.cumsum(lengths) - lengths
    itemsize = writer._dtype.itemsize
    with path.open("rb") as file:
        for first, stop in _groups(lengths):
            if lengths[first] > CHUNK_TOKENS:  # one long document, a chunk at a time
                if chosen[first]:
                    file.seek(int(starts[first]) * itemsize)
                    for ids in _chunks(file, int(lengths[first]), writer._dtype):
                        writer.write(ids)
                    writer.end_documents(lengths[first:stop], int(records["bytes"][first]))
                continue
            mask = chosen[first:stop]
            if mask.any():
                file.seek(int(starts[first]) * itemsize)
                ids = np.fromfile(file, writer._dtype, int(lengths[first:stop].sum()))
                picked = ids if mask.all() else ids[np.repeat(mask, lengths[first:stop])]
                _write_documents(
                    writer, picked, lengths[first:stop][mask], records["bytes"][first:stop][mask]
                )


def _write_documents(
    writer: ShardWriter,
    ids: NDArray[Any],
    lengths: NDArray[np.int64],
    sizes: NDArray[np.uint64],
) -> None:
    """Append whole documents, closing shards where they are full."""
    while len(lengths):
        ends = np.cumsum(lengths)
        count = min(int(np.searchsorted(ends, writer.room)) + 1, len(lengths))
        writer.write(ids[: ends[count - 1]])
        writer.end_documents(lengths[:count], int(sizes[:count].sum()))
        ids, lengths, sizes = ids[ends[count - 1] :], lengths[count:], sizes[count:]


def _groups(lengths: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of documents that together have at most CHUNK_TOKENS, or are one longer document."""
    ends = np.cumsum(lengths)
    first = 0
    while first < len(lengths):
        before = int(ends[first - 1]) if first else 0
        stop = int(np.searchsorted(ends, before + CHUNK_TOKENS, side="right"))
        stop = max(stop, first + 1)
        yield first, stop
        first = stop


def _chunks(file: IO[bytes], count: int, dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    while count:
        ids = np.fromfile(file, dtype, min(count, CHUNK_TOKENS))
        if not len(ids):
            raise OSError(f"{file.name}: shorter than its record says")
        yield ids
        count -= len(ids)
