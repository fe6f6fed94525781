"""Prepared tokens on disk: opening a split, reading stretches of it, checking it.

A split is files of little-endian uint16 or uint32 without a header, in order. Every document is
followed by the end-of-text id; beside each `.bin` an `.idx` holds, as uint64, where in that file
each document ends, its end-of-text id included. `manifest.json` says the rest.
"""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lilllm.errors import DataError
from lilllm.files import MANIFEST, manifest_problem, read_json

_FORMAT_NAME = "lilllm-shards"
FORMAT = f"{_FORMAT_NAME}-2"  # raise it when the same inputs give other shards than before
_HINT = "prepare the data again with `lilllm data prep`"


class Shards:
    """One split of prepared data.

    Attributes:
        folder: where it is. split: "train" or "val".
        n_tokens, n_documents: how many, end-of-text ids counted as tokens.
        n_bytes: UTF-8 bytes of the documents' text.
        dtype: of the ids. vocab_size: one more than the largest id that may occur.
        tokenizer_hash: of the tokenizer that made them. end_id: its end-of-text id.
    """

    def __init__(self, folder: Path, split: str, manifest: dict[str, Any]) -> None:
        self.folder = folder
        self.split = split
        self.manifest = manifest
        try:
            entry = manifest["splits"][split]
            self.dtype = np.dtype(manifest["dtype"]).newbyteorder("<")
            self.vocab_size = int(manifest["vocab_size"])
            self.tokenizer_hash = str(manifest["tokenizer_hash"])
            self.end_id = int(manifest["end_id"])
            self.n_tokens = int(entry["tokens"])
            self.n_documents = int(entry["documents"])
            self.n_bytes = int(entry["bytes"])
            shards = [
                (str(s["file"]), int(s["tokens"]), int(s["documents"])) for s in entry["shards"]
            ]
            files = {name: int(info["bytes"]) for name, info in manifest["files"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as err:
            raise DataError(f"{folder / MANIFEST}: damaged ({err!r})", _HINT) from err
        tokens = [count for _, count, _ in shards]
        self._starts = np.concatenate(([0], np.cumsum(tokens, dtype=np.int64))).astype(np.int64)
        documents = sum(count for _, _, count in shards)
        if self._starts[-1] != self.n_tokens or documents != self.n_documents:
            raise DataError(f"{folder / MANIFEST}: its shards do not add up", _HINT)
        sizes = {}
        for name, count, ends in shards:
            sizes[f"{name}.bin"] = count * self.dtype.itemsize
            sizes[f"{name}.idx"] = ends * 8
        for file, size in sizes.items():
            _check_size(folder / file, size, files.get(file))
        self._names = [name for name, _, _ in shards]
        self._first_documents = np.cumsum([0, *(count for _, _, count in shards[:-1])])

    @classmethod
    def open(cls, folder: Path, split: str) -> "Shards":
        """Open a split; the sizes of its files are checked, their hashes only by `verify`.

        Raises:
            DataError: the folder or a file is missing or damaged, or there is no such split.
        """
        manifest = read_shard_manifest(folder)
        if split not in manifest["splits"]:
            known = ", ".join(manifest["splits"])
            raise DataError(f"{folder}: no split {split!r}", f"splits there: {known}")
        return cls(folder, split, manifest)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Ids [stop - start] of a stretch of the split, across its files.

        Raises:
            ValueError: the stretch is not within the split.
        """
        if not 0 <= start <= stop <= self.n_tokens:
            raise ValueError(f"[{start}, {stop}) is not within {self.n_tokens} tokens")
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        parts = []
        while start < stop:
            offset = int(self._starts[first])
            end = min(stop, int(self._starts[first + 1]))
            if end > start:
                parts.append(self._tokens[first][start - offset : end - offset])
            start, first = max(start, end), first + 1
        if len(parts) == 1:
            return np.asarray(parts[0])
        return np.concatenate(parts) if parts else np.empty(0, self.dtype)

    @cached_property
    def document_ends(self) -> NDArray[np.uint64]:
        """One past the end-of-text id of each document [documents], in tokens of the split."""
        if len(self._names) == 1:
            return np.asarray(self._map(f"{self._names[0]}.idx", np.dtype("<u8")))
        parts = [
            np.asarray(self._map(f"{name}.idx", np.dtype("<u8"))) + np.uint64(start)
            for name, start in zip(self._names, self._starts, strict=False)
        ]
        return np.concatenate(parts) if parts else np.empty(0, np.uint64)

    def document_name(self, number: int) -> str:
        """Where a document of the split is: its file, and which one of it, from 0."""
        at = int(np.searchsorted(self._first_documents, number, side="right")) - 1
        return f"{self._names[at]} document {number - self._first_documents[at]}"

    @cached_property
    def _tokens(self) -> list[NDArray[Any]]:
        return [self._map(f"{name}.bin", self.dtype) for name in self._names]

    def _map(self, name: str, dtype: np.dtype[Any]) -> NDArray[Any]:
        try:
            return np.memmap(self.folder / name, dtype=dtype, mode="r")
        except (OSError, ValueError) as err:
            raise DataError(f"{self.folder / name}: cannot be read ({err})", _HINT) from err


def _check_size(path: Path, wanted: int, recorded: int | None) -> None:
    if recorded != wanted:
        raise DataError(f"{path}: {MANIFEST} contradicts itself about its size", _HINT)
    try:
        size = path.stat().st_size
    except OSError as err:
        raise DataError(f"{path}: missing", _HINT) from err
    if size != wanted:
        raise DataError(f"{path}: {size} bytes instead of {wanted}", _HINT)


def read_shard_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder of shards.

    Raises:
        DataError: there is none, or it is damaged, of another version or of something else.
    """
    if not (folder / MANIFEST).is_file():
        raise DataError(f"{folder}: no prepared data here (no {MANIFEST})", _HINT)
    manifest = read_json(folder / MANIFEST, DataError)
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != FORMAT:
        if isinstance(found, str) and found.startswith(_FORMAT_NAME):
            raise DataError(f"{folder}: shards of format {found}, not {FORMAT}", _HINT)
        raise DataError(f"{folder / MANIFEST}: not a manifest of shards", _HINT)
    if not isinstance(manifest.get("splits"), dict):
        raise DataError(f"{folder / MANIFEST}: damaged (it names no splits)", _HINT)
    return dict(manifest)


def verify(folder: Path) -> dict[str, Any]:
    """Check every file of a folder of shards against its hash, and the tokens themselves.

    Returns:
        the manifest.

    Raises:
        DataError: something is missing or damaged; the message names the file.
    """
    manifest = read_shard_manifest(folder)
    problem = manifest_problem(folder)
    if problem:
        raise DataError(problem, _HINT)
    for split in manifest["splits"]:
        shards = Shards.open(folder, split)
        ends = shards.document_ends.astype(np.int64)
        if not len(ends):
            continue
        if ends[-1] != shards.n_tokens or (np.diff(ends, prepend=0) <= 0).any():
            raise DataError(f"{folder}: the document ends of {split} are not in order", _HINT)
        for start in range(0, shards.n_tokens, 1 << 24):
            tokens = shards.read(start, min(start + (1 << 24), shards.n_tokens))
            if int(tokens.max()) >= shards.vocab_size:
                raise DataError(f"{folder}: {split} holds ids beyond the vocabulary", _HINT)
    return manifest
