"""Chats as ids, and which of those ids a model learns to write.

Works for any template: what an assistant wrote is found in the rendered text itself, by
rendering once more with marks in place of the contents.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lilllm.tokenizer.chat import Rendered, render

if TYPE_CHECKING:
    from lilllm.tokenizer.tokenizer import Tokenizer

Message = Mapping[str, str]
Span = tuple[int, int]
Token = tuple[int, int, int]  # id, first character, one past its last


def encode_chat(
    tokenizer: "Tokenizer", messages: Sequence[Message], add_generation_prompt: bool = False
) -> list[int]:
    """Ids of a rendered chat; special tokens only where the template itself wrote them."""
    rendered = render(tokenizer, messages, add_generation_prompt)
    if not rendered.typed:
        encoding = tokenizer.parsing.encode(rendered.text, add_special_tokens=False)
        return list(encoding.ids)
    return [id for id, _, _ in _encode(tokenizer, rendered)]


def encode_conversation(
    tokenizer: "Tokenizer", messages: Sequence[Message]
) -> tuple[list[int], list[int]]:
    """Ids of a rendered chat, and 1 where the model should learn the token, else 0."""
    rendered = render(tokenizer, messages)
    tokens = _encode(tokenizer, rendered)
    spans = rendered.generated or _assistant_spans(tokenizer, messages, rendered.text)
    spans = tuple(_with_turn_end(tokenizer, tokens, span) for span in spans)
    mask = [0] * len(tokens)
    position = 0
    for index, (_, start, stop) in enumerate(tokens):
        while position < len(spans) and spans[position][1] <= start:
            position += 1
        inside = position < len(spans) and spans[position][0] <= start < spans[position][1]
        mask[index] = int(inside and stop > start)
    return [id for id, _, _ in tokens], mask


def _encode(tokenizer: "Tokenizer", rendered: Rendered) -> list[Token]:
    """Tokens with their characters; special tokens that contents spell are plain text."""
    if not rendered.typed:
        encoding = tokenizer.parsing.encode(rendered.text, add_special_tokens=False)
        return [(id, *span) for id, span in zip(encoding.ids, encoding.offsets, strict=True)]
    names = sorted(
        (t for t, id in tokenizer.vocabulary.items() if id in tokenizer.special_ids),
        key=len,
        reverse=True,
    )
    tokens: list[Token] = []
    begin = 0
    for match in re.finditer("|".join(map(re.escape, names)), rendered.text):
        if any(start < match.end() and match.start() < stop for start, stop in rendered.typed):
            continue
        tokens += _encode_plain(tokenizer, rendered.text, begin, match.start())
        tokens.append((tokenizer.vocabulary[match.group()], match.start(), match.end()))
        begin = match.end()
    return tokens + _encode_plain(tokenizer, rendered.text, begin, len(rendered.text))


def _encode_plain(tokenizer: "Tokenizer", text: str, begin: int, end: int) -> list[Token]:
    encoding = tokenizer.plain.encode(text[begin:end], add_special_tokens=False)
    return [
        (id, begin + start, begin + stop)
        for id, (start, stop) in zip(encoding.ids, encoding.offsets, strict=True)
    ]


def _assistant_spans(
    tokenizer: "Tokenizer", messages: Sequence[Message], text: str
) -> tuple[Span, ...]:
    """Where the assistant's contents stand in the rendered text.

    The template's own text around the contents is learnt by rendering numbered marks, then the
    real text is walked along it. Templates may strip a content, or cut a part of it.
    """
    marks = [f"\ufdd3{index}\ufdd4" for index in range(len(messages))]
    marked = [{**m, "content": mark} for m, mark in zip(messages, marks, strict=True)]
    frame = render(tokenizer, marked).text
    spans: list[Span] = []
    found = [i for i, mark in enumerate(marks) if mark in frame]
    position = 0
    for order, index in enumerate(found):
        before, _, frame = frame.partition(marks[index])
        start = position + len(before)
        following = marks[found[order + 1]] if order + 1 < len(found) else None
        after = frame.partition(following)[0] if following else frame
        stop = _content_end(
            text, start, str(messages[index].get("content", "")), after, not following
        )
        if messages[index]["role"] == "assistant":
            spans.append((_learnt_from(tokenizer, messages[:index], text, position, start), stop))
        position = stop
    return tuple(spans)


def _content_end(text: str, start: int, content: str, after: str, last: bool) -> int:
    """One past a content that starts at `start` and is followed by the template's `after`."""
    for candidate in (content, content.strip(), content.lstrip(), content.rstrip()):
        stop = start + len(candidate)
        if text.startswith(candidate, start) and text.startswith(after, stop):
            return stop
    if last:
        return max(start, len(text) - len(after))
    stop = text.find(after, start)
    return stop if stop >= 0 else start


def _learnt_from(
    tokenizer: "Tokenizer", history: Sequence[Message], text: str, earliest: int, content: int
) -> int:
    """First character to learn of an assistant's turn.

    That is where a generation prompt ends, when nothing but whitespace lies between it and the
    content (a template may join the two), and else where the content begins.
    """
    if not text[earliest:content][-1:].isspace():
        return content
    prompt = render(tokenizer, history, add_generation_prompt=True).text if history else ""
    if (
        prompt
        and earliest <= len(prompt) <= content
        and text.startswith(prompt)
        and not text[len(prompt) : content].strip()
    ):
        return len(prompt)
    return content


def _with_turn_end(tokenizer: "Tokenizer", tokens: Sequence[Token], span: Span) -> Span:
    """The span with the special token right after it, whitespace between them allowed."""
    for id, start, stop in tokens:
        if start < span[1]:
            continue
        if id in tokenizer.special_ids:
            return (span[0], stop) if id in tokenizer.stop_ids else span
        if tokenizer.token_bytes(id).strip():
            return span
    return span
