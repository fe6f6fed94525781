"""Lines of a byte stream in bounded memory, with their numbers."""

from collections.abc import Iterator
from typing import IO

from lilllm.errors import DataError

BLOCK_BYTES = 4 << 20
MAX_LINE_BYTES = 512 << 20
"""A longer line is taken for a file of another kind."""

BOM = b"\xef\xbb\xbf"


def read_blocks(stream: IO[bytes], size: int | None = None) -> Iterator[bytes]:
    """Blocks of at most `size` bytes in all (None: to the end)."""
    left = size
    while left is None or left > 0:
        block = stream.read(BLOCK_BYTES if left is None else min(BLOCK_BYTES, left))
        if not block:
            return
        if left is not None:
            left -= len(block)
        yield bytes(block)


def read_lines(
    stream: IO[bytes], path: str, size: int | None = None, first_line: int = 1
) -> Iterator[tuple[int, bytes]]:
    """(number, line without its newline) of the next `size` bytes of a stream.

    Raises:
        DataError: a line is longer than any text line can be.
    """
    number = first_line
    carry: list[bytes] = []
    carried = 0
    for block in read_blocks(stream, size):
        lines = block.split(b"\n")
        if len(lines) > 1:
            yield number, b"".join([*carry, lines[0]])
            number += 1
            for line in lines[1:-1]:
                yield number, line
                number += 1
            carry, carried = [], 0
        carry.append(lines[-1])
        carried += len(lines[-1])
        if carried > MAX_LINE_BYTES:
            raise DataError(
                f"{path}:{number}: a line of more than {MAX_LINE_BYTES >> 20} MB",
                "is this a binary file?",
            )
    if carried:
        yield number, b"".join(carry)


def without_bom(number: int, line: bytes) -> bytes:
    """The line, without the byte-order mark that may open a file."""
    return line[3:] if number == 1 and line.startswith(BOM) else line


def utf8_problem(err: UnicodeDecodeError) -> str:
    """A sentence about bytes that are no UTF-8."""
    return f"not valid UTF-8 (byte 0x{err.object[err.start]:02x}: {err.reason})"
