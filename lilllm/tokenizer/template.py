"""Chat templates: Jinja that strangers wrote, rendered in a sandbox as transformers renders it.

What the rendered text means in tokens is `chat.py`.
"""

import datetime
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lilllm.errors import CheckpointError, DataError

Message = Mapping[str, str]

LARGEST_PRODUCT = 1_000_000
"""Most elements that `*` may make, and the largest base or exponent of `**`."""


def chatml() -> str:
    """The ChatML template of our own tokenizers."""
    return resources.files("lilllm.tokenizer").joinpath("chatml.jinja").read_text("utf-8")


_CALL_ERRORS = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""What an expression of a template raises when a message is not what it expects."""


class _Sandbox(ImmutableSandboxedEnvironment):
    """Refuses underscored attributes and calls that change things; bounds `*` and `**` too."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        for one, other in ((left, right), (right, left)):
            if isinstance(other, int) and (
                (isinstance(one, Sequence) and len(one) * other > LARGEST_PRODUCT)
                or (operator == "**" and abs(other) > 64)
            ):
                raise SecurityError(f"{operator} makes something too large")
        return super().call_binop(context, operator, left, right)


class _Generation(Extension):
    """`{% generation %}` marks an assistant's words for others; here it is transparent."""

    tags = {"generation"}  # noqa: RUF012 - declared so by jinja2

    def parse(self, parser: Any) -> Any:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _now(pattern: str) -> str:
    return datetime.datetime.now().strftime(pattern)


@cache
def _compile(template: str) -> jinja2.Template:
    environment = _Sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _now
    return environment.from_string(template)


def render(
    template: str,
    messages: Sequence[Message],
    special_tokens: Mapping[str, str],
    add_generation_prompt: bool,
) -> str:
    """Render messages as text.

    Args:
        template: Jinja source.
        messages: mappings with `role` and `content`.
        special_tokens: `bos_token` and its like, by the names that templates use.
        add_generation_prompt: end with the opening of an assistant's turn.

    Raises:
        CheckpointError: the template is broken, or does what the sandbox forbids.
        DataError: it does not accept these messages.
    """
    try:
        return _compile(template).render(
            messages=[dict(message) for message in messages],
            tools=None,
            documents=None,
            add_generation_prompt=add_generation_prompt,
            **special_tokens,
        )
    except SecurityError as err:
        raise CheckpointError(
            f"the chat template was stopped: {err}", "replace chat_template.jinja by a safe one"
        ) from err
    except (jinja2.TemplateSyntaxError, RecursionError, MemoryError) as err:
        raise CheckpointError(f"the chat template is broken: {err}") from err
    except (jinja2.TemplateError, *_CALL_ERRORS) as err:
        raise DataError(
            f"the chat template does not accept these messages: {err}",
            "each needs a role (system, user or assistant) and a content that is text",
        ) from err
