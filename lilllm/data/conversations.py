"""Rows of finetuning data, in the shapes people have them, as lists of chat messages."""

from collections.abc import Mapping
from typing import Any

from lilllm.errors import DataError

Message = dict[str, str]
ROLES = ("system", "user", "assistant")


def to_messages(row: Mapping[str, Any], where: str) -> list[Message]:
    """Read a row as a conversation.

    | shape     | keys                                                        |
    |-----------|-------------------------------------------------------------|
    | messages  | `messages`: list of {`role`, `content`}                     |
    | completion| `prompt` and `completion`                                   |
    | alpaca    | `instruction`, optional `input`, `output` (Taori et al. 2023)|

    Args:
        row: one row.
        where: its file and line, for errors.

    Returns:
        messages whose last one is the assistant's.

    Raises:
        DataError: the row has none of these shapes, or a field is missing, empty or no text.
    """
    if "messages" in row:
        return _checked(row["messages"], where)
    if "prompt" in row and "completion" in row:
        return _turn(row["prompt"], row["completion"], ("prompt", "completion"), where)
    if "instruction" in row and "output" in row:
        prompt = row["instruction"]
        if isinstance(row.get("input"), str) and row["input"].strip():
            prompt = f"{prompt}\n\n{row['input']}"
        return _turn(prompt, row["output"], ("instruction", "output"), where)
    fields = ", ".join(map(str, row)) or "none"
    raise DataError(
        f"{where}: not a row for finetuning: it has the fields {fields}",
        "a row needs `messages`, or `prompt` and `completion`, or `instruction` and `output`",
    )


def _turn(prompt: Any, answer: Any, names: tuple[str, str], where: str) -> list[Message]:
    for name, text in zip(names, (prompt, answer), strict=True):
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{where}: field {name!r} is empty or not text")
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]


def _checked(messages: Any, where: str) -> list[Message]:
    if not isinstance(messages, list) or not messages:
        raise DataError(f"{where}: field 'messages' is not a list of messages")
    checked = []
    for number, message in enumerate(messages, 1):
        role = message.get("role") if isinstance(message, Mapping) else None
        content = message.get("content") if isinstance(message, Mapping) else None
        if role not in ROLES or not isinstance(content, str):
            raise DataError(
                f"{where}: message {number} needs a role ({', '.join(ROLES)}) and a text content"
            )
        checked.append({"role": role, "content": content})
    if not any(m["role"] == "assistant" and m["content"].strip() for m in checked):
        raise DataError(f"{where}: no message of the assistant to learn from")
    return checked
