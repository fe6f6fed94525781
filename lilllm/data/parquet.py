"""Rows out of .parquet files, by row groups, in bounded memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lilllm.data.inputs import DAMAGED_HINT, Input
from lilllm.errors import DataError

BATCH_ROWS = 512


@contextmanager
def _open(input: Input) -> Iterator[Any]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(input.path, buffer_size=1 << 20, pre_buffer=False) as file:
            yield file
    except (pyarrow.ArrowException, OSError, ValueError) as err:
        reason = str(err).strip().splitlines()[0] if str(err).strip() else type(err).__name__
        raise DataError(
            f"{input.path}: not a readable parquet file, perhaps cut short ({reason})",
            DAMAGED_HINT,
        ) from err


def parquet_rows(
    input: Input, start: int, stop: int | None, columns: Sequence[str] | None
) -> Iterator[tuple[dict[str, Any], str]]:
    """Rows of the row groups [start, stop), of some columns.

    Raises:
        DataError: the file is damaged, or has none of the columns.
    """
    with _open(input) as file:
        names = file.schema_arrow.names
        chosen = None if columns is None else [name for name in columns if name in names]
        if columns and not chosen:
            raise DataError(
                f"{input.path}: no column {columns[0]!r}; it has: {', '.join(names)}",
                "name the column of the text with the source's `field`",
            )
        groups = range(start, file.num_row_groups if stop is None else stop)
        number = sum(file.metadata.row_group(g).num_rows for g in range(start))
        for batch in file.iter_batches(BATCH_ROWS, row_groups=list(groups), columns=chosen):
            for row in batch.to_pylist():
                number += 1
                yield row, f"{input.path}: row {number}"


def row_group_bytes(input: Input) -> list[int]:
    """Uncompressed size of each row group."""
    with _open(input) as file:
        groups = range(file.num_row_groups)
        return [int(file.metadata.row_group(group).total_byte_size) for group in groups]
