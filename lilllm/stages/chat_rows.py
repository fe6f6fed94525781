"""Rows for supervised finetuning as token files with a loss mask, cached by what made them.

A cache folder holds, per split, `<split>.bin` (uint16 or uint32 tokens), `<split>.idx` (uint64
row ends) and `<split>.mask` (uint8, 1 = target).
"""

import hashlib
import json
import sys
from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from lilllm.config.schema import FinetuneConfig
from lilllm.data import read_rows
from lilllm.data.batches import PackedWindows
from lilllm.data.conversations import to_messages
from lilllm.errors import DataError
from lilllm.events import Caution, Progress, Report
from lilllm.files import (
    manifest_problem,
    new_folder,
    read_json,
    remove_partials,
    sha256_json,
    write_atomic,
    write_json,
)
from lilllm.tokenizer import Tokenizer

FORMAT = 1  # raise it when the files below would differ for the same rows


@dataclass(frozen=True, slots=True)
class RowCounts:
    """What became of the rows."""

    train: int
    val: int
    too_long: int
    skipped: int


def prepare_rows(
    folder: Path,
    config: FinetuneConfig,
    tokenizer: Tokenizer,
    max_seq_len: int,
    seed: int,
    report: Report,
) -> tuple[Path, RowCounts]:
    """Tokenize the rows of a step, unless the same was done before.

    Args:
        folder: of the step; the cache is made below it.
        config: sources and what to do with rows that are bad or too long.
        tokenizer: its chat template decides what the model sees.
        max_seq_len: rows with more tokens are too long.
        seed: of built-in sources.
        report: is told the progress and what was left out.

    Raises:
        DataError: a row cannot be read, or nothing is left to train on.
    """
    digest = _Digest()
    rows = list(_read(config, seed, report, digest))
    key = sha256_json(
        [
            *(FORMAT, digest.value, tokenizer.hash, tokenizer.chat_template),
            *(max_seq_len, config.val_fraction, config.too_long),
        ]
    )[:16]
    cache = folder / f"rows-{key}"
    remove_partials(folder)
    if not manifest_problem(cache):
        return cache, RowCounts(**read_json(cache / "counts.json", DataError))
    token_type = "H" if tokenizer.vocab_size <= 2**16 else "I"
    splits = {"train": _Split(token_type), "val": _Split(token_type)}
    too_long = 0
    for number, (messages, where, row_hash) in enumerate(rows, 1):
        ids, mask = tokenizer.encode_conversation(messages)
        if len(ids) > max_seq_len:
            if config.too_long == "refuse":
                raise DataError(
                    f"{where}: {len(ids)} tokens, but the context holds {max_seq_len}",
                    "too_long=drop in the step counts and drops such rows",
                )
            too_long += 1
            continue
        held_out = int.from_bytes(row_hash[:8], "little") / 2**64 < config.val_fraction
        splits["val" if held_out else "train"].add(ids, mask)
        if number % 500 == 0:
            report(Progress("rows", number, len(rows), "rows"))
    counts = RowCounts(len(splits["train"].ends), len(splits["val"].ends), too_long, digest.skipped)
    if too_long:
        report(Caution(f"{too_long:,} rows are longer than {max_seq_len} tokens and were dropped"))
    if not counts.train:
        raise DataError(
            f"no rows to train on: {too_long} of {len(rows)} are too long for the context of "
            f"{max_seq_len} tokens"
            if rows
            else "no rows to train on",
            "look at them with `lilllm data inspect --rows`",
        )
    with new_folder(cache) as partial:
        for name, split in splits.items():
            split.write(partial, name)
        write_json(partial / "counts.json", asdict(counts))
    return cache, counts


def row_windows(cache: Path, split: str, length: int, fill_id: int) -> PackedWindows | None:
    """The rows of a split packed into windows, attention kept within rows; None when empty."""
    ends = np.fromfile(cache / f"{split}.idx", dtype="<u8")
    if not len(ends):
        return None
    width = (cache / f"{split}.bin").stat().st_size // int(ends[-1])  # bytes per token
    tokens = np.memmap(cache / f"{split}.bin", dtype=f"<u{width}", mode="r")
    mask = np.memmap(cache / f"{split}.mask", dtype=np.uint8, mode="r")
    return PackedWindows(
        lambda start, stop: tokens[start:stop],
        ends,
        length,
        before_id=None,
        fill_id=fill_id,
        read_mask=lambda start, stop: mask[start:stop],
        segmented=True,
    )


class _Digest:
    """A running hash of all rows, and how many could not be read."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.skipped = 0

    def add(self, content: bytes) -> bytes:
        row_hash = hashlib.sha256(content).digest()
        self._hash.update(row_hash)
        return row_hash

    @property
    def value(self) -> str:
        return self._hash.hexdigest()


def _read(
    config: FinetuneConfig, seed: int, report: Report, digest: _Digest
) -> Iterator[tuple[list[dict[str, str]], str, bytes]]:
    for source in config.sources:
        for row, where in read_rows(source, on_bad_row=config.on_bad_row, seed=seed):
            try:
                messages = to_messages(row, where)
            except DataError as err:
                if config.on_bad_row == "refuse":
                    raise
                digest.skipped += 1
                if digest.skipped <= 3:
                    report(Caution(f"{err.message}; skipped"))
                continue
            content = json.dumps(messages, ensure_ascii=False, sort_keys=True).encode()
            yield messages, where, digest.add(content)


class _Split:
    def __init__(self, token_type: str) -> None:
        self.tokens, self.mask, self.ends = array(token_type), array("B"), array("Q")

    def add(self, ids: list[int], mask: list[int]) -> None:
        self.tokens.extend(ids)
        self.mask.extend(mask)
        self.ends.append(len(self.tokens))

    def write(self, folder: Path, name: str) -> None:
        for suffix, values in (("bin", self.tokens), ("mask", self.mask), ("idx", self.ends)):
            if sys.byteorder == "big":
                values.byteswap()
            write_atomic(folder / f"{name}.{suffix}", values.tobytes())
