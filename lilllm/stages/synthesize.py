"""Synthetic data: a writer answers a recipe's asks, and what passes is kept with its provenance.

The folder holds `rows.jsonl` (rows to train on), `rejected.jsonl` (answers that were not kept and
why) and `settings.json`. Both journals name the ask of every line, so an interrupted run goes on
with the asks that have no line yet. Recipes are `data/synthesis/`, writers `writers.py`.
"""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from lilllm.config import Config, layout
from lilllm.config.schema import SynthConfig
from lilllm.data import read_rows
from lilllm.data.conversations import to_messages
from lilllm.data.journal import Journal
from lilllm.data.synthesis import Ask, Read, Recipe, SelfInstruct, StoryRecipe
from lilllm.errors import ConfigError, DataError
from lilllm.events import Note, Progress, Report
from lilllm.files import lock_folder, read_json, write_error, write_json
from lilllm.stages.writers import Answer, Writer, open_writer

FREE_KEYS = frozenset({"rows", "timeout_seconds", "retries", "api_key_variable"})
IN_VAIN = 100
"""Answers in a row of which none is kept, after which going on is pointless."""


@dataclass(frozen=True, slots=True)
class SynthResult:
    """`rows` are kept in `path` in all, `written` of them by this call; `rejected` by reason."""

    path: Path
    writer: str
    rows: int
    written: int
    asks: int
    rejected: dict[str, int]
    seconds: float


JOURNALS = ("rows.jsonl", "rejected.jsonl")
"""What was kept, and what was not."""


def run(config: Config, report: Report, fresh: bool = False) -> SynthResult:
    """Let the writer write until `synth.rows` are kept.

    Raises:
        CheckpointError: the writer's checkpoint is missing or damaged.
        ConfigError: begun with other settings, or the server refuses the request.
        DataError: the seed tasks cannot be read, or the answers are all rejected.
        RunError: the server does not answer, or the disk is full. What was kept stays.
    """
    began = time.monotonic()
    folder = layout(config).synth
    with lock_folder(folder):
        if fresh and folder.exists():
            old = folder.with_name(f"{folder.name}-{time.strftime('%Y%m%d-%H%M%S')}")
            try:
                folder.rename(old)
            except OSError as err:
                raise write_error(folder, err) from err
        recipe = make_recipe(config)
        writer = open_writer(config, report)
        _check_settings(folder, config, writer)
        work = _Synthesis(config, folder, recipe, writer, report)
        before = work.count
        if before:
            report(Note(f"{folder}: {before:,} rows are there, going on"))
        work.run()
    return SynthResult(
        path=work.kept.path,
        writer=writer.identity["writer"],
        rows=work.count,
        written=work.count - before,
        asks=len(work.answered),
        rejected=dict(work.reasons.most_common()),
        seconds=time.monotonic() - began,
    )


def make_recipe(config: Config) -> Recipe:
    """The recipe that a config names.

    Raises:
        DataError: the seed tasks cannot be read.
    """
    section = config.synth
    words = (section.min_words, section.max_words)
    if section.recipe == "stories":
        return StoryRecipe(config.seed, section.features, words)
    seeds = list(_seed_tasks(section))
    if not seeds:
        assert section.seeds is not None
        raise DataError(f"{section.seeds.path}: no seed tasks in it")
    return SelfInstruct(
        config.seed, seeds, section.tasks_per_request, section.max_similarity, words
    )


class _Synthesis:
    """The journals, what they say has been done, and the loop."""

    def __init__(
        self, config: Config, folder: Path, recipe: Recipe, writer: Writer, report: Report
    ) -> None:
        self.section, self.config, self.report = config.synth, config, report
        self.recipe, self.writer = recipe, writer
        self.kept = Journal(folder / JOURNALS[0], report)
        self.rejected = Journal(folder / JOURNALS[1], report)
        self.reasons: Counter[str] = Counter()
        self.earlier: list[dict[str, Any]] = []  # rows that earlier rounds kept
        self.latest: list[tuple[int, dict[str, Any]]] = []  # the others, by number of their ask
        self.answered: set[int] = set()
        self.first = 0  # all asks before it are answered
        self.in_vain = 0
        for row, where in self.kept.rows():
            self._know(_ask_number(row, where), row)
        for row, where in self.rejected.rows():
            self.answered.add(_ask_number(row, where))
            self.reasons[str(row.get("reason"))] += 1

    @property
    def count(self) -> int:
        """Rows kept so far."""
        return len(self.earlier) + len(self.latest)

    def run(self) -> None:
        """Ask in rounds until there are enough rows."""
        began, before = time.monotonic(), self.count
        while self.count < self.section.rows:
            for ask, answer in self.writer.write(self._next_asks()):
                self._judge(ask, answer)
                rate = (self.count - before) / max(time.monotonic() - began, 1e-9)
                self.report(
                    Progress("data synth", self.count, self.section.rows, "rows", rate, "rows/s")
                )

    def _next_asks(self) -> list[Ask]:
        """Unanswered asks of one round, no more than rows are wanted.

        All asks of a round see the rows of the rounds before it, whatever was interrupted when.
        """
        size = self.section.parallel
        while self.first in self.answered:
            self.first += 1
        start = self.first - self.first % size
        self.earlier += [row for number, row in self.latest if number < start]
        self.latest = [(number, row) for number, row in self.latest if number >= start]
        numbers = (n for n in range(self.first, start + size) if n not in self.answered)
        wanted = min(size, self.section.rows - self.count)
        return [self.recipe.ask(number, self.earlier) for number in islice(numbers, wanted)]

    def _judge(self, ask: Ask, answer: Answer) -> None:
        read: Read = self.recipe.read(ask, answer.text, answer.complete)
        provenance = {
            "ask": ask.number,
            "recipe": self.section.recipe,
            **self.writer.identity,
            "seed": answer.seed,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        rows = [{**row, "provenance": provenance} for row in read.rows]
        if rows:
            self.kept.append(rows)
            for row in rows:
                self._know(ask.number, row)
        if read.rejected:
            self.rejected.append(
                [
                    {"reason": reason, "prompt": ask.prompt, "text": text, "provenance": provenance}
                    for reason, text in read.rejected
                ]
            )
            self.reasons.update(reason for reason, _ in read.rejected)
        self.answered.add(ask.number)
        self.in_vain = 0 if rows else self.in_vain + 1
        if self.in_vain == IN_VAIN:
            reason, number = self.reasons.most_common(1)[0]
            raise DataError(
                f"{IN_VAIN} answers one after the other were all rejected; the commonest reason "
                f"so far: {reason} ({number:,} times)",
                f"read them in {self.rejected.path}, then change synth.recipe or take another "
                "synth.writer",
            )

    def _know(self, number: int, row: dict[str, Any]) -> None:
        self.recipe.remember(row)
        self.answered.add(number)
        self.latest.append((number, row))


def _ask_number(row: dict[str, Any], where: str) -> int:
    try:
        return int(row["provenance"]["ask"])
    except (KeyError, TypeError, ValueError) as err:
        raise DataError(
            f"{where}: not a row that `lilllm data synth` wrote: it has no provenance.ask",
            "take it out, or start again with --fresh",
        ) from err


def _check_settings(folder: Path, config: Config, writer: Writer) -> None:
    """Store the settings, or compare them with those that the rows there were made with.

    Raises:
        ConfigError: they differ.
    """
    settings = {
        "seed": config.seed,
        **{
            f"synth.{key}": value
            for key, value in config.synth.model_dump(mode="json").items()
            if key not in FREE_KEYS
        },
        **writer.identity,
    }
    path = folder / "settings.json"
    begun = any((folder / name).is_file() and (folder / name).stat().st_size for name in JOURNALS)
    if not path.is_file() or not begun:
        write_json(path, settings)
        return
    stored = read_json(path, DataError)
    changed = [
        key for key in settings if not isinstance(stored, dict) or stored.get(key) != settings[key]
    ]
    if changed:
        old = stored if isinstance(stored, dict) else {}
        raise ConfigError(
            f"{folder}: was begun with other settings: "
            + "; ".join(f"{key}: {old.get(key)!r} -> {settings[key]!r}" for key in changed),
            "undo them to go on; or start again with --fresh (the old folder is moved aside)",
        )


def _seed_tasks(section: SynthConfig) -> Iterator[dict[str, Any]]:
    assert section.seeds is not None
    for row, where in read_rows(section.seeds):
        messages = to_messages(row, where)
        if isinstance(messages, str):
            continue
        if [message["role"] for message in messages] == ["user", "assistant"]:
            yield {"prompt": messages[0]["content"], "completion": messages[1]["content"]}
