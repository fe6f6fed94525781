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
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lilllm.config.schema import FinetuneConfig
from lilllm.data import BadRows, read_rows
from lilllm.data.batches import Ints, PackedWindows, documents_in
from lilllm.data.conversations import Message, shape_of, to_messages
from lilllm.data.feedback import lacks
from lilllm.errors import DataError, LilllmError
from lilllm.events import Caution, Note, Progress, Report
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
from lilllm.stages.encode_rows import Encoded, RowEncoder
from lilllm.stages.prepare import source_identity
from lilllm.tokenizer import Tokenizer

FORMAT = 2  # raise it when the files below would differ for the same rows
INPUTS = "inputs.json"
"""What a cache was made of, times of files included."""
PROGRESS_ROWS = 500


@dataclass(frozen=True, slots=True)
class RowCounts:
    """What became of the rows.

    too_long: dropped. split: cut into several. only_texts: nobody answers in any of them.
    """

    train: int
    val: int
    too_long: int
    skipped: int
    split: int = 0
    only_texts: bool = False


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
        *(max_seq_len, config.val_fraction, config.too_long, config.format, config.prompt),
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
    encoder = RowEncoder.of(tokenizer, config)
    content = hashlib.sha256()
    too_long = cut = 0
    shapes: Counter[str] = Counter()
    for number, row in enumerate(_read(config, seed, bad), 1):
        try:
            pieces = [_encode(encoder, row)]
        except DataError as err:
            bad(row.where, err.message)
            continue
        shapes[row.shape] += 1
        content.update(row.hash)
        if len(pieces[0][0]) > max_seq_len:
            pieces = _fit(encoder, row, max_seq_len, config.too_long, len(pieces[0][0]))
            too_long += not pieces
            cut += bool(pieces)
        held_out = int.from_bytes(row.hash[:8], "little") / 2**64 < config.val_fraction
        for ids, mask in pieces:
            splits["val" if held_out else "train"].add(ids, mask)
        if number % PROGRESS_ROWS == 0:
            report(Progress("rows", number, 0, "rows"))
    if shapes:
        found = ", ".join(f"{count:,} {shape}" for shape, count in shapes.most_common())
        report(Note(f"rows found: {found}"))
    if bad.passed_over:
        report(Note(f"{bad.passed_over:,} rows of feedback hold no answer to learn; passed over"))
    if bad.skipped:
        report(Caution(f"{bad.skipped:,} unreadable rows were left out; first: {bad.first}"))
    if too_long:
        report(Caution(f"{too_long:,} rows are longer than {max_seq_len} tokens and were dropped"))
    if cut:
        report(Caution(f"{cut:,} rows are longer than {max_seq_len} tokens and were split"))
    train, val = (len(splits[name].ends) for name in ("train", "val"))
    counts = RowCounts(train, val, too_long, bad.skipped, cut, set(shapes) == {"text"})
    if not counts.train:
        raise DataError(
            f"no rows to train on ({counts.val} held out, {too_long} too long for the context of "
            f"{max_seq_len} tokens, {bad.skipped} unreadable)"
            + (f"; the first unreadable one is {bad.first}" if bad.first else ""),
            f"{bad.key.rpartition('.')[0]}.too_long=split cuts rows that are too long"
            if too_long and config.too_long == "drop"
            else "look at them with `lilllm data inspect --rows`",
        )
    return splits, counts, content.hexdigest()


def _encode(encoder: RowEncoder, row: "_Row") -> Encoded:
    ids, mask = encoder.encode(row.content)
    if not any(mask):
        raise DataError("nothing in this row is to be learnt")
    return ids, mask


def _fit(
    encoder: RowEncoder, row: "_Row", max_seq_len: int, too_long: str, tokens: int
) -> list[Encoded]:
    """What is kept of a row that is longer than the context."""
    if too_long == "refuse":
        raise DataError(
            f"{row.where}: {tokens} tokens, but the context holds {max_seq_len}",
            "too_long=drop in the step counts and drops such rows",
        )
    return encoder.split(row.content, max_seq_len) if too_long == "split" else []


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


class _Row(NamedTuple):
    """One row: its content, its shape, where it stands, and a hash of what it says."""

    content: list[Message] | str
    shape: str
    where: str
    hash: bytes


def row_names(cache: Path, spans: Ints) -> list[str]:
    """Which rows of the training split some stretches of its tokens are, from 0."""
    ends = np.fromfile(cache / "train.idx", dtype="<u8")
    return [f"{cache.name} row {number}" for number in documents_in(spans, ends).tolist()]


def _read(config: FinetuneConfig, seed: int, bad: BadRows) -> Iterator[_Row]:
    for source in config.sources:
        for row, where in read_rows(source, on_bad_row=bad, seed=seed):
            if lacks(row, "completion"):
                bad.passed_over += 1
                continue
            try:
                content = to_messages(row, where)
                said = json.dumps(content, ensure_ascii=False, sort_keys=True).encode()
            except UnicodeEncodeError:
                bad(where, "not valid Unicode (a lone surrogate)")
            except DataError as err:
                if bad.policy == "refuse" and err.hint:  # which says more than that of `bad`
                    raise
                bad(where, err.message.removeprefix(f"{where}: "))
            else:
                yield _Row(content, shape_of(row, where), where, hashlib.sha256(said).digest())


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
