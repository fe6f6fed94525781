"""Every key of a config with its kind, its default and what it does, for people to read."""

import json
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from lilllm.config.schema import Config
from lilllm.config.schema.base import Section

BELOW = "keys below"
NAMES = {str: "text", int: "whole number", float: "number", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class Key:
    """One key; `path` is dotted, with NAME for names of one's own and [] for each of a list.

    kind: what it takes. default: as YAML has it; None where it must be given.
    """

    path: str
    kind: str
    default: str | None
    about: str


def keys(prefix: str = "") -> list[Key]:
    """The key `prefix` and those below it, or all, in the order of the schema.

    Any name may stand for NAME: `finetune.chat.lr` finds `finetune.NAME.lr`.
    """
    if not prefix:
        return list(_keys_of(Config, "", {}))
    wanted = prefix.split(".")
    return [key for key in _keys_of(Config, "", None) if _is_below(key.path, wanted)]


def _is_below(path: str, wanted: list[str]) -> bool:
    parts = path.replace("[]", "").split(".")
    return len(parts) >= len(wanted) and all(
        part in (name.removesuffix("[]"), "NAME") for part, name in zip(parts, wanted, strict=False)
    )


def _keys_of(
    section: type[Section], path: str, seen: dict[type[Section], str] | None
) -> Iterator[Key]:
    """The keys of a section.

    One that stands in several places is told at the first, which `seen` has; with None at each.
    """
    for name, field in section.model_fields.items():
        here = f"{path}.{name}" if path else name
        parts = [(here + below, part) for below, part in _sections(field.annotation)]
        told = next((seen[part] for _, part in parts if part in seen), "") if seen else ""
        kind = _kind(field.annotation)
        yield Key(
            here,
            kind.replace(BELOW, f"keys as {told}.*") if told else kind,
            _default(field),
            _about(field),
        )
        for place, part in parts:
            if seen is None or part not in seen:
                if seen is not None:
                    seen[part] = place
                yield from _keys_of(part, place, seen)


def _sections(kind: Any) -> Iterator[tuple[str, type[Section]]]:
    """The sections that a value is made of, and how their keys' paths go on."""
    if isinstance(kind, type) and issubclass(kind, Section):
        yield "", kind
        return
    below = {dict: ".NAME", tuple: "[]"}.get(get_origin(kind), "")
    for part in get_args(kind):
        for deeper, section in _sections(part):
            yield below + deeper, section


def _kind(kind: Any) -> str:
    """What a key takes, in words."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _kind(parts[0])
    if origin is Literal:
        return ", ".join(map(_yaml, parts))
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(part) for part in parts if part is not type(None))
    if origin is tuple:
        return f"list of {_kind(parts[0])}"
    if origin is dict:
        return f"mapping of names to {_kind(parts[1])}"
    if isinstance(kind, type) and issubclass(kind, Section):
        return BELOW
    return NAMES.get(kind, "value")


def _default(field: FieldInfo) -> str | None:
    if field.is_required():
        return None
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Section):
        return ""
    return _yaml(list(value) if isinstance(value, tuple) else value)


def _about(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())


def _yaml(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
