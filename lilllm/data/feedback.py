"""Rows of what people thought of answers: votes between two, thumbs, and edits.

Every row says what was asked and shown, and is at once a row to train on where it can be: a vote
and an edit have `chosen` and `rejected`, an edit and a thumb up have `completion`. The table of
fields is docs/feedback.md. The file is a `journal.Journal`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

KIND = "feedback"
BEGINS = b'{"feedback": '
"""How each row stands in a file."""
"""Field that every row of this file has, and no other row of training data."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One answer as it was shown, and where it came from."""

    text: str
    checkpoint: str
    weights: str
    seed: int


def vote_row(
    prompt: str, shown: Sequence[Shown], better: int | None, reason: str
) -> dict[str, Any]:
    """A vote between two answers, in the order in which they were shown.

    Args:
        prompt: what was asked.
        shown: left and right.
        better: 0 or 1; None when neither is.
        reason: in the judge's words; may be empty.
    """
    row = _row("vote", prompt, shown) | {"better": better, "reason": reason}
    if better is None:
        return row
    return row | {"chosen": shown[better].text, "rejected": shown[1 - better].text}


def thumb_row(prompt: str, shown: Sequence[Shown], which: int, good: bool) -> dict[str, Any]:
    """A thumb up or down on one of the answers."""
    row = _row("thumb", prompt, shown) | {"which": which, "good": good}
    return row | {"completion": shown[which].text} if good else row


def edit_row(prompt: str, shown: Sequence[Shown], which: int, text: str) -> dict[str, Any]:
    """What one of the answers should have been.

    Raises:
        ValueError: nothing is left of it, or nothing was changed.
    """
    if not text.strip() or text.strip() == shown[which].text.strip():
        raise ValueError("an edit has to change the answer, and to leave something of it")
    pair = {"completion": text, "chosen": text, "rejected": shown[which].text}
    return _row("edit", prompt, shown) | {"which": which} | pair


def lacks(row: Mapping[str, Any], *fields: str) -> bool:
    """Whether a row of feedback is of a kind without these fields: nothing is wrong with it."""
    return KIND in row and any(field not in row for field in fields)


def _row(kind: str, prompt: str, shown: Sequence[Shown]) -> dict[str, Any]:
    return {
        KIND: kind,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "prompt": prompt,
        "shown": [asdict(answer) for answer in shown],
    }
