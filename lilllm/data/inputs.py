"""Which files a source names, and opening them: kinds, compression, stable order."""

import glob
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lilllm.errors import DataError

KINDS = {
    ".txt": "text",
    ".jsonl": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
COMPRESSIONS = {".gz": "gz", ".zst": "zst"}
DAMAGED_HINT = "get the file again, or leave it out of data.sources"
_KNOWN = "known are .txt .jsonl .json .csv .tsv .parquet, and all but .parquet with .gz or .zst"


@dataclass(frozen=True, slots=True)
class Input:
    """One file of a source. `mtime_ns` is when it was last changed."""

    path: str
    kind: str
    compression: str
    bytes: int
    mtime_ns: int

    @property
    def splittable(self) -> bool:
        """Whether parts of it can be read without reading what stands before them."""
        return self.kind in ("text", "jsonl") and not self.compression


def find_inputs(path: str) -> list[Input]:
    """The files that a path, a folder or a glob names, sorted by name.

    Raises:
        DataError: there is none, one is empty or of an unknown kind.
    """
    place = Path(path)
    if place.is_dir():
        names = sorted(str(p) for p in place.rglob("*") if p.is_file() and _kind(p) is not None)
        if not names:
            raise DataError(f"{path}: no data files in this folder", _KNOWN)
    elif place.exists():
        names = [path]
    else:
        names = sorted(n for n in glob.glob(path, recursive=True) if Path(n).is_file())  # noqa: PTH207
        if not names:
            raise DataError(
                f"{path}: no such file, and no file matches",
                "give a file, a folder or a glob; paths are relative to the working directory",
            )
    return [_input(Path(name)) for name in names]


def _kind(path: Path) -> tuple[str, str] | None:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compression = COMPRESSIONS.get(suffixes[-1], "") if suffixes else ""
    if compression:
        suffixes.pop()
    kind = KINDS.get(suffixes[-1]) if suffixes else None
    if kind is None or (kind == "parquet" and compression):
        return None
    return kind, compression


def _input(path: Path) -> Input:
    kind = _kind(path)
    if kind is None:
        raise DataError(f"{path}: not a known kind of data file", _KNOWN)
    try:
        stat = path.stat()
    except OSError as err:
        raise DataError(f"{path}: cannot be read ({err.strerror})") from err
    if stat.st_size == 0:
        raise DataError(f"{path}: the file is empty", "remove it, or name the files to read")
    return Input(str(path), *kind, stat.st_size, stat.st_mtime_ns)


@contextmanager
def open_input(input: Input) -> Iterator[IO[bytes]]:
    """The decompressed bytes of a file; reads inside the block that fail name the file.

    Raises:
        DataError: the file cannot be read, or its compressed stream is damaged or cut short.
    """
    stream: Any = None
    try:
        if input.compression == "gz":
            stream = gzip.open(input.path, "rb")  # noqa: SIM115
        elif input.compression == "zst":
            import pyarrow

            stream = pyarrow.input_stream(input.path, compression="zstd")
        else:
            stream = Path(input.path).open("rb")  # noqa: SIM115
        yield stream
    except (EOFError, gzip.BadGzipFile, zlib.error) as err:
        raise _damaged(input) from err
    except OSError as err:
        if input.compression and err.errno is None:
            raise _damaged(input) from err
        raise DataError(f"{input.path}: cannot be read ({err.strerror or err})") from err
    finally:
        if stream is not None:
            stream.close()


def _damaged(input: Input) -> DataError:
    return DataError(f"{input.path}: the compressed file is damaged or cut short", DAMAGED_HINT)
