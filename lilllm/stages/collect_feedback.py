"""Feedback: two answers to the same question, blind, and what a person thought of them.

Where it is asked, on a terminal or on a page, is not known here. Rows are `data/feedback.py`'s.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, permutations
from pathlib import Path
from random import Random
from typing import Any

from lilllm.config import Config, layout
from lilllm.config.schema import GenerateConfig, SourceConfig
from lilllm.data import read_documents, read_rows
from lilllm.data.conversations import prompt_messages
from lilllm.data.feedback import Shown, edit_row, thumb_row, vote_row
from lilllm.data.journal import Journal
from lilllm.errors import DataError
from lilllm.events import Caution, Report
from lilllm.inference import Engine
from lilllm.model.checkpoint import weights_hash
from lilllm.stages.find_checkpoint import Loaded
from lilllm.stages.generate import make_engine
from lilllm.tokenizer import whole

TRIES = 5  # seeds that are tried until two answers differ


@dataclass(frozen=True, slots=True)
class FeedbackResult:
    """Where the rows are, and how many of each kind this call added."""

    path: Path
    rows: int
    votes: int
    ties: int
    thumbs: int
    edits: int


@dataclass(frozen=True, slots=True)
class Pair:
    """Two different answers to one question, in the order in which they are shown."""

    prompt: str
    shown: tuple[Shown, Shown]


@dataclass(slots=True)
class Collector:
    """Makes pairs and keeps what is said of them.

    Attributes:
        journal: where rows go, each on disk before the call returns.
        options: how answers are sampled.
        report: is told of prompts to which there is only one answer.
        writers: one checkpoint, which answers twice, or two.
        seed: of answers and of the order in which they are shown.
    """

    journal: Journal
    options: GenerateConfig
    report: Report
    writers: Sequence[Loaded]
    seed: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    _engines: list[Engine] = field(init=False)
    _hashes: list[str] = field(init=False)  # of the writers' weights
    _judged: set[tuple[str, str, int, str]] = field(init=False)

    def __post_init__(self) -> None:
        """Know what was judged before, so that it is not asked again."""
        self._engines = [make_engine(loaded) for loaded in self.writers]
        self._hashes = [weights_hash(loaded.folder) for loaded in self.writers]
        self._judged = {
            (row["prompt"], one["weights"], one["seed"], other["weights"])
            for row, _ in self.journal.rows()
            for one, other in permutations(row.get("shown", ()), 2)  # the sides are drawn
        }

    def was_judged(self, number: int, prompt: str) -> bool:
        """Whether an earlier call showed what `pair` would make, to somebody who judged it."""
        seed = self._draw(number).getrandbits(31)
        return (prompt, self._hashes[0], seed, self._hashes[-1]) in self._judged

    def pair(self, number: int, prompt: str) -> Pair | None:
        """Two different answers, the order drawn; None when the answers are always the same.

        Raises:
            ConfigError: the prompt does not fit into the context.
        """
        draw = self._draw(number)
        left = self._answer(0, prompt, draw.getrandbits(31))
        for _ in range(TRIES):
            right = self._answer(-1, prompt, draw.getrandbits(31))
            if right.text.strip() != left.text.strip() and left.text.strip():
                both = (left, right) if draw.random() < 0.5 else (right, left)
                return Pair(prompt, both)
        self.report(Caution(f"passed over, both answers are the same: {prompt[:60]!r}"))
        return None

    def vote(self, pair: Pair, better: int | None, reason: str = "") -> None:
        """Keep which answer was better (0, 1, or None), and why."""
        self.journal.append([vote_row(pair.prompt, pair.shown, better, whole(reason))])
        self.counts["ties" if better is None else "votes"] += 1

    def thumb(self, pair: Pair, which: int, good: bool) -> None:
        """Keep a thumb up or down."""
        self.journal.append([thumb_row(pair.prompt, pair.shown, which, good)])
        self.counts["thumbs"] += 1

    def edit(self, pair: Pair, which: int, text: str) -> None:
        """Keep what an answer should have been.

        Raises:
            ValueError: nothing was changed, or nothing is left.
        """
        self.journal.append([edit_row(pair.prompt, pair.shown, which, whole(text))])
        self.counts["edits"] += 1

    def result(self) -> FeedbackResult:
        """What this call added, and all there is."""
        rows = sum(1 for _ in self.journal.rows())
        kinds = {kind: self.counts[kind] for kind in ("votes", "ties", "thumbs", "edits")}
        return FeedbackResult(self.journal.path, rows, **kinds)

    def _draw(self, number: int) -> Random:
        return Random(f"lilllm/feedback/{self.seed}/{number}")

    def _answer(self, writer: int, prompt: str, seed: int) -> Shown:
        loaded = self.writers[writer]
        if loaded.chat_trained and loaded.tokenizer.chat_template is not None:
            message = [{"role": "user", "content": prompt}]
            ids = loaded.tokenizer.encode_chat(message, add_generation_prompt=True)
        else:
            ids = loaded.prompt_ids(prompt)
        made = self._engines[writer].generate(ids, self.options, seed=seed).samples[0]
        return Shown(made.text, str(loaded.folder), self._hashes[writer], seed)


def default_path(loaded: Loaded) -> Path:
    """`feedback.jsonl` in the folder of the run that made a checkpoint."""
    config = loaded.config or Config(name="feedback")
    return layout(config).feedback


def read_prompts(path: str, seed: int) -> Iterator[str]:
    """Questions of a source, again and again: rows of any shape, or one a line of a .txt file.

    Raises:
        DataError: it cannot be read, or asks nothing.
    """
    if path.endswith(".txt"):
        source = SourceConfig(path=path, separator="")
        lines = [line for document in read_documents(source) for line in document.text.splitlines()]
        questions = [line.strip() for line in lines if line.strip()]
    else:
        rows: Iterator[tuple[dict[str, Any], str]] = read_rows(SourceConfig(path=path), seed=seed)
        questions = []
        for row, where in rows:
            asked = [m for m in prompt_messages(row, where) if m["role"] == "user"]
            questions += [message["content"] for message in asked[:1]]
    if not questions:
        raise DataError(f"{path}: no questions in it")
    for number in count():
        yield questions[number % len(questions)]
