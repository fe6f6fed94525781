"""Text out of a stream of ids, without ever showing half a character."""

import codecs
from typing import Protocol


class TokenBytes(Protocol):
    """What streaming needs of a tokenizer."""

    special_ids: frozenset[int]

    def token_bytes(self, id: int) -> bytes:
        """The bytes that a token stands for."""
        ...


class StreamDecoder:
    """Turns ids into text as they come; special tokens are silent.

    Bytes of a character that is not complete yet wait for the rest. What can no longer become
    valid UTF-8 is U+FFFD, as in `Tokenizer.decode`.
    """

    def __init__(self, tokenizer: TokenBytes) -> None:
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, id: int) -> str:
        """The characters that this token completes; often its text, sometimes nothing."""
        if id in self._tokenizer.special_ids:
            return ""
        return self._utf8.decode(self._tokenizer.token_bytes(id))

    def finish(self) -> str:
        """U+FFFD for a character that never became complete; the decoder starts anew."""
        rest = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return rest
