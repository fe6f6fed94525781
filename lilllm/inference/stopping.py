"""Text that grows token by token: what of it may be shown, and whether a stop string ended it."""

from collections.abc import Sequence
from typing import Protocol


class TextDecoder(Protocol):
    """Turns token ids into text without ever emitting half a character."""

    def push(self, token_id: int) -> str:
        """The text that is certain once this token has come; may be empty."""
        ...

    def finish(self) -> str:
        """What is left when no more tokens come."""
        ...


class StopFilter:
    """Hold back text that may be the beginning of a stop string, cut at the first whole one.

    Args:
        stops: strings that end the text; they are not part of it.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = [stop for stop in stops if stop]
        self.held = ""
        self.stopped = False

    def push(self, text: str) -> str:
        """The text that may be shown now. After a stop string, `stopped` is set."""
        if self.stopped:
            return ""
        self.held += text
        found = [at for stop in self.stops if (at := self.held.find(stop)) >= 0]
        if found:
            self.stopped = True
            shown, self.held = self.held[: min(found)], ""
            return shown
        keep = self._possible_start()
        shown, self.held = self.held[: len(self.held) - keep], self.held[len(self.held) - keep :]
        return shown

    def finish(self) -> str:
        """What was held back, when no more text comes."""
        shown, self.held = self.held, ""
        return shown

    def _possible_start(self) -> int:
        """Length of the longest end of the text that a stop string starts with."""
        longest = max((len(stop) - 1 for stop in self.stops), default=0)
        for size in range(min(longest, len(self.held)), 0, -1):
            if any(stop.startswith(self.held[-size:]) for stop in self.stops):
                return size
        return 0


class TextStream:
    """The text of one sample: decoded, cut at stop strings, taken piece by piece.

    Args:
        decoder: None where only token ids are wanted.
        stops: strings that end the text.
    """

    def __init__(self, decoder: TextDecoder | None, stops: Sequence[str]) -> None:
        self.decoder, self.filter = decoder, StopFilter(stops)
        self.certain = ""

    def push(self, token_id: int) -> bool:
        """Add a token; whether a stop string is now complete."""
        if self.decoder is not None:
            self.certain += self.filter.push(self.decoder.push(token_id))
        return self.filter.stopped

    def finish(self) -> bool:
        """Let go of what was held back; whether that completed a stop string."""
        if self.decoder is not None and not self.filter.stopped:
            self.certain += self.filter.push(self.decoder.finish())
            self.certain += self.filter.finish()
        return self.filter.stopped

    def take(self) -> str:
        """The text that became certain since the last call."""
        piece, self.certain = self.certain, ""
        return piece
