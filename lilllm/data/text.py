"""Documents out of plain text files, in pieces, so that no document has to fit in memory."""

import re
from collections.abc import Iterator
from typing import IO, NamedTuple

from lilllm.data.badrows import OnBadRow
from lilllm.data.inputs import Input, open_input
from lilllm.data.lines import BLOCK_BYTES, BOM, read_blocks, utf8_problem

PIECE_CHARACTERS = 4 << 20
"""A longer document comes in several pieces, cut between a word and the space after it."""

_CUT_REACH = 1 << 16


class Piece(NamedTuple):
    """A document or the next part of one.

    last: it ends the document. broken: the document turned out unreadable, forget it.
    """

    text: str
    where: str
    last: bool = True
    broken: bool = False


def separator_pattern(separator: str) -> "re.Pattern[bytes] | None":
    """Matches a whole separator line; a separator of newlines stands for an empty line."""
    if not separator:
        return None
    line = re.escape(separator.strip("\n").encode())
    # the literal comes first, which the engine can search for, the beginning of its line after it
    begin = line + rb"(?<=^" + line + rb")" if line else rb"^"
    return re.compile(begin + rb"[ \t]*\r?(?:\n|\Z)", re.MULTILINE)


def text_pieces(
    input: Input,
    separator: str,
    on_bad_row: OnBadRow,
    start: int = 0,
    stop: int | None = None,
    first_line: int = 1,
) -> Iterator[Piece]:
    """Documents that begin in bytes [start, stop) of a text file.

    Documents lose leading and trailing white space. `start` and `stop`
    lie at the beginning of documents; `first_line` is the number of the line at `start`.
    """
    pattern = separator_pattern(separator)
    pending, begun, broken = "", False, False
    line = where_line = first_line
    with open_input(input) as stream:
        if start:
            stream.seek(start)
        size = None if stop is None else stop - start
        for segment, ends, lines in _segments(stream, size, pattern, start == 0):
            if line == 1 and b"\0" in segment[:4096]:
                on_bad_row(f"{input.path}:1", "a binary file, not text")
                broken = True
            try:
                if not broken:
                    pending += segment.decode()
            except UnicodeDecodeError as err:
                bad_line = line + segment.count(b"\n", 0, err.start)
                on_bad_row(f"{input.path}:{bad_line}", utf8_problem(err))
                broken = True
            where = f"{input.path}:{where_line}"
            if not begun:
                pending = pending.lstrip()
            line += lines
            if ends:
                text = pending.rstrip()
                if text or begun or broken:
                    yield Piece("" if broken else text, where, True, broken)
                pending, begun, broken, where_line = "", False, False, line
            elif len(pending) > PIECE_CHARACTERS and not broken:
                cut = safe_cut(pending)
                yield Piece(pending[:cut], where, False)
                pending, begun = pending[cut:], True
            elif broken:
                pending = ""


def _segments(
    stream: IO[bytes], size: int | None, separator: "re.Pattern[bytes] | None", first: bool
) -> Iterator[tuple[bytes, bool, int]]:
    """(bytes, whether they end a document, lines they and the separator after them span).

    Segments end at a newline, or inside a very long line between two characters. `first`: the
    stream is at the beginning of its file, where a byte-order mark may stand.
    """
    carry, line_start = b"", True
    blocks = read_blocks(stream, size)
    while True:
        block = next(blocks, b"")
        data, at_end = carry + block, not block
        if first:
            data, first = data.removeprefix(BOM), False
        stop = len(data) if at_end else data.rfind(b"\n") + 1
        if stop == 0 and not at_end:
            if len(data) < 2 * BLOCK_BYTES:
                carry = data
                continue
            stop = _character_start(data)
        whole, carry = data[:stop], data[stop:]
        position = 0
        for match in separator.finditer(whole) if separator else ():
            inside_line = match.start() == 0 and not line_start
            unfinished = match.end() == len(whole) and not at_end and not whole.endswith(b"\n")
            if inside_line or unfinished or match.end() == match.start():
                continue
            lines = whole.count(b"\n", position, match.end())
            yield whole[position : match.start()], True, lines
            position = match.end()
        yield whole[position:], at_end, whole.count(b"\n", position)
        if at_end:
            return
        line_start = whole.endswith(b"\n")


def _character_start(data: bytes) -> int:
    """The last position of `data` at which a UTF-8 character begins."""
    stop = len(data) - 1
    while stop > len(data) - 4 and data[stop] & 0xC0 == 0x80:
        stop -= 1
    return stop


def safe_cut(text: str) -> int:
    """Where a long text may be cut so that its parts encode as the whole does.

    Splits into words never join a letter with the white space after it. A text without such a
    place near its end is cut at its end.
    """
    for index in range(len(text) - 1, max(0, len(text) - _CUT_REACH), -1):
        if text[index].isspace() and text[index - 1].isalpha():
            return index
    for index in range(len(text) - 1, max(0, len(text) - _CUT_REACH), -1):
        if text[index].isspace() and not text[index - 1].isspace():
            return index
    return len(text)


def is_unicode(text: str) -> bool:
    """Whether it can be written as UTF-8; JSON may hold lone surrogates, which cannot."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False
