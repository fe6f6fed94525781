"""Rows of finetuning as the model sees them: ids, and which of them it has to learn.

How a row's fields become messages is `data/conversations.py`, how a chat template becomes ids is
`tokenizer/chat.py`. Here is what a step's `format`, `prompt` and `too_long` say about them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lilllm.config.schema import FinetuneConfig
from lilllm.data.conversations import Message
from lilllm.errors import DataError
from lilllm.tokenizer import Tokenizer

Encoded = tuple[list[int], list[int]]
"""Ids, and 1 for each that has to be learnt."""


@dataclass(frozen=True, slots=True)
class RowEncoder:
    """Encodes rows for one tokenizer.

    Attributes:
        tokenizer: of the model.
        format: chat: the tokenizer's template; plain: question, newline, answer, end-of-text.
        prompt: what a question is put into, at `{prompt}`.
    """

    tokenizer: Tokenizer
    format: str = "chat"
    prompt: str = "{prompt}"

    @classmethod
    def of(cls, tokenizer: Tokenizer, section: FinetuneConfig) -> "RowEncoder":
        """As a step says."""
        return cls(tokenizer, section.format, section.prompt)

    @property
    def first_id(self) -> int:
        """The token that begins every row: BOS, or end-of-text where there is none."""
        bos = self.tokenizer.bos_id
        return self.tokenizer.end_id if bos is None else bos

    def encode(self, row: Sequence[Message] | str) -> Encoded:
        """Ids and mask of a plain text or of a conversation with its answers.

        Raises:
            DataError: `format: plain` of something else than one question and its answer.
        """
        if isinstance(row, str):
            ids = [*self.tokenizer.encode(row), self.tokenizer.end_id]
            return [self.first_id, *ids], [0] + [1] * len(ids)
        if self.format == "chat":
            return self.tokenizer.encode_conversation(self.word(row))
        if [message["role"] for message in row] != ["user", "assistant"]:
            raise DataError("format=plain needs rows of one question and one answer")
        asked = self.encode_prompt(row[:1])
        answer = [*self.tokenizer.encode(row[1]["content"]), self.tokenizer.end_id]
        return asked + answer, [0] * len(asked) + [1] * len(answer)

    def encode_text(self, text: str) -> list[int]:
        """Ids of a text that is read as a whole, put into `prompt`; no end follows it."""
        begin = [] if self.tokenizer.bos_id is None else [self.tokenizer.bos_id]
        return [*begin, *self.tokenizer.encode(self.prompt.replace("{prompt}", text))]

    def encode_prompt(self, messages: Sequence[Message]) -> list[int]:
        """Ids after which the assistant answers; the beginning of `encode`'s."""
        worded = self.word(messages)
        if self.format == "chat":
            return self.tokenizer.encode_chat(worded, add_generation_prompt=True)
        text = "".join(  # examples of questions and answers may stand before the question
            message["content"] + ("\n\n" if message["role"] == "assistant" else "\n")
            for message in worded
        )
        return [self.first_id, *self.tokenizer.encode(text)]

    def encode_answer(
        self, messages: Sequence[Message], answer: str, ended: bool = False
    ) -> Encoded:
        """A question with one answer that it may have, which is marked.

        Args:
            messages: up to the question.
            answer: its words.
            ended: mark also what ends it: the template's end of a turn, or as between examples an
                empty line.
        """
        prompt = self.encode_prompt(messages)
        if ended and self.format == "chat":
            whole = [*self.word(messages), {"role": "assistant", "content": answer}]
            ids, mask = self.tokenizer.encode_conversation(whole)
            return ids, [0] * len(prompt) + mask[len(prompt) :]
        ids = self.tokenizer.encode(answer + "\n\n" if ended else answer)
        return prompt + ids, [0] * len(prompt) + [1] * len(ids)

    def word(self, messages: Sequence[Message]) -> list[Message]:
        """Messages whose questions are put into `prompt`."""
        return [
            {**message, "content": self.prompt.replace("{prompt}", message["content"])}
            if message["role"] == "user"
            else dict(message)
            for message in messages
        ]

    def split(self, row: Sequence[Message] | str, length: int) -> list[Encoded]:
        """A row that is too long, in parts of at most `length` tokens.

        A text is cut anywhere and each part begins like a text; a conversation is cut before a
        question, so that no turn loses its end, and each part begins with the system message.
        Turns that are too long by themselves are left out.
        """
        if isinstance(row, str):
            ids = [*self.tokenizer.encode(row), self.tokenizer.end_id]
            parts = [ids[at : at + length - 1] for at in range(0, len(ids), length - 1)]
            return [([self.first_id, *part], [0] + [1] * len(part)) for part in parts]
        system = [message for message in row[:1] if message["role"] == "system"]
        turns: list[list[Message]] = []
        for message in row[len(system) :]:
            if message["role"] == "user" or not turns:
                turns.append([])
            turns[-1].append(message)
        parts_of: list[Encoded] = []
        held: list[Message] = []
        for turn in turns:
            if held and len(self.encode([*system, *held, *turn])[0]) <= length:
                held += turn
                continue
            if held:
                parts_of.append(self.encode([*system, *held]))
            held = turn if len(self.encode([*system, *turn])[0]) <= length else []
        if held:
            parts_of.append(self.encode([*system, *held]))
        return [part for part in parts_of if any(part[1])]
