"""Conversations as ids, and which of them an assistant has to learn.

The chat template decides how a conversation looks. What it made of the messages is found again
by markers: noncharacters of Unicode that stand around each assistant's words, and inside special
tokens that somebody typed into a message, so that those stay plain text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import tokenizers

from lilllm.errors import CheckpointError, DataError, LilllmError
from lilllm.tokenizer.parse import parse_tokenizer
from lilllm.tokenizer.template import Message

GUARD, BEGIN, END = "\ufdd0", "\ufdd1", "\ufdd2"


class ChatTokenizer(Protocol):
    """What conversations need of a tokenizer."""

    inner: tokenizers.Tokenizer
    text: str
    chat_template: str | None
    special_ids: frozenset[int]
    stop_ids: frozenset[int]

    def render_chat(self, messages: Sequence[Message], add_generation_prompt: bool = False) -> str:
        """The text of a conversation."""
        ...


def encode_chat(
    tokenizer: ChatTokenizer, messages: Sequence[Message], add_generation_prompt: bool = False
) -> list[int]:
    raise NotImplementedError


def encode_conversation(
    tokenizer: ChatTokenizer, messages: Sequence[Message]
) -> tuple[list[int], list[int]]:
    raise NotImplementedError


def turn_end_id(tokenizer: ChatTokenizer) -> int | None:
    return None
