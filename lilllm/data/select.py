"""Which documents stay, in which split and how often: decided once all tasks are done."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lilllm.data.plan import Task

TRAIN, VAL = 0, 1


@dataclass(frozen=True)
class Selection:
    """A choice for every document of every task, in order.

    split: TRAIN or VAL [documents]. copies: how often it is written, 0 for not at all
    [documents]. duplicates: documents dropped because an equal one stays.
    """

    split: NDArray[np.uint8]
    copies: NDArray[np.int64]
    duplicates: int


def select(
    tasks: Sequence[Task],
    records: Sequence[NDArray[np.void]],
    val_fraction: float,
    deduplicate: bool,
) -> Selection:
    """Decide about every document from its hash, its source and its place alone.

    A document that is also in the validation sources never stays in training. When hashing puts
    none of several documents into validation, the one with the smallest hash goes there; when it
    puts all of them there, the one with the largest goes to training.
    """
    counts = [len(r) for r in records]
    split_key = _joined([r["split_key"] for r in records], np.uint64)
    weight_key = _joined([r["weight_key"] for r in records], np.uint64)
    whole = _joined([r["bytes"] for r in records], np.uint64) > 0
    weight = np.repeat([t.weight for t in tasks], counts)
    fixed = np.repeat([{"auto": 2, "train": TRAIN, "val": VAL}[t.split] for t in tasks], counts)

    share = split_key / np.float64(2**64)
    split = np.where(fixed == 2, (share < val_fraction).astype(np.int64), fixed)
    kept = whole & _distinct(split_key, weight_key, split, fixed == VAL, whole, deduplicate)
    duplicates = int(whole.sum() - kept.sum())
    copies = np.floor(weight).astype(np.int64)
    copies += (weight_key / np.float64(2**64) < weight - np.floor(weight)).astype(np.int64)
    copies *= kept
    copies = np.where(split == VAL, np.minimum(copies, 1), copies)
    if val_fraction > 0 and (fixed == 2).any():
        _fill_both(split, copies, split_key, fixed == 2)
    return Selection(split.astype(np.uint8), copies, duplicates)


def _joined(parts: Sequence[NDArray[np.uint64]], dtype: type[np.uint64]) -> NDArray[np.uint64]:
    return np.concatenate([np.empty(0, dtype), *parts])


def _distinct(
    high: NDArray[np.uint64],
    low: NDArray[np.uint64],
    split: NDArray[np.int64],
    from_val_source: NDArray[np.bool_],
    whole: NDArray[np.bool_],
    deduplicate: bool,
) -> NDArray[np.bool_]:
    """Whether a document is the one of its equals that stays.

    Equals from validation sources come first, then source order.
    """
    position = np.arange(len(high))
    order = np.lexsort((position, ~from_val_source, ~whole, low, high))
    equal = np.zeros(len(high), dtype=bool)  # to the document before it in `order`
    equal[1:] = (high[order[1:]] == high[order[:-1]]) & (low[order[1:]] == low[order[:-1]])
    keep = np.ones(len(high), dtype=bool)
    if deduplicate:
        keep[order] = ~equal
        return keep
    group = np.cumsum(~equal)
    leader = order[~equal][group - 1] if len(order) else order
    keep[order] = split[order] == split[leader]
    return keep


def _fill_both(
    split: NDArray[np.int64],
    copies: NDArray[np.int64],
    key: NDArray[np.uint64],
    movable: NDArray[np.bool_],
) -> None:
    """Move one document, with its equals, when a split would be empty for no need."""
    candidates = np.flatnonzero((copies > 0) & movable)
    keys = np.unique(key[candidates])
    if len(keys) < 2:
        if len(keys) == 1:
            split[candidates] = TRAIN
        return
    if not (split[candidates] == VAL).any():
        moved = candidates[key[candidates] == keys[0]]
        split[moved] = VAL
        copies[moved] = 1
    elif (split[candidates] == VAL).all():
        split[candidates[key[candidates] == keys[-1]]] = TRAIN
