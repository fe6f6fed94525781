"""Samples that are whole rows: texts with a label, and pairs of texts, filled up to one length.

Like the windows of `batches.py`, a table is read by row numbers in any order; unlike them, a batch
is as long as its longest row.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lilllm.data.batches import IGNORE, Ints

Encoded = tuple[list[int], list[int]]
"""Ids, and 1 for each that is a target."""
MULTIPLE = 8
"""Lengths are rounded up to a multiple of this, so that there are few of them."""


class LabelledTexts:
    """Texts and the class of each.

    Args:
        texts: ids of each text.
        labels: the number of each text's class.
        fill_id: stands after the end of a text; what it is does not matter.
    """

    def __init__(self, texts: Sequence[list[int]], labels: Sequence[int], fill_id: int) -> None:
        self._texts, self._fill_id = texts, fill_id
        self.labels = np.asarray(labels, dtype=np.int64)
        self.lengths = np.asarray([len(text) for text in texts], dtype=np.int64)
        self.length = _mean(self.lengths)

    def __len__(self) -> int:
        return len(self._texts)

    def read(self, rows: Ints) -> tuple[Ints, Ints, Ints]:
        """Ids [B, T], the position of each text's last token [B], and its class [B]."""
        chosen = [self._texts[row] for row in rows.tolist()]
        last = np.asarray([len(text) - 1 for text in chosen], dtype=np.int64)
        return fill_up(chosen, self._fill_id, int(self.lengths.max())), last, self.labels[rows]


class AnswerPairs:
    """A better and a worse text of each row, and what a reference model thinks of both.

    Args:
        chosen: ids and mask of each row's better text.
        rejected: of its worse one.
        fill_id: stands after the end of a text.
    """

    def __init__(
        self, chosen: Sequence[Encoded], rejected: Sequence[Encoded], fill_id: int
    ) -> None:
        self._sides, self._fill_id = (chosen, rejected), fill_id
        self.reference: NDArray[np.float32] = np.zeros((len(chosen), 2), dtype=np.float32)
        """Log-probabilities [rows, 2] of the answers, better ones first."""
        sides = [np.asarray([len(ids) for ids, _ in side], dtype=np.int64) for side in self._sides]
        self.lengths = np.maximum(*sides)
        self.length = _mean(sides[0] + sides[1])

    def __len__(self) -> int:
        return len(self._sides[0])

    def read(self, rows: Ints) -> tuple[Ints, Ints, NDArray[np.float32]]:
        """Ids and targets [B, 2, T], and the reference [B, 2]."""
        texts = [side[row] for row in rows.tolist() for side in self._sides]
        ids = fill_up([ids for ids, _ in texts], self._fill_id, int(self.lengths.max()))
        targets = targets_of(ids, [mask for _, mask in texts])
        shape = (len(rows), 2, -1)
        return ids.reshape(shape), targets.reshape(shape), self.reference[rows]


def targets_of(ids: Ints, masks: Sequence[Sequence[int]]) -> Ints:
    """What each position of ids [B, T] should predict: the next token where it is marked."""
    targets = np.full_like(ids, IGNORE)
    for i, mask in enumerate(masks):
        stop = len(mask)
        targets[i, : stop - 1] = np.where(np.asarray(mask[1:]) == 1, ids[i, 1:stop], IGNORE)
    return targets


def fill_up(texts: Sequence[list[int]], fill_id: int, most: int) -> Ints:
    """Texts of unequal length, none longer than `most`, as one array [B, T]; T is at most that."""
    width = min(most, -(-max(map(len, texts)) // MULTIPLE) * MULTIPLE)
    ids = np.full((len(texts), width), fill_id, dtype=np.int64)
    for i, text in enumerate(texts):
        ids[i, : len(text)] = text
    return ids


def _mean(lengths: Ints) -> int:
    """The mean, rounded up; 0 of none."""
    return -(-int(lengths.sum()) // max(1, len(lengths)))
