"""Rows out of .jsonl, .json, .csv, .tsv and .parquet files, each with where it stands."""

import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

from lilllm.data.badrows import OnBadRow
from lilllm.data.inputs import DAMAGED_HINT, Input, open_input
from lilllm.data.lines import BLOCK_BYTES, BOM, read_blocks, read_lines, utf8_problem, without_bom
from lilllm.errors import DataError

CONVERSATIONS = ("messages", "conversations")
"""Fields whose array of objects is one row, not rows."""

Row = tuple[dict[str, Any], str]
MAX_FIELD_CHARACTERS = 64 << 20
"""A longer field of a .csv file is a quotation mark that nobody closed."""


def file_rows(
    input: Input,
    on_bad_row: OnBadRow,
    start: int = 0,
    stop: int | None = None,
    first_line: int = 1,
    columns: Sequence[str] | None = None,
    header: Sequence[str] = (),
) -> Iterator[Row]:
    """Rows of one file.

    Args:
        input: the file.
        on_bad_row: called for a row that cannot be read.
        start: first byte of a .jsonl file, first row group of a .parquet file.
        stop: one past the last of them; None reads to the end.
        first_line: number of the line at `start`.
        columns: the only columns wanted, where a format can leave out the others.
        header: names of the columns of a .csv or .tsv file whose first line is a row already.

    Raises:
        DataError: the file itself cannot be read.
    """
    if input.kind == "parquet":
        from lilllm.data.parquet import parquet_rows

        yield from parquet_rows(input, start, stop, columns)
        return
    with open_input(input) as stream:
        if input.kind == "jsonl":
            if start:
                stream.seek(start)
            size = None if stop is None else stop - start
            yield from _json_lines(
                read_lines(stream, input.path, size, first_line), input, on_bad_row
            )
        elif input.kind == "json":
            yield from _json_rows(stream, input, on_bad_row)
        else:
            yield from _csv_rows(stream, input, on_bad_row, header)


def _json_lines(
    lines: Iterator[tuple[int, bytes]], input: Input, on_bad_row: OnBadRow
) -> Iterator[Row]:
    for number, line in lines:
        where = f"{input.path}:{number}"
        try:
            text = without_bom(number, line).decode()
            if not text.strip():
                continue
            row = json.loads(text)
        except UnicodeDecodeError as err:
            on_bad_row(where, utf8_problem(err))
        except ValueError as err:
            on_bad_row(where, f"not valid JSON ({err})")
        except RecursionError:
            on_bad_row(where, "not valid JSON (nested too deeply)")
        else:
            if isinstance(row, dict):
                yield row, where
            else:
                on_bad_row(where, f"a JSON object is expected, not {_kind_of(row)}")


def _json_rows(stream: IO[bytes], input: Input, on_bad_row: OnBadRow) -> Iterator[Row]:
    """A .json file: an array of objects, JSON lines, or an object that holds an array."""
    head = stream.read(BLOCK_BYTES)
    content = head.removeprefix(BOM).lstrip()
    blocks = _chain(content, stream)
    if content.startswith(b"["):
        yield from _array_rows(blocks, input, on_bad_row)
    elif _is_json_line(content):
        lines = (
            (n, line)
            for n, line in read_lines(_Blocks(blocks), input.path)  # type: ignore[arg-type]
        )
        yield from _json_lines(lines, input, on_bad_row)
    else:
        yield from _object_rows(b"".join(blocks), input, on_bad_row)


def _chain(head: bytes, stream: IO[bytes]) -> Iterator[bytes]:
    yield head
    yield from read_blocks(stream)


class _Blocks:
    """An iterator of blocks as something to read from; sizes are the blocks' own."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks

    def read(self, size: int) -> bytes:
        return next((block for block in self._blocks if block), b"")


def _is_json_line(content: bytes) -> bool:
    line, newline, rest = content.partition(b"\n")
    if not newline or not rest.strip():
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _array_rows(blocks: Iterator[bytes], input: Input, on_bad_row: OnBadRow) -> Iterator[Row]:
    """Objects of one big array, decoded one after the other as their bytes come in."""
    import codecs

    utf8 = codecs.getincrementaldecoder("utf-8")()
    decoder = json.JSONDecoder()
    buffer, position, number, done = "", 1, 0, False

    def more() -> bool:
        nonlocal buffer, position, done
        if done:
            return False
        block = next(blocks, b"")
        done = not block
        buffer = buffer[position:] + utf8.decode(block, final=done)
        position = 0
        return True

    def fail(reason: str) -> DataError:
        return DataError(f"{input.path}: item {number + 1} of its array: {reason}", DAMAGED_HINT)

    try:
        buffer = utf8.decode(next(blocks, b""))
        while True:
            position = _skip(buffer, position, " \t\r\n,")
            if position >= len(buffer):
                if not more():
                    raise fail("the file is cut short")
                continue
            if buffer[position] == "]":
                position += 1
                while (position := _skip(buffer, position, " \t\r\n")) >= len(buffer):
                    if not more():
                        return
                raise fail("there is more after the end of the array")
            try:
                value, end = decoder.raw_decode(buffer, position)
                if end == len(buffer) and more():  # a number might go on
                    continue
            except ValueError as err:
                if len(buffer) - position < 512 << 20 and more():
                    continue
                raise fail(f"not valid JSON ({err})") from err
            number, position = number + 1, end
            if isinstance(value, dict):
                yield value, f"{input.path}: item {number}"
            else:
                on_bad_row(
                    f"{input.path}: item {number}",
                    f"a JSON object is expected, not {_kind_of(value)}",
                )
    except UnicodeDecodeError as err:
        raise fail(utf8_problem(err)) from err
    except RecursionError as err:
        raise fail("nested too deeply") from err


def _skip(text: str, position: int, characters: str) -> int:
    while position < len(text) and text[position] in characters:
        position += 1
    return position


def _object_rows(content: bytes, input: Input, on_bad_row: OnBadRow) -> Iterator[Row]:
    """One object: its only array of objects, else the object itself, as one conversation is."""
    try:
        value = json.loads(content.decode())
    except UnicodeDecodeError as err:
        line = 1 + content.count(b"\n", 0, err.start)
        raise DataError(f"{input.path}:{line}: {utf8_problem(err)}", DAMAGED_HINT) from err
    except ValueError as err:
        raise DataError(f"{input.path}: not valid JSON ({err})", DAMAGED_HINT) from err
    except RecursionError as err:
        raise DataError(f"{input.path}: not valid JSON (nested too deeply)") from err
    if not isinstance(value, dict):
        on_bad_row(input.path, f"a JSON object or array is expected, not {_kind_of(value)}")
        return
    arrays = [v for v in value.values() if isinstance(v, list) and v and isinstance(v[0], dict)]
    is_row = any(_are_turns(value.get(key)) for key in CONVERSATIONS)
    rows = arrays[0] if len(arrays) == 1 and not is_row else [value]
    for number, row in enumerate(rows, 1):
        if isinstance(row, dict):
            yield row, f"{input.path}: item {number}"
        else:
            on_bad_row(f"{input.path}: item {number}", "a JSON object is expected")


def _are_turns(value: object) -> bool:
    """Whether it is a list of one conversation's messages, and not of rows."""
    first = value[0] if isinstance(value, list) and value else None
    return isinstance(first, dict) and ("role" in first or "from" in first)


def _csv_rows(
    stream: IO[bytes], input: Input, on_bad_row: OnBadRow, header: Sequence[str]
) -> Iterator[Row]:
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    bad: list[tuple[int, str]] = []

    def text_lines() -> Iterator[str]:
        for number, line in read_lines(stream, input.path):
            try:
                yield without_bom(number, line).decode() + "\n"
            except UnicodeDecodeError as err:
                bad.append((number, utf8_problem(err)))
                yield line.decode(errors="replace") + "\n"

    if input.kind == "tsv":  # no quoting: a quotation mark in a .tsv file is just a character
        reader = csv.reader(text_lines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(text_lines(), strict=True)
    names: list[str] | None = list(header) or None
    take: Callable[[], list[str] | None] = lambda: next(reader, None)  # noqa: E731
    while True:
        line = reader.line_num + 1
        try:
            fields = take()
        except csv.Error as err:
            unclosed = re.search("unexpected end|field limit", str(err))
            if names is None or unclosed:  # not a row, but the rest of the file
                reason = "a quotation mark is opened here and never closed"
                reason = reason if unclosed else "its header cannot be read"
                raise DataError(f"{input.path}:{line}: {reason} ({err})", DAMAGED_HINT) from err
            on_bad_row(f"{input.path}:{line}", f"not valid {input.kind.upper()} ({err})")
            continue
        if fields is None:
            return
        if bad:
            number, reason = bad[0]
            bad.clear()
            if names is None:
                raise DataError(f"{input.path}:{number}: its header: {reason}", DAMAGED_HINT)
            on_bad_row(f"{input.path}:{number}", reason)
        elif not fields:
            continue
        elif names is None:
            names = fields
        elif len(fields) != len(names):
            reason = (
                f"{len(fields)} fields under {'columns' if header else 'a header'} of {len(names)}"
            )
            on_bad_row(f"{input.path}:{line}", reason)
        else:
            yield dict(zip(names, fields, strict=True)), f"{input.path}:{line}"


def _kind_of(value: object) -> str:
    names = {list: "an array", str: "a string", int: "a number", float: "a number", bool: "a bool"}
    return names.get(type(value), "null")
