"""Keys of sampling text, and of the server."""

from typing import Annotated

from pydantic import Field, NonNegativeFloat

from lilllm.config.schema.base import Count, CountFromZero, Fraction, Penalty, Section, Size


class GenerateConfig(Section):
    """How text is sampled; also saved as the checkpoint's `generation_config.json`."""

    max_new_tokens: Count = 256
    """Tokens to generate at most."""
    temperature: NonNegativeFloat = 0.8
    """Softmax temperature; 0 takes the most likely token."""
    top_k: CountFromZero = 0
    """Keep only this many most likely tokens; 0: all."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Keep the smallest set of tokens with at least this probability (nucleus sampling)."""
    min_p: Fraction = 0.0
    """Keep only tokens at least this many times as likely as the likeliest one; 0: all."""
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] = 1.0
    """Divide positive logits of tokens already seen by this, multiply negative ones; 1: none."""
    presence_penalty: Penalty = 0.0
    """Subtract this from the logits of tokens that the new text already has; 0: none."""
    frequency_penalty: Penalty = 0.0
    """Subtract this from a token's logit for each time that the new text has it; 0: none."""
    stop: tuple[str, ...] = ()
    """Strings that end the text; they are not part of it."""
    prompts: tuple[str, ...] = ()
    """Prompts of `lilllm generate` when none is given."""


class ServeConfig(Section):
    """The HTTP server."""

    host: str = "127.0.0.1"
    """Address to bind; 0.0.0.0 is reachable from outside."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    """Port to bind; 0: any free one."""
    api_key_file: str | None = None
    """File with the key that clients must send to use `/v1`, or LILLLM_API_KEY in the
    environment; none: no key is asked."""
    max_running: Annotated[int, Field(gt=0, le=4096)] = 32
    """Choices that are generated at once; more wait for their turn."""
    max_queue: Annotated[int, Field(ge=0, le=1_000_000)] = 128
    """Choices that may wait; further requests are answered with 429."""
    max_choices: Annotated[int, Field(gt=0, le=4096)] = 32
    """Prompts times `n` of one request, at most."""
    max_body_bytes: Size = 1_048_576
    """Bytes of a request's body, at most."""
    max_prompt_tokens: Count | None = None
    """Tokens of a prompt, at most; by default the model's context."""
    max_seconds: Annotated[float, Field(gt=0, le=1e6)] = 300.0
    """Seconds that a request may take, waiting included; also the longest that a client may let
    pass without sending the head of a request, or reading what it was sent."""
    drain_seconds: Annotated[int, Field(ge=0, le=1_000_000)] = 60
    """Seconds that running requests get to finish after SIGTERM."""
