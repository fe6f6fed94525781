"""Rows of finetuning data, in the shapes people have them, as chat messages or plain text."""

from collections.abc import Callable, Mapping
from typing import Any

from lilllm.data.text import is_unicode
from lilllm.errors import DataError

Message = dict[str, str]
ROLES = ("system", "user", "assistant")
SHAREGPT_ROLES = {
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "assistant", "chatgpt", "bot"), "assistant"),
    "system": "system",
}
SHAPES = {
    "messages": ("messages",),
    "sharegpt": ("conversations",),
    "completion": ("prompt", "completion"),
    "alpaca": ("instruction", "output"),
    "translation": ("source", "target"),
    "labelled": ("text", "label"),
    "text": ("text",),
}
"""What a row may be for supervised finetuning, by the fields that it then has."""
HINT = (
    "a row needs `messages`, `conversations`, `prompt` and `completion`, `instruction` and "
    "`output`, `source` and `target`, `text` and `label`, or `text`; the source's `fields` renames"
)


def shape_of(row: Mapping[str, Any], where: str) -> str:
    """Which of `SHAPES` a row has.

    Raises:
        DataError: none of them.
    """
    for shape, fields in SHAPES.items():
        if all(field in row for field in fields):
            return shape
    found = ", ".join(map(str, row)) or "none"
    raise DataError(f"{where}: not a row for finetuning: it has the fields {found}", HINT)


def to_messages(row: Mapping[str, Any], where: str) -> list[Message] | str:
    """Read a row as a conversation, or as a plain text.

    | shape       | fields                                                            |
    |-------------|-------------------------------------------------------------------|
    | messages    | `messages`: list of {`role`, `content`}                           |
    | sharegpt    | `conversations`: list of {`from`, `value`}                        |
    | completion  | `prompt` and `completion`                                         |
    | alpaca      | `instruction`, optional `input`, `output` (Taori et al. 2023) and |
    |             | `history`: list of [question, answer]                             |
    | translation | `source` and `target`                                             |
    | labelled    | `text` and `label`: the label is the answer                       |
    | text        | `text`: no conversation, all of it is learnt                      |

    A text in `system` goes before all but `messages` and `text`.

    Args:
        row: one row.
        where: its file and line, for errors.

    Returns:
        messages whose last one is the assistant's, or a text.

    Raises:
        DataError: the row has none of these shapes, or a field is missing, empty or no text.
    """
    return _READERS[shape_of(row, where)](row, where)


def prompt_messages(row: Mapping[str, Any], where: str) -> list[Message]:
    """What an assistant is asked in a row that has several answers, or none yet.

    Raises:
        DataError: a field is empty or no text.
    """
    if "messages" in row:
        return read_messages(row["messages"], "messages", where)
    if "conversations" in row:
        return _sharegpt(row, where)
    if isinstance(row.get("prompt"), list):
        return _with_system(row, read_messages(row["prompt"], "prompt", where))
    if "prompt" in row:
        return _with_system(row, [{"role": "user", "content": text_of(row, "prompt", where)}])
    if "instruction" in row:
        return _asked_of_alpaca(row, where)
    return []


def question(row: Mapping[str, Any], where: str) -> list[Message]:
    """The messages up to the one that is to be answered, whatever answers the row has.

    Raises:
        DataError: there is none, or a field is no text.
    """
    messages = prompt_messages(row, where) or to_messages(row, where)
    if isinstance(messages, str):
        raise DataError(f"{where}: a text asks nothing that could be answered")
    while messages and messages[-1]["role"] == "assistant":
        messages = messages[:-1]
    if not messages:
        raise DataError(f"{where}: there is no question in this row")
    return messages


def read_messages(messages: Any, field: str, where: str) -> list[Message]:
    """Check a list of {`role`, `content`} or of {`from`, `value`}.

    Raises:
        DataError: it is something else.
    """
    if not isinstance(messages, list) or not messages:
        raise DataError(f"{where}: field {field!r} is not a list of messages")
    return [read_message(message, f"message {n}", where) for n, message in enumerate(messages, 1)]


def read_message(message: Any, name: str, where: str) -> Message:
    """Check one message, in the form of `messages` or of ShareGPT.

    Raises:
        DataError: it has no role or no text.
    """
    given = message if isinstance(message, Mapping) else {}
    role, content = given.get("role"), given.get("content")
    if "from" in given:
        role, content = SHAREGPT_ROLES.get(str(given["from"])), given.get("value")
    if role not in ROLES or not isinstance(content, str):
        said = given.get("from", given.get("role"))
        raise DataError(
            f"{where}: {name} needs a role ({', '.join(ROLES)}) and a text content"
            + (f"; its role is {said!r}" if said is not None and role not in ROLES else "")
        )
    return {"role": str(role), "content": content}


def text_of(row: Mapping[str, Any], field: str, where: str) -> str:
    """A field that has to hold text; numbers are read as they are written.

    Raises:
        DataError: it is empty or holds something else.
    """
    value = row.get(field)
    if isinstance(value, int | float) and not isinstance(value, bool) and field == "label":
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: field {field!r} is empty or not text")
    if not is_unicode(value):
        raise DataError(f"{where}: field {field!r} is not valid Unicode (a lone surrogate)")
    return value


def _instruction(row: Mapping[str, Any], where: str) -> str:
    prompt = text_of(row, "instruction", where)
    more = row.get("input")
    return f"{prompt}\n\n{more}" if isinstance(more, str) and more.strip() else prompt


def _turn(prompt: str, answer: str) -> list[Message]:
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]


def _pair_of(prompt: str, answer: str) -> Callable[[Mapping[str, Any], str], list[Message]]:
    return lambda row, where: _with_system(
        row, _turn(text_of(row, prompt, where), text_of(row, answer, where))
    )


def _alpaca(row: Mapping[str, Any], where: str) -> list[Message]:
    answer: Message = {"role": "assistant", "content": text_of(row, "output", where)}
    return [*_asked_of_alpaca(row, where), answer]


def _messages(row: Mapping[str, Any], where: str) -> list[Message]:
    return _answered(read_messages(row["messages"], "messages", where), where)


def _sharegpt(row: Mapping[str, Any], where: str) -> list[Message]:
    return _with_system(row, read_messages(row["conversations"], "conversations", where))


def _with_system(row: Mapping[str, Any], messages: list[Message]) -> list[Message]:
    """Messages after the row's `system`, if it has one."""
    system = row.get("system")
    if isinstance(system, str) and system.strip() and messages[0]["role"] != "system":
        return [{"role": "system", "content": system}, *messages]
    return messages


def _asked_of_alpaca(row: Mapping[str, Any], where: str) -> list[Message]:
    """An instruction after what was said before: LLaMA-Factory's `system` and `history`."""
    before: list[Message] = []
    history = row.get("history") or []
    for turn in history if isinstance(history, list) else [history]:
        match turn:
            case [str(asked), str(answered)]:
                before += _turn(asked, answered)
            case _:
                raise DataError(f"{where}: field 'history' is not a list of [question, answer]")
    return _with_system(row, [*before, {"role": "user", "content": _instruction(row, where)}])


def _answered(messages: list[Message], where: str) -> list[Message]:
    if not any(m["role"] == "assistant" and m["content"].strip() for m in messages):
        raise DataError(f"{where}: no message of the assistant to learn from")
    return messages


_READERS: dict[str, Callable[[Mapping[str, Any], str], list[Message] | str]] = {
    "messages": _messages,
    "sharegpt": lambda row, where: _answered(_sharegpt(row, where), where),
    "completion": _pair_of("prompt", "completion"),
    "alpaca": _alpaca,
    "translation": _pair_of("source", "target"),
    "labelled": _pair_of("text", "label"),
    "text": lambda row, where: text_of(row, "text", where),
}
