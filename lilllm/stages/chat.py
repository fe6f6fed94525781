"""A conversation with a checkpoint: its history, what of it still fits, and saving it.

How it looks on a terminal is `cli/chat.py`'s.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lilllm.config.schema import GenerateConfig
from lilllm.data.journal import Journal
from lilllm.errors import ConfigError, LilllmError
from lilllm.events import Caution, Note, Report, silent
from lilllm.files import read_json, write_error, write_json
from lilllm.inference import Engine, Sample
from lilllm.stages.find_checkpoint import Loaded
from lilllm.stages.generate import make_engine
from lilllm.tokenizer import whole

Message = dict[str, str]
SAVED = b'{\n  "checkpoint": '  # how files of `Chat.save` begin
SAVED_LINE = b'{"checkpoint": '
OTHER_NAME = "give /save another name"
ANSWER_SHARE = 4  # this part of the context is kept free for the answer, at least


@dataclass(slots=True)
class Chat:
    """A conversation. A base model continues each text by itself and remembers nothing.

    Attributes:
        loaded: the opened checkpoint.
        options: how to sample; may be replaced between turns.
        report: is told what was dropped.
        seed: of the first answer; each further one has the next.
        system: a system message that is always kept; empty for none.
        turns: what was said, oldest first.
        forgotten: turns at the beginning that no longer fit into the context.
    """

    loaded: Loaded
    options: GenerateConfig
    report: Report
    seed: int = 0
    system: str = ""
    turns: list[Message] = field(default_factory=list)
    forgotten: int = 0
    _engine: Engine = field(init=False)

    def __post_init__(self) -> None:
        """One engine for the whole conversation: it remembers what it has read."""
        self._engine = make_engine(self.loaded)

    @property
    def answers(self) -> bool:
        """Whether the model was trained to answer, rather than to continue text."""
        return self.loaded.chat_trained and self.loaded.tokenizer.chat_template is not None

    @property
    def messages(self) -> list[Message]:
        """The conversation with its system message, and with what is forgotten."""
        return self._with_system(self.turns)

    def greet(self) -> None:
        """Say what kind of model this is."""
        if not self.answers:
            self.report(
                Note(
                    "this base model was not trained to chat: it continues each text you write, "
                    "and remembers none"
                )
            )

    def say(self, text: str, on_text: Callable[[str], None] | None = None) -> Sample:
        """Let the model answer, piece by piece.

        When `on_text` raises KeyboardInterrupt, or it comes otherwise, what was said so far
        stays in the history as the answer.

        Raises:
            ConfigError: the message alone does not fit into the context.
            DataError: the chat template cannot render it. In both cases it is not kept.
        """
        self.turns.append({"role": "user", "content": whole(text)})
        heard: list[str] = []

        def listen(_: int, piece: str) -> None:
            heard.append(piece)
            if on_text is not None:
                on_text(piece)

        try:
            ids = self._prompt()
        except LilllmError:
            self.turns.pop()
            raise
        try:
            made = self._engine.generate(ids, self.options, seed=self.seed, on_text=listen)
        finally:
            self.turns.append({"role": "assistant", "content": "".join(heard)})
            self.seed += 1
        return made.samples[0]

    def undo(self) -> str | None:
        """Take back the last message and its answer; what the message was, None without one."""
        if not self.turns:
            return None
        said = self.turns[-2]["content"]
        del self.turns[-2:]
        self.forgotten = min(self.forgotten, len(self.turns))
        return said

    def reset(self) -> None:
        """Forget what was said; the system message stays."""
        self.turns.clear()
        self.forgotten = 0

    def save(self, path: Path) -> None:
        """Write the conversation as a row for finetuning: `{"messages": [...]}`.

        A .jsonl file gets one line more; any other is made, or replaced if it was saved so.

        Raises:
            ConfigError: something else is there, or no file can have this name.
            RunError: it cannot be written.
        """
        row = {"checkpoint": whole(str(self.loaded.folder)), "messages": self.messages}
        try:
            path = path.expanduser()
            if path.suffix == ".jsonl":
                Journal(path, silent, begins=SAVED_LINE).append([row])
                return
            if path.exists() and not _is_saved(path):
                raise ConfigError(f"{path}: there already, and no saved conversation", OTHER_NAME)
            write_json(path, row)
        except OSError as err:
            raise write_error(path, err) from err
        except (RuntimeError, ValueError) as err:  # no such ~user, a null character
            raise ConfigError(f"{path}: not the name of a file ({err})", OTHER_NAME) from err

    def _prompt(self) -> list[int]:
        """Ids of as much of the conversation as leaves room for an answer."""
        context = self.loaded.model.shape.max_seq_len
        if not self.answers:
            return self._fitting(self.loaded.prompt_ids(self.turns[-1]["content"]), context)
        most = context - min(self.options.max_new_tokens, context // ANSWER_SHARE)
        before = self.forgotten
        while True:
            seen = self._with_system(self.turns[self.forgotten :])
            ids = self.loaded.tokenizer.encode_chat(seen, add_generation_prompt=True)
            if len(ids) <= most or self.forgotten == len(self.turns) - 1:
                break
            self.forgotten += 2  # a question and its answer
        if self.forgotten > before:
            number = self.forgotten - before
            self.report(Caution(f"the context is full: the oldest {number} messages are forgotten"))
        return self._fitting(ids, context)

    def _with_system(self, turns: list[Message]) -> list[Message]:
        system = whole(self.system)
        return [{"role": "system", "content": system}, *turns] if system else turns

    def _fitting(self, ids: list[int], context: int) -> list[int]:
        if len(ids) > context:
            raise ConfigError(
                f"the message has {len(ids)} tokens, the model's context is {context}",
                "say it shorter",
            )
        return ids


def _is_saved(path: Path) -> bool:
    """Whether a file is a conversation that `Chat.save` wrote; any other is hardly read."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        if file.read(len(SAVED)) != SAVED:
            return False
    return set(read_json(path, ConfigError)) == {"checkpoint", "messages"}
