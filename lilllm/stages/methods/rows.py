"""What methods whose samples are whole rows share: reading them, and which are held out."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lilllm.config.schema import FinetuneConfig
from lilllm.data import BadRows, read_rows
from lilllm.data.feedback import lacks
from lilllm.errors import DataError

Row = dict[str, Any]


def read_good_rows(
    section: FinetuneConfig,
    seed: int,
    bad: BadRows,
    check: Callable[[Row, str], object],
    needed: Sequence[str] = (),
) -> Iterator[tuple[Row, str]]:
    """Rows of a step's sources that `check` accepts; the others are refused or counted.

    Rows of feedback that lack a `needed` field are of another use: counted, never refused.

    Raises:
        DataError: a source cannot be read, or a bad row is refused.
    """
    for source in section.sources:
        for row, where in read_rows(source, on_bad_row=bad, seed=seed):
            if lacks(row, *needed):
                bad.passed_over += 1
                continue
            try:
                check(row, where)
            except DataError as err:
                if bad.policy == "refuse" and err.hint:  # which says more than that of `bad`
                    raise
                bad(where, err.message.removeprefix(f"{where}: "))
            else:
                yield row, where


def is_held_out(said: str, fraction: float) -> bool:
    """Whether a row is for validation, by a hash of what it says."""
    digest = hashlib.sha256(said.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "little") / 2**64 < fraction
