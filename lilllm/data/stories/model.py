"""What a story is to its readers: the record, the moods and the features.

Owns no prose and no randomness.
"""

from dataclasses import dataclass

MOODS: tuple[str, ...] = ("happy", "proud", "calm", "sad")
"""Moods an ending can have; the closing sentences show which one."""

FEATURES: tuple[str, ...] = ("dialogue", "moral", "bad ending", "twist")
"""Features a story can have, in the order in which they are listed."""


@dataclass(frozen=True, slots=True)
class Story:
    """One finished story and the facts that are true of it."""

    text: str
    """The story: paragraphs parted by one blank line."""

    words: tuple[str, str, str]
    """A noun, a verb and an adjective, each a whole word of `text` in this very form."""

    features: tuple[str, ...]
    """Those of `FEATURES` that are true of the text, in that order."""

    summary: str
    """One sentence: who, what went wrong, how it ended."""

    mood: str
    """Mood of the ending, one of `MOODS`."""
