"""Looking at prepared data: its counts and lengths, documents decoded, files checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lilllm.config import Config, layout
from lilllm.data.shards import Shards, read_shard_manifest
from lilllm.data.shards import verify as verify_shards
from lilllm.errors import CheckpointError, ConfigError, DataError
from lilllm.events import Note, Report
from lilllm.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Places:
    """Prepared data, and the tokenizer that may have made it."""

    data: Path
    tokenizer: Path


@dataclass(frozen=True, slots=True)
class InspectResult:
    """What a folder of shards holds.

    splits: per split tokens, documents, bytes, bytes_per_token, and the tokens of documents:
    shortest, median, mean, longest. counts: what preparation left out. samples: documents as
    index, tokens and text.
    """

    path: Path
    dtype: str
    vocab_size: int
    tokenizer_hash: str
    splits: dict[str, dict[str, float]]
    counts: dict[str, int]
    split: str
    samples: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """A folder of shards that is whole. files: how many were checked, of how many bytes."""

    path: Path
    files: int
    file_bytes: int
    tokens: int
    documents: int


def places_of(config: Config) -> Places:
    """Where a config has its data and its tokenizer."""
    places = layout(config)
    return Places(places.data, places.tokenizer)


def places_of_folder(folder: Path, tokenizer: Path | None) -> Places:
    """A folder of shards; its tokenizer is the folder of that name beside it if none is given."""
    return Places(folder, tokenizer or folder.parent / "tokenizer")


def inspect(places: Places, split: str, start: int, count: int, report: Report) -> InspectResult:
    """Counts and lengths of all splits, and some documents of one.

    Args:
        places: the data and its tokenizer; without a tokenizer no document is decoded.
        split: whose documents are shown.
        start: index of the first one.
        count: how many.
        report: is told when documents cannot be decoded.

    Raises:
        ConfigError: the split has no document `start`.
        DataError: the shards are missing or damaged.
    """
    manifest = read_shard_manifest(places.data)
    shards = Shards.open(places.data, split)
    if count and shards.n_documents and not 0 <= start < shards.n_documents:
        raise ConfigError(
            f"there is no document {start}: {split} has {shards.n_documents}", "count from 0"
        )
    tokenizer = _tokenizer_of(shards, places.tokenizer, report) if count else None
    stop = min(start + count, shards.n_documents)
    return InspectResult(
        path=places.data,
        dtype=str(manifest["dtype"]),
        vocab_size=shards.vocab_size,
        tokenizer_hash=shards.tokenizer_hash,
        splits={name: _figures(Shards.open(places.data, name)) for name in manifest["splits"]},
        counts=manifest.get("counts", {}),
        split=split,
        samples=[_sample(shards, index, tokenizer) for index in range(start, stop)],
    )


def _tokenizer_of(shards: Shards, folder: Path, report: Report) -> Tokenizer | None:
    try:
        tokenizer = Tokenizer.load(folder)
    except CheckpointError as err:
        report(Note(f"documents are not decoded: {err.message}"))
        return None
    if tokenizer.hash != shards.tokenizer_hash:
        report(Note(f"documents are not decoded: {folder} is not the tokenizer that made them"))
        return None
    return tokenizer


def _figures(shards: Shards) -> dict[str, float]:
    figures: dict[str, float] = {
        "tokens": shards.n_tokens,
        "documents": shards.n_documents,
        "bytes": shards.n_bytes,
    }
    if shards.n_documents:
        lengths = np.diff(shards.document_ends.astype(np.int64), prepend=0)
        figures |= {
            "bytes_per_token": shards.n_bytes / shards.n_tokens,
            "shortest": int(lengths.min()),
            "median": float(np.median(lengths)),
            "mean": float(lengths.mean()),
            "longest": int(lengths.max()),
        }
    return figures


def _sample(shards: Shards, index: int, tokenizer: Tokenizer | None) -> dict[str, Any]:
    ends = shards.document_ends
    start = int(ends[index - 1]) if index else 0
    ids = shards.read(start, int(ends[index])).tolist()
    sample: dict[str, Any] = {"index": index, "tokens": len(ids)}
    if tokenizer is None:
        return {**sample, "ids": ids}
    return {**sample, "text": tokenizer.decode(ids[:-1], skip_special=False)}


def verify(places: Places, report: Report) -> VerifyResult:
    """Check every file against its hash, and that the tokenizer beside the data made it.

    Raises:
        DataError: a file is missing or damaged, or the tokenizer is another one.
    """
    manifest = verify_shards(places.data)
    if (places.tokenizer / "tokenizer.json").is_file():
        tokenizer = Tokenizer.load(places.tokenizer)
        if tokenizer.hash != manifest["tokenizer_hash"]:
            raise DataError(
                f"{places.data}: made with another tokenizer ({manifest['tokenizer_hash'][:12]}) "
                f"than {places.tokenizer} ({tokenizer.hash[:12]})",
                "prepare the data again with `lilllm data prep`",
            )
    else:
        report(Note(f"{places.tokenizer}: no tokenizer to compare the data with"))
    files = manifest["files"]
    return VerifyResult(
        path=places.data,
        files=len(files),
        file_bytes=sum(entry["bytes"] for entry in files.values()),
        tokens=sum(entry["tokens"] for entry in manifest["splits"].values()),
        documents=sum(entry["documents"] for entry in manifest["splits"].values()),
    )
