"""Tasks with a right answer: a model's answers on a test set, and their measures.

The measures themselves are `evaluation/`; how a question looks to the model is `encode_rows.py`.
A classifier answers with its head, a language model by writing, or by ranking the labels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from lilllm.config.schema import GenerateConfig, TaskConfig
from lilllm.data import read_rows
from lilllm.data.conversations import Message, to_messages
from lilllm.data.tables import LabelledTexts, fill_up, targets_of
from lilllm.errors import CheckpointError, DataError
from lilllm.evaluation.classification import classification_measures
from lilllm.evaluation.summarization import lead, summarization_measures
from lilllm.evaluation.translation import translation_measures
from lilllm.events import Caution, Note, Report, counting
from lilllm.inference.engine import Engine
from lilllm.model.transformer import Transformer
from lilllm.stages.encode_rows import RowEncoder
from lilllm.stages.methods.classify import predict
from lilllm.tokenizer import StreamDecoder, Tokenizer
from lilllm.training.objectives.answers import token_logprobs

RANK_ROWS = 16
OTHER_SERIES = 1 << 32
"""Added to the seed of built-in rows, so that they are others than a step with this seed learns."""
SHOWN = 3
"""Answers that a result shows."""


@dataclass(frozen=True, slots=True)
class Scorer:
    """A model that answers the questions of tasks; `labels` are those of its head, if any."""

    model: Transformer
    tokenizer: Tokenizer
    stop_ids: frozenset[int]
    labels: tuple[str, ...]
    seed: int
    report: Report

    def score(self, name: str, task: TaskConfig) -> dict[str, Any]:
        """The measures of one task.

        Raises:
            CheckpointError: a classifier is asked for text.
            ConfigError: the package that measures is not installed.
            DataError: a row cannot be read, there are none, or a label is unknown to the head.
        """
        rows = _Rows.read(task, self.seed + OTHER_SERIES)
        self.report(Note(f"{name}: {len(rows.questions):,} rows of {task.kind}"))
        if self.labels:
            if task.kind != "classification":
                raise CheckpointError(
                    f"eval.tasks.{name}: a classifier writes no text for {task.kind}",
                    "name a language model",
                )
            return self._by_head(name, task, rows)
        shots = _shots(task, self.seed)
        encoder = RowEncoder(self.tokenizer, task.format, task.prompt)
        if task.kind == "classification":
            labels = tuple(sorted({*rows.answers, *(shot[-1]["content"] for shot in shots)}))
            if task.answer == "rank":
                found = self._ranked(name, encoder, rows, shots, labels)
            else:
                found = self._written(name, encoder, task, rows, shots)
            return _shown(rows, found) | classification_measures(rows.answers, found, labels)
        found = self._written(name, encoder, task, rows, shots)
        if task.kind == "translation":
            return _shown(rows, found) | translation_measures(found, rows.answers)
        measures = summarization_measures(found, rows.answers)
        for count in (1, 3):
            first = [lead(question, count) for question in rows.questions]
            measures[f"lead_{count}"] = summarization_measures(first, rows.answers)
        return _shown(rows, found) | measures

    def _by_head(self, name: str, task: TaskConfig, rows: "_Rows") -> dict[str, Any]:
        unknown = next((i for i, said in enumerate(rows.answers) if said not in self.labels), None)
        if unknown is not None:
            raise DataError(
                f"{rows.where[unknown]}: the label {rows.answers[unknown]!r} is none that the "
                f"model knows: {', '.join(self.labels)}"
            )
        encoder = RowEncoder(self.tokenizer, task.format, task.prompt)
        length = self.model.shape.max_seq_len
        texts = [encoder.encode_text(question) for question in rows.questions]
        if cut := sum(len(text) > length for text in texts):
            self.report(Caution(f"{cut:,} texts are longer than {length} tokens and were cut"))
        gold = [self.labels.index(said) for said in rows.answers]
        table = LabelledTexts([text[:length] for text in texts], gold, self.tokenizer.end_id)
        device = str(self.model.output_weight.device)
        on_rows = counting(self.report, name, len(table))
        numbers = predict(self.model, table, RANK_ROWS, device, on_rows)
        found = [self.labels[number] for number in numbers]
        return _shown(rows, found) | classification_measures(rows.answers, found, self.labels)

    def _written(
        self,
        name: str,
        encoder: RowEncoder,
        task: TaskConfig,
        rows: "_Rows",
        shots: list[list[Message]],
    ) -> list[str]:
        """What the model writes for each question, its likeliest token at every step."""
        prompts = [encoder.encode_prompt(_after(shots, asked)) for asked in rows.asked]
        for prompt, where in zip(prompts, rows.where, strict=True):
            self._check_room(len(prompt) + 1, where)
        stop: tuple[str, ...] = ()
        if task.format == "plain":  # a model that was not trained on such rows goes on after a line
            lines = any("\n" in answer for answer in rows.answers)
            stop = ("\n",) if not lines else ("\n\n",) if shots else ()
        options = GenerateConfig(
            temperature=0, max_new_tokens=task.max_new_tokens, top_p=1.0, stop=stop
        )
        engine = Engine(
            self.model,
            stop_ids=self.stop_ids,
            new_decoder=lambda: StreamDecoder(self.tokenizer),
        )
        made = engine.generate(prompts, options, on_step=counting(self.report, name, len(prompts)))
        return [sample.text.strip() for sample in made.samples]

    def _check_room(self, tokens: int, where: str) -> None:
        """Refuse a question that leaves no room for an answer of a token at least."""
        if tokens > self.model.shape.max_seq_len:
            raise DataError(
                f"{where}: the question and an answer have {tokens} tokens, the context holds "
                f"{self.model.shape.max_seq_len}",
                "leave it out, or take fewer shots",
            )

    def _ranked(
        self,
        name: str,
        encoder: RowEncoder,
        rows: "_Rows",
        shots: list[list[Message]],
        labels: tuple[str, ...],
    ) -> list[str]:
        """The label that the model finds likeliest for each question."""
        # where one label begins another, the end of the answer tells them apart
        ended = any(one != other and other.startswith(one) for one in labels for other in labels)
        texts = [
            encoder.encode_answer(_after(shots, asked), label, ended)
            for asked in rows.asked
            for label in labels
        ]
        for number, where in enumerate(rows.where):
            asked = texts[number * len(labels) : (number + 1) * len(labels)]
            self._check_room(max(len(ids) for ids, _ in asked), where)
        on_rows = counting(self.report, name, len(rows.questions))
        scores = self._log_probabilities(texts, lambda done: on_rows(done // len(labels)))
        scores = scores.reshape(-1, len(labels))
        return [labels[number] for number in scores.argmax(-1)]

    def _log_probabilities(
        self, texts: Sequence[tuple[list[int], list[int]]], on_texts: Callable[[int], None]
    ) -> Any:
        device, fill_id = self.model.output_weight.device, self.tokenizer.end_id
        self.model.eval()
        scores, longest = [], max(len(text) for text, _ in texts)
        with torch.no_grad():
            for start in range(0, len(texts), RANK_ROWS):
                part = texts[start : start + RANK_ROWS]
                ids = fill_up([text for text, _ in part], fill_id, longest)
                targets = targets_of(ids, [mask for _, mask in part])
                both = (torch.from_numpy(array).to(device) for array in (ids, targets))
                scores.append(token_logprobs(self.model, *both).sum(dim=1).cpu().numpy())
                on_texts(start + len(part))
        return np.concatenate(scores)


@dataclass(frozen=True, slots=True)
class _Rows:
    """A test set: the messages of each question, right answers, and where each is."""

    asked: list[list[Message]]
    answers: list[str]
    where: list[str]

    @property
    def questions(self) -> list[str]:
        """Their last messages."""
        return [asked[-1]["content"] for asked in self.asked]

    @classmethod
    def read(cls, task: TaskConfig, seed: int) -> "_Rows":
        turns = [
            (turn, where)
            for source in task.sources
            for turn, where in _turns(task, read_rows(source, seed=seed))
        ]
        turns = turns[: task.max_rows]
        if not turns:
            raise DataError("the task has no rows", "look at the `sources` of the task")
        return cls(
            [turn[:-1] for turn, _ in turns],
            [turn[-1]["content"].strip() for turn, _ in turns],
            [where for _, where in turns],
        )


def _turns(task: TaskConfig, rows: Any) -> Any:
    for row, where in rows:
        turn = to_messages(row, where)
        if isinstance(turn, str) or len(turn) < 2 or turn[-2]["role"] != "user":
            raise DataError(
                f"{where}: {task.kind} needs a question and its answer in every row",
                "for example `source` and `target`, or `text` and `label`",
            )
        yield turn, where


def _shots(task: TaskConfig, seed: int) -> list[list[Message]]:
    """The examples that are shown before every question."""
    if not task.shots:
        return []
    if not task.shot_sources:
        raise DataError("the task has shots, but no shot_sources to take them from")
    rows: Callable[[], Any] = lambda: (  # noqa: E731
        turn
        for source in task.shot_sources
        for turn, _ in _turns(task, read_rows(source, seed=seed))
    )
    shots = [
        [message for message in turn if message["role"] != "system"]
        for turn in islice(rows(), task.shots)
    ]
    if len(shots) < task.shots:
        raise DataError(f"shots={task.shots}, but shot_sources have only {len(shots)} rows")
    return shots


def _after(shots: list[list[Message]], asked: list[Message]) -> list[Message]:
    """What is asked, after the examples; a system message stays in front."""
    system = [message for message in asked[:1] if message["role"] == "system"]
    return [*system, *(message for shot in shots for message in shot), *asked[len(system) :]]


def _shown(rows: _Rows, found: list[str]) -> dict[str, Any]:
    """The first answers, to read."""
    three = zip(rows.questions, found, rows.answers, strict=True)
    return {
        "samples": [
            {"question": question, "answer": said, "right": right}
            for question, said, right in islice(three, SHOWN)
        ]
    }
