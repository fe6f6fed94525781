"""A stand-in for a tokenizer: one token per byte. A file of its own, so that workers find it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from lilllm.data import Shards, Vocabulary

OFFSET = 16


def byte_encoder() -> Callable[[list[str]], list[np.ndarray]]:
    return lambda texts: [
        np.frombuffer(text.encode(), np.uint8).astype(np.uint16) + OFFSET for text in texts
    ]


BYTES = Vocabulary(byte_encoder, "hash of the byte encoder", 256 + OFFSET, 0)


def documents_of(folder: Path, split: str) -> list[str]:
    """The documents of a split, decoded; checks that each ends with end-of-text."""
    shards = Shards.open(folder, split)
    texts, start = [], 0
    for end in shards.document_ends.tolist():
        ids = shards.read(start, end)
        assert ids[-1] == 0 and (ids[:-1] >= OFFSET).all()
        texts.append(bytes((ids[:-1] - OFFSET).astype(np.uint8)).decode())
        start = end
    return texts
