"""How sources are cut into tasks that can run anywhere, in any order, and be run again.

The cut depends on the inputs alone, never on the number of processes, so neither do the shards.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilllm.data.builtin import DEFAULT_DOCUMENTS, PREFIX, STORY_BYTES, require_builtin
from lilllm.data.documents import HUB
from lilllm.data.inputs import Input, find_inputs
from lilllm.data.lines import BLOCK_BYTES
from lilllm.data.text import separator_pattern
from lilllm.errors import DataError
from lilllm.files import sha256_json

if TYPE_CHECKING:
    from lilllm.config.schema import DataConfig, SourceConfig

MIN_TASK_BYTES = 4 << 20
MAX_TASK_BYTES = 1 << 30
TASKS_WANTED = 64
SINGLE_DOCUMENT_BYTES = 10_000
"""A corpus of one text at least this long is split by position instead of by document."""

_UNPACKED = {"gz": 3.5, "zst": 4.0, "": 1.0}  # about, for progress alone


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of one input: bytes of .txt and .jsonl, row groups of .parquet, else all."""

    input: Input
    start: int = 0
    stop: int | None = None
    first_line: int = 1


@dataclass(frozen=True, slots=True)
class Task:
    """Documents that one call turns into tokens. Plain values, so it can be sent anywhere.

    index: place in the order of sources. source: place of its source. parts: of files; a
    builtin or hub source has `path` and the document range [start, stop) instead. limit: most
    documents to read. split: "auto" (by hash), "train" or "val". bytes: about its text.
    """

    index: int
    source: int
    path: str
    parts: tuple[Part, ...]
    field: str
    header: tuple[str, ...]
    separator: str
    hub_split: str
    split: str
    weight: float
    bytes: int
    start: int = 0
    stop: int = 0
    limit: int | None = None


def describe_inputs(sources: Sequence["SourceConfig"]) -> list[dict[str, Any]]:
    """Sources with the sizes and times of their files: what a change of inputs would change.

    Raises:
        DataError: a source does not exist, or is of an unknown kind.
    """
    described = []
    for source in sources:
        entry = source.model_dump(mode="json")
        if source.path.startswith(PREFIX):
            require_builtin(source.path)
        elif not source.path.startswith(HUB):
            entry["files"] = [
                {"path": i.path, "bytes": i.bytes, "mtime_ns": i.mtime_ns}
                for i in find_inputs(source.path)
            ]
        described.append(entry)
    return described


def depends_on_seed(options: "DataConfig") -> bool:
    """Whether any source is a built-in one."""
    sources = (*options.sources, *options.val_sources)
    return any(source.path.startswith(PREFIX) for source in sources)


def inputs_key(described: object) -> str:
    """Names a set of inputs and options."""
    return sha256_json(described)


def plan_tasks(
    sources: Sequence["SourceConfig"],
    val_sources: Sequence["SourceConfig"],
    val_fraction: float,
    task_bytes: int | None = None,
) -> list[Task]:
    """Cut sources into tasks, in order; those of `val_sources` come after the others.

    Raises:
        DataError: a source cannot be read.
    """
    everything = [*sources, *val_sources]
    found = [_find(source) for source in everything]
    if task_bytes is None:
        total = sum(_text_bytes(i) for inputs in found for i in inputs)
        task_bytes = min(max(total // TASKS_WANTED, MIN_TASK_BYTES), MAX_TASK_BYTES)
    tasks: list[Task] = []
    for number, (source, inputs) in enumerate(zip(everything, found, strict=True)):
        in_val = number >= len(sources)
        split = "val" if in_val else "train" if val_sources else "auto"
        for draft in _source_tasks(source, inputs, task_bytes):
            tasks.append(_task(len(tasks), number, source, split, **draft))
    if val_fraction and not val_sources and len(tasks) == 1:
        tasks = _split_single_text(tasks[0], val_fraction)
    return tasks


def _find(source: "SourceConfig") -> list[Input]:
    return [] if source.path.startswith((PREFIX, HUB)) else find_inputs(source.path)


def _task(index: int, number: int, source: "SourceConfig", split: str, **draft: Any) -> Task:
    return Task(
        index=index,
        source=number,
        path=source.path,
        field=source.field,
        header=source.columns,
        separator=source.separator,
        hub_split=source.split,
        split=split,
        weight=source.weight,
        **draft,
    )


def _source_tasks(
    source: "SourceConfig", inputs: Sequence[Input], task_bytes: int
) -> Iterator[dict[str, Any]]:
    if source.path.startswith(PREFIX):
        require_builtin(source.path, ("builtin:stories",))
        count = source.documents or DEFAULT_DOCUMENTS
        step = max(1, task_bytes // STORY_BYTES)
        for start in range(0, count, step):
            stop = min(start + step, count)
            yield {"parts": (), "bytes": (stop - start) * STORY_BYTES, "start": start, "stop": stop}
    elif source.path.startswith(HUB):
        from lilllm.data.hub import require_hub

        require_hub(source.path)
        yield {"parts": (), "bytes": 0, "limit": source.documents}
    elif source.documents is not None:  # counting documents needs all before them
        total = sum(_text_bytes(i) for i in inputs)
        yield {"parts": tuple(map(Part, inputs)), "bytes": total, "limit": source.documents}
    else:
        yield from _group(source, inputs, task_bytes)


def _group(
    source: "SourceConfig", inputs: Sequence[Input], task_bytes: int
) -> Iterator[dict[str, Any]]:
    """Large files cut, small ones put together."""
    parts: list[Part] = []
    size = 0
    for input in inputs:
        for part, part_bytes in _cut(input, source, task_bytes):
            if parts and size + part_bytes > task_bytes:
                yield {"parts": tuple(parts), "bytes": size}
                parts, size = [], 0
            parts.append(part)
            size += part_bytes
    yield {"parts": tuple(parts), "bytes": size}


def _cut(input: Input, source: "SourceConfig", task_bytes: int) -> Iterator[tuple[Part, int]]:
    if input.kind == "parquet":
        yield from _cut_parquet(input, task_bytes)
    elif not input.splittable or input.bytes <= task_bytes:
        yield Part(input), _text_bytes(input)
    else:
        pattern = separator_pattern(source.separator) if input.kind == "text" else _NEWLINE
        bounds = _boundaries(input, pattern, task_bytes)
        for (start, line), (stop, _) in pairwise(bounds):
            yield Part(input, start, stop, line), stop - start


def _cut_parquet(input: Input, task_bytes: int) -> Iterator[tuple[Part, int]]:
    from lilllm.data.parquet import row_group_bytes

    sizes = row_group_bytes(input)
    start, size = 0, 0
    for group, group_bytes in enumerate(sizes):
        if group > start and size + group_bytes > task_bytes:
            yield Part(input, start, group), size
            start, size = group, 0
        size += group_bytes
    yield Part(input, start, len(sizes)), size


_NEWLINE = re.compile(rb"\n")


def _boundaries(
    input: Input, pattern: "re.Pattern[bytes] | None", task_bytes: int
) -> list[tuple[int, int]]:
    """(byte, line) where tasks begin: after the first match behind every `task_bytes`.

    The file's end is the last.
    """
    bounds = [(0, 1)]
    position, line, wanted = 0, 1, task_bytes
    tail = b""  # the last line so far, where a match may have begun
    try:
        with Path(input.path).open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                data = tail + block
                base = position - len(tail)
                while pattern is not None and wanted < base + len(data):
                    match = _match_from(pattern, data, max(0, wanted - base), position == 0)
                    if match is None:
                        break
                    at = base + match.end()
                    bounds.append((at, line + data.count(b"\n", len(tail), match.end())))
                    wanted = at + task_bytes
                position += len(block)
                line += block.count(b"\n")
                newline = data.rfind(b"\n")
                tail = data[newline:] if newline >= 0 and len(data) - newline < 1 << 16 else b""
    except OSError as err:
        raise DataError(f"{input.path}: cannot be read ({err.strerror})") from err
    if bounds[-1][0] < position:
        bounds.append((position, line))
    return bounds


def _match_from(
    pattern: "re.Pattern[bytes]", data: bytes, start: int, file_start: bool
) -> "re.Match[bytes] | None":
    """The first complete match from `start` on that truly begins a line."""
    for match in pattern.finditer(data, start):
        begins = match.start() > 0 or file_start or pattern is _NEWLINE
        if begins and match.group().endswith(b"\n"):
            return match
    return None


def _split_single_text(task: Task, val_fraction: float) -> list[Task]:
    """A corpus of one long text: its end becomes the validation split, cut at a line."""
    if len(task.parts) != 1:
        return [task]
    (part,) = task.parts
    input = part.input
    if input.kind != "text" or input.compression or input.bytes < SINGLE_DOCUMENT_BYTES:
        return [task]
    pattern = separator_pattern(task.separator)
    if pattern and len(_boundaries(input, pattern, 0)) > 2:
        return [task]
    wanted = int(input.bytes * (1 - val_fraction))
    bounds = _boundaries(input, _NEWLINE, wanted)
    if len(bounds) < 3:
        return [task]
    (_, _), (cut, line), *_ = bounds
    first = Part(input, 0, cut)
    second = Part(input, cut, input.bytes, line)
    return [
        replace(task, index=0, parts=(first,), split="train", bytes=cut),
        replace(task, index=1, parts=(second,), split="val", bytes=input.bytes - cut),
    ]


def _text_bytes(input: Input) -> int:
    """About how much text a file holds."""
    return int(input.bytes * _UNPACKED[input.compression])
