"""Rows with a better and a worse answer to the same question."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from lilllm.data.conversations import Message, prompt_messages, read_message, read_messages
from lilllm.errors import DataError


class Preference(NamedTuple):
    """Two conversations, `prompt` + one answer each; the prompt may be empty."""

    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]


def to_preference(row: Mapping[str, Any], where: str) -> Preference:
    """Read a row with `chosen` and `rejected`.

    Both are a text, a message, or a list of messages. The prompt is `prompt` (a text or messages),
    `messages`, `conversations`, `instruction` with an optional `input`, or absent. What both
    sides begin with belongs to it, and may repeat it, or its end; where `messages` is one of the
    sides, it is what they begin with. A text of turns after `Human:` and `Assistant:` is read as a
    conversation (HH-RLHF, Bai et al. 2022, arXiv:2204.05862).

    Raises:
        DataError: a field is missing or of another kind, or the two sides are equal.
    """
    for side in ("chosen", "rejected"):
        if side not in row:
            fields = ", ".join(map(str, row)) or "none"
            raise DataError(
                f"{where}: not a preference pair: it has the fields {fields}",
                "a row needs `chosen` and `rejected`; the source's `fields` renames",
            )
    chosen, rejected = (_answer(row[side], side, where) for side in ("chosen", "rejected"))
    common = _common(chosen, rejected)
    prompt = _joined(prompt_messages(row, where), common)
    chosen, rejected = chosen[len(common) :], rejected[len(common) :]
    if chosen == rejected:
        raise DataError(f"{where}: chosen and rejected are equal, so nothing is preferred")
    if not (_has_answer(chosen) and _has_answer(rejected)):
        raise DataError(f"{where}: chosen or rejected holds no answer of the assistant")
    return Preference(prompt, chosen, rejected)


def _answer(value: Any, field: str, where: str) -> list[Message]:
    if isinstance(value, str):
        if not value.strip():
            raise DataError(f"{where}: field {field!r} is empty or not text")
        return _transcript(value) or [{"role": "assistant", "content": value}]
    if isinstance(value, Mapping):
        return [read_message(value, field, where)]
    return read_messages(value, field, where)


_SPEAKER = re.compile(r"(?:^|\n\n)(Human|Assistant):")


def _transcript(text: str) -> list[Message]:
    """The messages of a text in the form of HH-RLHF; none if it has another."""
    if not (text.lstrip().startswith("Human:") and "\n\nAssistant:" in text):
        return []
    _, *parts = _SPEAKER.split(text.strip())
    roles = ["user" if speaker == "Human" else "assistant" for speaker in parts[::2]]
    said = [part.strip() for part in parts[1::2]]
    return [{"role": role, "content": content} for role, content in zip(roles, said, strict=True)]


def _common(one: list[Message], other: list[Message]) -> list[Message]:
    """The messages that two conversations begin with, up to the last but one."""
    length = 0
    for left, right in zip(one[:-1], other[:-1], strict=False):
        if left != right:
            break
        length += 1
    return one[:length]


def _joined(prompt: list[Message], common: list[Message]) -> list[Message]:
    """A prompt and what both sides begin with, whatever they share said once."""
    if not common:
        return prompt
    if prompt[: len(common)] == common and prompt[-1]["role"] == "assistant":
        return common  # the prompt is one of the sides
    for shared in range(min(len(prompt), len(common)), 0, -1):
        if prompt[-shared:] == common[:shared]:
            return prompt + common[shared:]
    if all(message in common for message in prompt):
        return common
    return prompt + common


def _has_answer(messages: list[Message]) -> bool:
    return any(m["role"] == "assistant" and m["content"].strip() for m in messages)
