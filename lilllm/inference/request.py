"""What the engine is asked and what it answers: requests in, pieces of text out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lilllm.config.schema import GenerateConfig

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class Request:
    """One text to continue.

    Attributes:
        prompt_ids: at least one token, usually starting with BOS.
        options: how to sample and when to stop.
        seed: in fp32 equal seeds give equal texts, alone or beside any others; in other precisions
            rounding depends on what is computed together.
        sample: number among the samples of one prompt; each has its own random numbers.
        logprobs: how many of the likeliest tokens to report beside each new one; 0: none but its
            own log-probability; None: no log-probabilities.
    """

    prompt_ids: Sequence[int]
    options: GenerateConfig
    seed: int = 0
    sample: int = 0
    logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class TokenScore:
    """How likely a token was before temperature, penalties and filters.

    Attributes:
        token_id: the new token.
        logprob: natural logarithm of its probability.
        top: the likeliest tokens of that position with their log-probabilities, best first.
    """

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Delta:
    """What one step added to one request.

    Attributes:
        request: the id that `submit` gave.
        token_ids: new tokens; not the one that ended the text.
        text: new text that no later token can change or cut; empty without a decoder.
        scores: one per new token where log-probabilities were asked for.
        finish_reason: None while it goes on; stop: an ending token or a stop string; length:
            `max_new_tokens` or the end of the context.
        prompt_tokens: length of the prompt.
        new_tokens: tokens made so far.
    """

    request: int
    token_ids: tuple[int, ...]
    text: str
    scores: tuple[TokenScore, ...]
    finish_reason: FinishReason | None
    prompt_tokens: int
    new_tokens: int
