"""Conversations as ids, and which of them an assistant has to learn.

The chat template decides how a conversation looks. What it made of the messages is found again
by markers of noncharacters of Unicode: a pair stands around each assistant's words, and one inside
every special token that somebody typed into a message, so that it stays plain text.
"""

import re
import secrets
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import cache
from typing import Protocol

import tokenizers

from lilllm.errors import DataError, LilllmError
from lilllm.tokenizer.template import Message

NONCHARACTERS = [chr(code) for code in range(0xFDD0, 0xFDF0)]


def _marker() -> str:
    """A string that no message has: it is another one in each process, and never shown."""
    return "".join(secrets.choice(NONCHARACTERS) for _ in range(16))


GUARD, BEGIN, END = _marker(), _marker(), _marker()
MARKS = re.compile(f"{BEGIN}(\\d+){BEGIN}|{END}(\\d+){END}")

Span = tuple[int, int]


class ChatTokenizer(Protocol):
    """What conversations need of a tokenizer."""

    special_names: tuple[str, ...]
    stop_ids: frozenset[int]
    chat_template: str | None

    @property
    def inner(self) -> tokenizers.Tokenizer:
        """Takes special tokens in a text for plain text."""
        ...

    @property
    def with_specials(self) -> tokenizers.Tokenizer:
        """Finds special tokens in a text."""
        ...

    def guarded(self, spelling: tuple[str, ...]) -> tuple[tokenizers.Tokenizer, dict[int, int]]:
        """Finds special tokens only in another spelling; and its ids for them to the real ones."""
        ...

    def render_chat(self, messages: Sequence[Message], add_generation_prompt: bool = False) -> str:
        """The text of a conversation."""
        ...


def encode_chat(
    tokenizer: ChatTokenizer, messages: Sequence[Message], add_generation_prompt: bool = False
) -> list[int]:
    """Ids of a conversation; the special tokens in it are the template's alone."""
    marked = _Marked(tokenizer, messages)
    return marked.encode(marked.render(messages, add_generation_prompt))[0]


def encode_conversation(
    tokenizer: ChatTokenizer, messages: Sequence[Message]
) -> tuple[list[int], list[int]]:
    """Ids of a conversation, and 1 for each that an assistant has to say.

    Raises:
        DataError: an assistant's words cannot be found in what the template made of them.
    """
    marked = _Marked(tokenizer, messages)
    text = marked.render(messages)
    ids, offsets = marked.encode(text)
    begins, ends = [begin for begin, _ in offsets], [end for _, end in offsets]
    mask = [0] * len(ids)
    for turn, (begin, end) in marked.find_words(messages, text).items():
        prompt_end = marked.prompt_end(messages[:turn], text)
        if prompt_end < begin and text[prompt_end:begin].isspace():
            begin = prompt_end  # a space before the words, which the assistant has to write too
        first, last = bisect_right(ends, begin), bisect_left(begins, end)
        if first < last and begins[first] < prompt_end:  # it also spells the prompt's end
            first += 1
        after = last
        while after < len(ids) and not text[begins[after] : ends[after]].strip():
            after += 1
        if after < len(ids) and ids[after] in tokenizer.stop_ids:
            last = after + 1
        mask[first:last] = [1] * (last - first)
    return ids, mask


def turn_end(tokenizer: ChatTokenizer) -> str | None:
    """The special token that the chat template puts after an assistant's words, if any."""
    if tokenizer.chat_template is None:
        return None
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": END}]
    try:
        _, found, after = tokenizer.render_chat(messages).rpartition(END)
    except LilllmError:  # it wants other messages than these; nothing to learn here
        return None
    names = sorted(tokenizer.special_names, key=len, reverse=True)
    return next((name for name in names if found and after.lstrip().startswith(name)), None)


class _Marked:
    """Renders one conversation with markers in it, and reads them out of the result.

    When a message types a special token, that one gets a marker inside; after rendering, the
    template's own ones are the marked ones and the typed ones are text.
    """

    def __init__(self, tokenizer: ChatTokenizer, messages: Sequence[Message]) -> None:
        self._tokenizer = tokenizer
        words = [value for message in messages for value in message.values() if _is_text(value)]
        names = tokenizer.special_names
        self._guarded = {name: name[0] + GUARD + name[1:] for name in names}
        self._find = _alternatives(names)
        self._typed = any(self._find.search(value) for value in words)

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = False) -> str:
        """The text to encode."""
        if not self._typed:
            return self._tokenizer.render_chat(messages, add_generation_prompt)
        kept = [
            {
                key: self._find.sub(self._guard, value) if _is_text(value) else value
                for key, value in message.items()
            }
            for message in messages
        ]
        text = self._tokenizer.render_chat(kept, add_generation_prompt)
        spelling = {**self._guarded, **{typed: name for name, typed in self._guarded.items()}}
        return _alternatives(tuple(spelling)).sub(lambda found: spelling[found.group()], text)

    def encode(self, text: str) -> tuple[list[int], list[Span]]:
        """Ids of a rendered text, and which characters each one spells."""
        if not self._typed:
            encoding = self._tokenizer.with_specials.encode(text, add_special_tokens=False)
            return encoding.ids, encoding.offsets
        inner, real = self._tokenizer.guarded(tuple(self._guarded.values()))
        encoding = inner.encode(text, add_special_tokens=False)
        return [real.get(id, id) for id in encoding.ids], encoding.offsets

    def prompt_end(self, history: Sequence[Message], text: str) -> int:
        """Where what an assistant is given ends, or 0 when the template shows it otherwise."""
        try:
            prompt = self.render(history, add_generation_prompt=True)
        except LilllmError:
            return 0
        return len(prompt) if text.startswith(prompt) else 0

    def find_words(self, messages: Sequence[Message], text: str) -> dict[int, Span]:
        """By index of the message, where each assistant's words are in a rendered text.

        Words that the template left out are absent.
        """
        turns = [
            index
            for index, message in enumerate(messages)
            if message.get("role") == "assistant" and _is_text(message.get("content"))
        ]
        marked = list(messages)
        for turn in turns:
            marked[turn] = {**messages[turn], "content": self._mark(turn, messages[turn])}
        rendered = self.render(marked) if turns else text
        plain, begins, ends = self._read_marks(rendered)
        if plain != text:  # the template treats marked words otherwise than the words themselves
            return {turn: self._words_by_prefix(messages, turn, text) for turn in turns}
        found: dict[int, Span] = {}
        for turn in turns:
            begin, end = begins.get(turn), ends.get(turn)
            words = messages[turn]["content"].strip()
            if begin is None and end is not None:  # the beginning was cut, as thoughts are
                least = self.prompt_end(messages[:turn], text)
                begin = max(least, end - _common_length(text[:end][::-1], words[::-1]))
            if begin is not None:
                found[turn] = (begin, end or begin + _common_length(text[begin:], words))
        return found

    def _words_by_prefix(self, messages: Sequence[Message], turn: int, text: str) -> Span:
        """Where one assistant's words are: last in what their message adds.

        Raises:
            DataError: they are not there, or the message changes what was before it.
        """
        prompt = self.render(messages[:turn], add_generation_prompt=True)
        whole = self.render(messages[: turn + 1])
        if not (text.startswith(whole) and whole.startswith(prompt)):
            raise DataError(
                f"the chat template hides where the assistant's words are (message {turn + 1})",
                "use a template that keeps what it wrote when a message is added",
            )
        words = messages[turn]["content"].strip()
        begin = whole.rfind(words, len(prompt)) if words else len(prompt)
        if begin < 0:
            raise DataError(
                f"the chat template changes the assistant's words (message {turn + 1})",
                "use a template that shows them as they are",
            )
        return begin, begin + len(words)

    def _guard(self, found: re.Match[str]) -> str:
        return self._guarded[found.group()]

    def _mark(self, turn: int, message: Message) -> str:
        """Markers inside the outer white space, which templates like to strip."""
        content = message["content"]
        core = content.strip()
        lead = content[: len(content) - len(content.lstrip())]
        trail = content[len(lead) + len(core) :]
        return f"{lead}{BEGIN}{turn}{BEGIN}{core}{END}{turn}{END}{trail}"

    def _read_marks(self, rendered: str) -> tuple[str, dict[int, int], dict[int, int]]:
        """The text without markers, and by turn where its words begin and end."""
        parts: list[str] = []
        length = at = 0
        begins: dict[int, int] = {}
        ends: dict[int, int] = {}
        for found in MARKS.finditer(rendered):
            parts.append(rendered[at : found.start()])
            length += found.start() - at
            at = found.end()
            if found.group(1) is not None:
                begins[int(found.group(1))] = length
            else:
                ends[int(found.group(2))] = length
        return "".join([*parts, rendered[at:]]), begins, ends


@cache
def _alternatives(names: tuple[str, ...]) -> re.Pattern[str]:
    """Finds any of some strings, the longest where several begin."""
    longest_first = sorted(names, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _common_length(one: str, other: str) -> int:
    """How many characters two strings have in common from the beginning."""
    pairs = zip(one, other, strict=False)
    return next(
        (at for at, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other))
    )
