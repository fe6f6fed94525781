"""Measures of classification: accuracy with its interval, F1, the confusion matrix."""

import math
from collections.abc import Sequence
from statistics import mean
from typing import Any

NORMAL_95 = 1.959964
"""Half the width of a standard normal distribution's central 95 %."""


def classification_measures(
    gold: Sequence[str], found: Sequence[str], labels: Sequence[str]
) -> dict[str, Any]:
    """How well labels were found.

    Args:
        gold: the right label of each text.
        found: what was said of each; anything but one of `labels` is wrong.
        labels: all classes, in order.

    Returns:
        rows, accuracy, accuracy_low and accuracy_high (its 95 % interval), f1 per label, macro_f1
        (their mean over labels that are right or said somewhere), and confusion [gold][found] with
        a last column for answers that are no label, if any.

    Raises:
        ValueError: nothing to measure, or unequally many.
    """
    if not gold or len(gold) != len(found):
        raise ValueError(f"{len(gold)} texts and {len(found)} answers")
    strange = any(label not in labels for label in found)
    columns = [*labels, None] if strange else [*labels]
    confusion = [[0] * len(columns) for _ in labels]
    for right, said in zip(gold, found, strict=True):
        confusion[labels.index(right)][labels.index(said) if said in labels else -1] += 1
    hits = sum(confusion[i][i] for i in range(len(labels)))
    low, high = wilson_interval(hits, len(gold))
    met = {*gold, *found}
    f1 = {label: _f1(confusion, i) for i, label in enumerate(labels)}
    return {
        "rows": len(gold),
        "accuracy": hits / len(gold),
        "accuracy_low": low,
        "accuracy_high": high,
        "macro_f1": mean(f1[label] for label in labels if label in met),
        "f1": f1,
        "confusion": confusion,
    }


def wilson_interval(hits: int, rows: int) -> tuple[float, float]:
    """The 95 % interval of a share. Source: Wilson 1927, JASA 22, 209-212."""
    z, share = NORMAL_95, hits / rows
    middle = share + z * z / (2 * rows)
    reach = z * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return (middle - reach) / (1 + z * z / rows), (middle + reach) / (1 + z * z / rows)


def _f1(confusion: list[list[int]], label: int) -> float:
    hits = confusion[label][label]
    given = sum(row[label] for row in confusion)
    wanted = sum(confusion[label])
    return 2 * hits / (given + wanted) if given + wanted else 0.0
