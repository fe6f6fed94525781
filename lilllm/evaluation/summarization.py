"""Measures of summaries: ROUGE by rouge-score, and the baseline of the first sentences."""

import re
from collections.abc import Sequence
from typing import Any

from lilllm.errors import ConfigError

KINDS = ("rouge1", "rouge2", "rougeL")
NEEDS = "pip install rouge-score"
_CJK = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")
"""Chinese and Japanese have no spaces, so there each character counts as a word."""
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]*[\"'\u201d\u2019)]*\s*|\n+")


def summarization_measures(found: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """Mean F1 of ROUGE-1, ROUGE-2 and ROUGE-L, 0 to 1, with stemming.

    Words of ASCII letters are rouge-score's own; it knows no others, so those stay as they are.

    Raises:
        ConfigError: rouge-score is not installed.
        ValueError: nothing to measure.

    Source: Lin 2004, "ROUGE: a package for automatic evaluation of summaries".
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
        from rouge_score.tokenizers import DefaultTokenizer
    except ImportError as err:
        raise ConfigError(
            "summaries are measured by rouge-score, which is not here", NEEDS
        ) from err
    if not found:
        raise ValueError("no summaries to measure")
    scorer = RougeScorer(list(KINDS), tokenizer=_Words(DefaultTokenizer(use_stemmer=True)))
    scores = [scorer.score(right, said) for right, said in zip(references, found, strict=True)]
    means = {kind: sum(score[kind].fmeasure for score in scores) / len(scores) for kind in KINDS}
    return {"rows": len(found), **means}


class _Words:
    """The words of a text in any script, in the form that rouge-score asks for."""

    def __init__(self, ascii_words: Any) -> None:
        self._ascii_words = ascii_words

    def tokenize(self, text: str) -> list[str]:
        words: list[str] = []
        for word in _WORD.findall(text.lower()):
            words += self._ascii_words.tokenize(word) if word.isascii() else [word]
        return words


def lead(text: str, sentences: int) -> str:
    """The first sentences of a text, or lines, where lines are turns of a dialogue."""
    parts = [part.strip() for part in _SENTENCE.findall(text) if part.strip()]
    return " ".join(parts[:sentences])
