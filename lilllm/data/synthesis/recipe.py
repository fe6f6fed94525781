"""What every recipe is: numbered asks, and a judgement on each answer.

An ask is a pure function of (seed, number, rows kept by earlier rounds), so work that was
interrupted goes on with the same asks. Recipes know no writer and no file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to the writer.

    Attributes:
        number: counts from 0; names the ask in a row's provenance.
        system: what a large model is told about its task; little ones are not shown it.
        prompt: the message to answer.
        fields: what the recipe needs again to judge the answer; kept in the row.
    """

    number: int
    system: str
    prompt: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Read:
    """An answer after judgement: rows to keep, and (reason, text) of what was rejected."""

    rows: Sequence[Row] = ()
    rejected: Sequence[tuple[str, str]] = ()


class Recipe(Protocol):
    """What to ask for, and what to keep."""

    def remember(self, row: Row) -> None:
        """Know a row that is kept: later answers may not copy it."""

    def ask(self, number: int, pool: Sequence[Row]) -> Ask:
        """The ask of a number; `pool` holds the rows kept by earlier rounds."""

    def read(self, ask: Ask, text: str, complete: bool) -> Read:
        """Judge an answer; `complete` is False when the writer ran out of tokens."""


def draws(seed: int, number: int) -> Random:
    """The random choices of one ask."""
    return Random(f"lilllm/synth/{seed}/{number}")


def length_problem(words: int, least: int, most: int) -> str:
    """What is wrong with a number of words; empty when nothing is."""
    if words < least:
        return "too short"
    return "too long" if words > most else ""
