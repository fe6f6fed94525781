"""Words of English text: counting them, finding asked ones, and how alike two texts are."""

import re
from collections.abc import Iterable, Sequence

_WORD = re.compile(r"[^\W_]+(?:['’][^\W\d_]+)*")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case; an apostrophe within belongs to its word."""
    return _WORD.findall(text.lower().replace("’", "'"))


def missing_words(text: str, wanted: Iterable[str]) -> list[str]:
    """Those of `wanted` that do not stand in a text as whole words; other forms do not count."""
    found = set(words_of(text))
    return [word for word in wanted if not set(words_of(word)) <= found]


def rouge_l(first: Sequence[str], second: Sequence[str]) -> float:
    """ROUGE-L: the F-measure of the longest common subsequence of two lists of words, 0 to 1.

    Source: Lin 2004, "ROUGE", section 3; the subsequence by Hyyrö 2004's bit-parallel method.
    """
    if not first or not second:
        return 0.0
    positions: dict[str, int] = {}
    for index, word in enumerate(first):
        positions[word] = positions.get(word, 0) | 1 << index
    mask = (1 << len(first)) - 1
    row = mask  # a zero bit is a step of the subsequence
    for word in second:
        matches = row & positions.get(word, 0)
        row = ((row + matches) | (row - matches)) & mask
    common = len(first) - row.bit_count()
    return 2 * common / (len(first) + len(second))
