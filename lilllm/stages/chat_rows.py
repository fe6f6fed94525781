"""Rows for supervised finetuning as token files with a loss mask, made once.

A cache folder holds, per split, `<split>.bin` (uint16 or uint32 tokens), `<split>.idx` (uint64
row ends) and `<split>.mask` (uint8, 1 = target). It is found again by its sources as they lie on
disk, so rows are read only when one of them changed, and is named by what the rows say, so the
name is the same wherever and whenever they are read.
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
from lilllm.data import BadRows, read_rows
from lilllm.data.batches import PackedWindows
from lilllm.data.conversations import to_messages
from lilllm.errors import DataError, LilllmError
from lilllm.events import Caution, Progress, Report
from lilllm.files import (
    manifest_problem,
    new_folder,
    read_json,
    remove,
    remove_partials,
    sha256_json,
    write_atomic,
    write_json,
)
from lilllm.stages.prepare import source_identity
from lilllm.tokenizer import Tokenizer

FORMAT = 1  # raise it when the files below would differ for the same rows
INPUTS = "inputs.json"
"""What a cache was made of, times of files included."""
PROGRESS_ROWS = 500


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
        folder: of the step, named like it; the cache is made below it and replaces older ones.
        config: sources and what to do with rows that are bad or too long.
        tokenizer: its chat template decides what the model sees.
        max_seq_len: rows with more tokens are too long.
        seed: of built-in sources.
        report: is told the progress and what was left out.

    Raises:
        DataError: a row cannot be read, or nothing is left to train on.
        RunError: the cache cannot be written.
    """
    options = [
        *(tokenizer.hash, tokenizer.chat_template),
        *(max_seq_len, config.val_fraction, config.too_long),
    ]
    builtin = any(source.path.startswith("builtin:") for source in config.sources)
    sources = [source_identity(source) for source in config.sources]
    inputs = sha256_json([FORMAT, options, sources, config.on_bad_row, seed if builtin else None])
    remove_partials(folder)
    for cache in sorted(folder.glob("rows-*")):
        if _holds(cache, inputs):
            return cache, RowCounts(**read_json(cache / "counts.json", DataError))
    bad = BadRows(config.on_bad_row, f"finetune.{folder.name}.on_bad_row")
    splits, counts, content = _tokenize(config, tokenizer, max_seq_len, seed, bad, report)
    cache = folder / f"rows-{sha256_json([FORMAT, content, *options])[:16]}"
    with new_folder(cache) as partial:
        for name, split in splits.items():
            split.write(partial, name)
        write_json(partial / "counts.json", asdict(counts))
        write_json(partial / INPUTS, {"inputs": inputs})
    for other in folder.glob("rows-*"):
        if other != cache:
            remove(other)
    return cache, counts


def _holds(cache: Path, inputs: str) -> bool:
    """Whether a cache is whole and was made of these inputs."""
    try:
        made_of = read_json(cache / INPUTS)
    except LilllmError:
        return False
    return bool(made_of == {"inputs": inputs}) and not manifest_problem(cache)


def _tokenize(
    config: FinetuneConfig,
    tokenizer: Tokenizer,
    max_seq_len: int,
    seed: int,
    bad: BadRows,
    report: Report,
) -> tuple[dict[str, "_Split"], RowCounts, str]:
    """Both splits in memory as tokens, what became of the rows, and a hash of what they say."""
    token_type = "H" if tokenizer.vocab_size <= 2**16 else "I"
    splits = {"train": _Split(token_type), "val": _Split(token_type)}
    content = hashlib.sha256()
    number = too_long = 0
    for number, (messages, where, row_hash) in enumerate(_read(config, seed, bad), 1):
        content.update(row_hash)
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
        if number % PROGRESS_ROWS == 0:
            report(Progress("rows", number, 0, "rows"))
    if bad.skipped:
        report(Caution(f"{bad.skipped:,} unreadable rows were left out; first: {bad.first}"))
    if too_long:
        report(Caution(f"{too_long:,} rows are longer than {max_seq_len} tokens and were dropped"))
    counts = RowCounts(len(splits["train"].ends), len(splits["val"].ends), too_long, bad.skipped)
    if not counts.train:
        raise DataError(
            f"no rows to train on ({counts.val} held out, {too_long} too long for the context of "
            f"{max_seq_len} tokens, {bad.skipped} unreadable)"
            + (f"; the first unreadable one is {bad.first}" if bad.first else ""),
            "look at them with `lilllm data inspect --rows`",
        )
    return splits, counts, content.hexdigest()


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


def _read(
    config: FinetuneConfig, seed: int, bad: BadRows
) -> Iterator[tuple[list[dict[str, str]], str, bytes]]:
    """Conversations, where each is, and a hash of what it says."""
    for source in config.sources:
        for row, where in read_rows(source, on_bad_row=bad, seed=seed):
            try:
                messages = to_messages(row, where)
                content = json.dumps(messages, ensure_ascii=False, sort_keys=True).encode()
            except UnicodeEncodeError:
                bad(where, "not valid Unicode (a lone surrogate)")
            except DataError as err:
                if bad.policy == "refuse" and err.hint:  # which says more than that of `bad`
                    raise
                bad(where, err.message.removeprefix(f"{where}: "))
            else:
                yield messages, where, hashlib.sha256(content).digest()


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
