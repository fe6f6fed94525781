"""stdin, stdout and stderr as every command needs them, whatever is at their other ends.

What a closed pipe means for results on stdout is decided in `render.py`.
"""

import io
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Lossy(io.FileIO):
    """What nobody is left to read is lost, and no error."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def prepare_streams() -> None:
    """Let what is read and written survive other encodings and readers that go away.

    A training outlives its terminal and whoever read its progress, as `2>&1 | head` does: stderr,
    and stdout on a terminal, fall silent then.
    """
    if sys.stderr is sys.__stderr__ and sys.stderr is not None:
        sys.stderr = _lossy(sys.stderr)
    if sys.stdout is sys.__stdout__ and sys.stdout is not None and sys.stdout.isatty():
        sys.stdout = _lossy(sys.stdout)
    for stream in (sys.stdout, sys.stderr):  # what a terminal of cp1252 lacks is told as \u4e2d
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdin, io.TextIOWrapper):  # what is no text there is mended where it is used
        sys.stdin.reconfigure(errors="surrogateescape")


def _lossy(stream: TextIO) -> TextIO:
    """The same stream, without errors of writing; a console of Windows stays as it is."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    if type(getattr(stream.buffer, "raw", stream.buffer)) is not io.FileIO:
        return stream
    raw = _Lossy(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        stream.encoding,
        stream.errors,
        line_buffering=True,
        write_through=stream.write_through,
    )
