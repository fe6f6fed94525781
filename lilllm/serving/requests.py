"""The bodies of requests: OpenAI's fields, checked strictly, as our sampling options.

A field that would change the answer and cannot be honoured is refused, never ignored.
"""

import json
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lilllm.config.schema import GenerateConfig
from lilllm.serving.problems import invalid

MAX_TOP_LOGPROBS = 20
MAX_FIELDS = 100
"""Fields of one object, at most: each that is wrong costs an error of its own."""
SMALLEST_TOP_P = 1e-6
"""What top_p=0 means: the most likely token alone."""

UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "function_call": ("none",),
    "functions": ([],),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "prediction": (),
    "reasoning_effort": ("none",),
    "response_format": ({"type": "text"},),
    "suffix": ("",),
    "tool_choice": ("none",),
    "tools": ([],),
    "web_search_options": (),
}
"""Fields that are refused, and the values of each that ask for nothing."""

IGNORED = {
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "user",
}
"""Fields that do not change an answer."""


Item = TypeVar("Item")
Items = Annotated[list[Item], Field(fail_fast=True)]
"""A list of which the first wrong item is told: a megabyte may hold 200,000 of them."""


class Body(BaseModel):
    """Refuses fields it does not know, and values that would have to be converted."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, given: Any) -> Any:
        if isinstance(given, dict) and len(given) > MAX_FIELDS:
            raise ValueError(f"{len(given)} fields; at most {MAX_FIELDS}")
        return given


class StreamOptions(Body):
    """`stream_options`."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


Probability = Annotated[float, Field(ge=0, le=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Stops = Annotated[Items[Annotated[str, Field(min_length=1, max_length=1000)]], Field(max_length=16)]


class SamplingBody(Body):
    """What completions and chat completions share. null is the same as absent."""

    model: str | None = None
    max_tokens: Annotated[int, Field(gt=0, lt=2**31)] | None = None
    n: Annotated[int, Field(gt=0, lt=2**31)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Probability | None = None
    top_k: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    min_p: Probability | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=10)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    stop: Annotated[str, Field(max_length=1000)] | Stops | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @property
    def limit(self) -> int | None:
        """Most new tokens, where the request says so."""
        return self.max_tokens

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with a chunk that counts tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def alternatives(self) -> int | None:
        """How many likeliest tokens to tell beside each one; None: no log-probabilities at all."""
        raise NotImplementedError

    def options(self, defaults: GenerateConfig) -> GenerateConfig:
        """The sampling options: the model's, with those of the request over them."""
        stop = (self.stop,) if isinstance(self.stop, str) else self.stop
        given = {
            "max_new_tokens": self.limit,
            "temperature": self.temperature,
            "top_p": None if self.top_p is None else max(self.top_p, SMALLEST_TOP_P),
            "top_k": self.top_k,
            "min_p": self.min_p,
            "repetition_penalty": self.repetition_penalty,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "stop": None if stop is None else tuple(text for text in stop if text),
        }
        chosen = {key: value for key, value in given.items() if value is not None}
        return defaults.model_copy(update=chosen)


class CompletionBody(SamplingBody):
    """`POST /v1/completions`."""

    prompt: str | Items[str] | Items[int] | Items[Items[int]]
    echo: bool | None = None
    best_of: int | None = None
    logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None

    @model_validator(mode="after")
    def _what_cannot_be_done(self) -> Self:
        if self.best_of is not None and self.best_of != (self.n or 1):
            raise ValueError("best_of is not supported; n gives that many choices")
        if self.echo and self.logprobs is not None:
            raise ValueError("echo with logprobs is not supported: prompts are not scored")
        return self

    @property
    def alternatives(self) -> int | None:
        """As in `SamplingBody`."""
        return self.logprobs

    @property
    def prompts(self) -> list[str | list[int]]:
        """Every prompt, as text or as tokens."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        tokens = [item for item in self.prompt if isinstance(item, int)]
        return [tokens] if tokens else [item for item in self.prompt if not isinstance(item, int)]


class TextPart(Body):
    """A part of a message."""

    type: Literal["text"]
    text: str


class ChatMessage(Body):
    """A turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Items[TextPart]
    name: str | None = None
    refusal: None = None

    @property
    def plain(self) -> dict[str, str]:
        """The message as chat templates know it."""
        text = self.content
        if not isinstance(text, str):
            text = "".join(part.text for part in text)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class ChatBody(SamplingBody):
    """`POST /v1/chat/completions`."""

    messages: Annotated[Items[ChatMessage], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(gt=0, lt=2**31)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None

    @model_validator(mode="after")
    def _alternatives_need_logprobs(self) -> Self:
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs: true")
        return self

    @property
    def limit(self) -> int | None:
        """As in `SamplingBody`; the newer name goes before the older one."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def alternatives(self) -> int | None:
        """As in `SamplingBody`."""
        return (self.top_logprobs or 0) if self.logprobs else None


Kind = TypeVar("Kind", bound=Body)


def parse_body(raw: bytes, kind: type[Kind]) -> Kind:
    """Check the body of a request.

    Raises:
        ApiError: 400, with every field that is wrong.
    """
    fields = {key: value for key, value in _read_json(raw).items() if key not in IGNORED}
    for key, harmless in UNSUPPORTED.items():
        value = fields.pop(key, None)
        if value is not None and value not in harmless:
            raise invalid(f"{key} is not supported by this server", key, "unsupported_parameter")
    try:
        return kind.model_validate(fields)
    except ValidationError as err:
        problems = err.errors(include_input=False, include_context=False, include_url=False)
        lines = list(dict.fromkeys(_explain(problem) for problem in problems))
        first = problems[0]
        code = "unknown_parameter" if first["type"] == "extra_forbidden" else None
        raise invalid("; ".join(lines[:10]), _dotted(first["loc"][:1]) or None, code) from err
    except (OverflowError, RecursionError) as err:
        raise invalid("a value is too large or nested too deeply") from err


def _read_json(raw: bytes) -> dict[str, Any]:
    try:
        tree = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as err:
        raise invalid(f"the body is not UTF-8: {err.reason} at byte {err.start}") from err
    except RecursionError as err:
        raise invalid("the body is nested too deeply") from err
    except ValueError as err:
        raise invalid(f"the body is not JSON: {err}") from err
    if not isinstance(tree, dict):
        raise invalid("the body must be a JSON object")
    return tree


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number in JSON")


def _explain(problem: Any) -> str:
    where = _dotted(problem["loc"])
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


def _dotted(location: tuple[int | str, ...]) -> str:
    """`messages.0.role`; without the names that pydantic gives the kinds of a union."""
    return ".".join(str(part) for part in location if "[" not in str(part))[:200]
