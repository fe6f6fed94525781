"""Completions and chat completions as OpenAI's objects, whole or in pieces.

What a client sends is `requests.py`'s, how it is sent back `exchange.py`'s.
"""

import secrets
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from lilllm.inference import Delta
from lilllm.serving.service import Choices
from lilllm.tokenizer import StreamDecoder, Tokenizer


@dataclass(slots=True)
class Usage:
    """Tokens of one request."""

    prompt: int
    new: int = 0

    def plain(self) -> dict[str, int]:
        """As OpenAI counts them."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.new,
            "total_tokens": self.prompt + self.new,
        }


@dataclass(slots=True)
class Choice:
    """One choice, put together from its pieces."""

    text: str = ""
    finish_reason: str | None = None
    deltas: list[Delta] = field(default_factory=list)

    def add(self, delta: Delta) -> None:
        """The next piece."""
        self.text += delta.text
        self.finish_reason = delta.finish_reason
        self.deltas.append(delta)


@dataclass(slots=True)
class Place:
    """Where the tokens of a choice so far end, in characters.

    Attributes:
        decoder: knows what each token adds to the text.
        end: with what is held back because a stop string may begin there.
        shown: without that.
    """

    decoder: StreamDecoder
    end: int = 0
    shown: int = 0

    def offsets(self, deltas: Sequence[Delta]) -> list[int]:
        """Where each token of the next deltas begins; one that a stop string cut, at the end."""
        found = []
        for delta in deltas:
            self.shown += len(delta.text)
            for token in delta.token_ids:
                found.append(self.end)
                self.end += len(self.decoder.push(token))
        ended = deltas and deltas[-1].finish_reason is not None
        return [min(offset, self.shown) for offset in found] if ended else found


class Answer:
    """The shape of an answer; `ChatAnswer` and `CompletionAnswer` fill it.

    Args:
        model: its name.
        tokenizer: spells tokens where log-probabilities are told.
        prompt_tokens: of all prompts.
        logprobs: whether log-probabilities are told.
    """

    prefix: str
    whole_object: str
    piece_object: str

    def __init__(
        self, model: str, tokenizer: Tokenizer, prompt_tokens: int, logprobs: bool
    ) -> None:
        self.tokenizer, self.logprobs = tokenizer, logprobs
        self.usage = Usage(prompt_tokens)
        self.frame = {
            "id": f"{self.prefix}-{secrets.token_hex(12)}",
            "object": self.whole_object,
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": None,
        }

    async def collect(self, choices: Choices) -> dict[str, Any]:
        """The whole answer."""
        made = [Choice() for _ in choices.jobs]
        async for index, delta in choices:
            self.usage.new += len(delta.token_ids)
            made[index].add(delta)
        shown = [self.whole_choice(index, choice) for index, choice in enumerate(made)]
        return {**self.frame, "choices": shown, "usage": self.usage.plain()}

    async def stream(self, choices: Choices, include_usage: bool) -> AsyncIterator[dict[str, Any]]:
        """The answer in pieces, in the order in which they are made."""
        frame = {**self.frame, "object": self.piece_object}
        if include_usage:
            frame["usage"] = None
        for first in self.opening(len(choices.jobs)):
            yield {**frame, "choices": [first]}
        async for index, delta in choices:
            self.usage.new += len(delta.token_ids)
            piece = self.piece(index, delta)
            if piece is not None:
                yield {**frame, "choices": [piece]}
        if include_usage:
            yield {**frame, "choices": [], "usage": self.usage.plain()}

    def opening(self, count: int) -> list[dict[str, Any]]:
        """What comes before the first token of each choice."""
        return []

    def whole_choice(self, index: int, choice: Choice) -> dict[str, Any]:
        """One choice of a whole answer."""
        raise NotImplementedError

    def piece(self, index: int, delta: Delta) -> dict[str, Any] | None:
        """One choice of a piece; None when there is nothing to tell yet."""
        raise NotImplementedError

    def scored(self, deltas: Sequence[Delta]) -> list[dict[str, Any]]:
        """Tokens with their log-probabilities and alternatives."""
        return [
            {
                **self._token(score.token_id, score.logprob),
                "top_logprobs": [self._token(*alternative) for alternative in score.top],
            }
            for delta in deltas
            for score in delta.scores
        ]

    def _token(self, id: int, logprob: float) -> dict[str, Any]:
        raw = self.tokenizer.token_bytes(id)
        # a piece of a character is U+FFFD; `bytes` has it exactly
        return {"token": raw.decode("utf-8", "replace"), "logprob": logprob, "bytes": list(raw)}

    def tells(self, delta: Delta) -> bool:
        """Whether there is something to tell."""
        return bool(delta.text or delta.finish_reason or (self.logprobs and delta.token_ids))


class ChatAnswer(Answer):
    """`chat.completion`."""

    prefix = "chatcmpl"
    whole_object = "chat.completion"
    piece_object = "chat.completion.chunk"

    def opening(self, count: int) -> list[dict[str, Any]]:
        """Who speaks."""
        said = {"role": "assistant", "content": ""}
        return [
            {"index": index, "delta": said, "logprobs": None, "finish_reason": None}
            for index in range(count)
        ]

    def whole_choice(self, index: int, choice: Choice) -> dict[str, Any]:
        """As in `Answer`."""
        return {
            "index": index,
            "message": {"role": "assistant", "content": choice.text, "refusal": None},
            "logprobs": self._logprobs(choice.deltas),
            "finish_reason": choice.finish_reason,
        }

    def piece(self, index: int, delta: Delta) -> dict[str, Any] | None:
        """As in `Answer`."""
        if not self.tells(delta):
            return None
        return {
            "index": index,
            "delta": {"content": delta.text} if delta.text else {},
            "logprobs": self._logprobs([delta]),
            "finish_reason": delta.finish_reason,
        }

    def _logprobs(self, deltas: Sequence[Delta]) -> dict[str, Any] | None:
        return {"content": self.scored(deltas), "refusal": None} if self.logprobs else None


class CompletionAnswer(Answer):
    """`text_completion`.

    Args:
        echoes: for each choice the text to repeat before it.
    """

    prefix = "cmpl"
    whole_object = piece_object = "text_completion"

    def __init__(
        self,
        model: str,
        tokenizer: Tokenizer,
        prompt_tokens: int,
        logprobs: bool,
        echoes: Sequence[str] = (),
    ) -> None:
        super().__init__(model, tokenizer, prompt_tokens, logprobs)
        self.echoes = echoes
        self.places: dict[int, Place] = {}  # of each choice

    def opening(self, count: int) -> list[dict[str, Any]]:
        """The prompts, where they are to be repeated."""
        return [
            {"index": index, "text": text, "logprobs": None, "finish_reason": None}
            for index, text in enumerate(self.echoes)
        ]

    def whole_choice(self, index: int, choice: Choice) -> dict[str, Any]:
        """As in `Answer`."""
        echo = self.echoes[index] if self.echoes else ""
        return {
            "index": index,
            "text": echo + choice.text,
            "logprobs": self._logprobs(index, choice.deltas),
            "finish_reason": choice.finish_reason,
        }

    def piece(self, index: int, delta: Delta) -> dict[str, Any] | None:
        """As in `Answer`."""
        if not self.tells(delta):
            return None
        return {
            "index": index,
            "text": delta.text,
            "logprobs": self._logprobs(index, [delta]),
            "finish_reason": delta.finish_reason,
        }

    def _logprobs(self, index: int, deltas: Sequence[Delta]) -> dict[str, Any] | None:
        if not self.logprobs:
            return None
        content = self.scored(deltas)
        place = self.places.setdefault(index, Place(StreamDecoder(self.tokenizer)))
        return {
            "tokens": [score["token"] for score in content],
            "token_logprobs": [score["logprob"] for score in content],
            "top_logprobs": [_by_spelling(score) for score in content],
            "text_offset": place.offsets(deltas),
            "content": content,  # not OpenAI's: as in a chat, with every token's bytes
        }


def _by_spelling(score: dict[str, Any]) -> dict[str, float]:
    """Log-probabilities of the likeliest tokens and of the chosen one, which may be none of them.

    Of pieces of characters, which look alike, the chosen one, else the likeliest.
    """
    found: dict[str, float] = {}
    for alternative in score["top_logprobs"]:
        found.setdefault(alternative["token"], alternative["logprob"])
    return found | {score["token"]: score["logprob"]}
