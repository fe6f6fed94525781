"""Looking at the rows of finetuning steps, in their files and as the model sees them."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from lilllm.config import Config, layout
from lilllm.config.schema import FinetuneConfig
from lilllm.data import read_rows
from lilllm.data.conversations import Message, question, shape_of, text_of, to_messages
from lilllm.data.feedback import lacks
from lilllm.data.preferences import to_preference
from lilllm.errors import CheckpointError, ConfigError, DataError
from lilllm.events import Note, Report, silent
from lilllm.stages.encode_rows import RowEncoder
from lilllm.stages.find_checkpoint import find_checkpoint
from lilllm.tokenizer import Tokenizer

OF_PAIRS = frozenset({"dpo"})
"""Methods that learn from preference pairs."""
NEEDED = {"dpo": ("chosen", "rejected"), "grpo": ("prompt",)}
"""Fields without which a row of feedback is of no use to a method; others need an answer."""


@dataclass(frozen=True, slots=True)
class RowsResult:
    """The rows that finetuning would read.

    steps: per step its sources, each with path, fields (of the first row), rows (how many; absent
    for a hub dataset) and samples: `where`, `row`, `shape`, `tokens`, and `seen`, which holds for
    each text that the model sees of the row its spans: `text`, and whether it is `learnt`. A row
    that the step leaves out as unreadable or too long has the reason as its shape.
    """

    steps: dict[str, list[dict[str, Any]]]


def inspect_rows(config: Config, start: int, count: int, report: Report) -> RowsResult:
    """Rows of every finetuning step's sources.

    Args:
        config: its `finetune` steps are read.
        start: index of the first row that is shown of each source.
        count: how many.
        report: is told where there is no tokenizer yet, so that tokens cannot be shown.

    Raises:
        ConfigError: there are no finetuning steps.
        DataError: a source or a row cannot be read.
    """
    if not config.finetune:
        raise ConfigError(
            "the config has no finetuning steps, so there are no rows",
            "without --rows the prepared documents are shown",
        )
    steps = {}
    for name, step in config.finetune.items():
        tokenizer = _tokenizer_of(config, step, report)
        steps[name] = _source_rows(config, step, tokenizer, start, start + count)
    return RowsResult(steps)


def _tokenizer_of(config: Config, step: FinetuneConfig, report: Report) -> Tokenizer | None:
    try:
        if step.base == "auto":
            folder = layout(config).tokenizer
        else:
            folder = find_checkpoint(Path(step.base), silent)
        return Tokenizer.load(folder)
    except CheckpointError as err:
        report(Note(f"rows are shown without their tokens: {err.message}"))
        return None


def _source_rows(
    config: Config, step: FinetuneConfig, tokenizer: Tokenizer | None, start: int, stop: int
) -> list[dict[str, Any]]:
    sources = []
    for source in step.sources:
        rows = read_rows(source, step.on_bad_row, config.seed)
        if source.path.startswith("hf:"):  # counting would fetch all of it
            rows = islice(rows, stop)
        fields: list[str] = []
        samples, number = [], 0
        for number, (row, where) in enumerate(rows, 1):
            fields = fields or list(row)
            if start < number <= stop:
                try:
                    seen = _as_seen(step, tokenizer, row, where)
                    _check_length(config, step, seen)
                except DataError as err:
                    if step.on_bad_row == "refuse":
                        raise
                    seen = {"shape": f"left out: {err.message.removeprefix(f'{where}: ')}"}
                samples.append({"where": where, "row": row, **seen})
        entry = {"path": source.path, "fields": fields, "rows": number, "samples": samples}
        if source.path.startswith("hf:"):
            del entry["rows"]
        sources.append(entry)
    return sources


def _check_length(config: Config, step: FinetuneConfig, seen: dict[str, Any]) -> None:
    """Say of a row that is too long for the context that it is left out, unless it is split."""
    room = config.model.max_seq_len - (step.answer_tokens if step.method == "grpo" else 0)
    if (tokens := seen.get("tokens", 0)) > room and step.too_long == "drop":
        seen["shape"] = f"left out: {tokens:,} tokens, and there is room for {room:,}"


def _as_seen(
    step: FinetuneConfig, tokenizer: Tokenizer | None, row: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """The shape of a row, and the spans of each text that the model sees of it."""
    if step.method == "classify":
        return _as_classified(step, tokenizer, row, where)
    if lacks(row, *NEEDED.get(step.method, ("completion",))):
        return {"shape": "feedback that this method passes over"}
    if step.method == "grpo":
        return _as_asked(step, tokenizer, row, where)
    texts: list[list[Message] | str]
    if step.method in OF_PAIRS:
        shape, pair = "preference", to_preference(row, where)
        texts = [pair.prompt + pair.chosen, pair.prompt + pair.rejected]
    else:
        shape, texts = shape_of(row, where), [to_messages(row, where)]
    if tokenizer is None:
        return {"shape": shape}
    encoder = RowEncoder.of(tokenizer, step)
    encoded = [encoder.encode(text) for text in texts]
    return {
        "shape": shape,
        "tokens": max(len(ids) for ids, _ in encoded),
        "seen": [_spans(tokenizer, ids, mask) for ids, mask in encoded],
    }


def _as_asked(
    step: FinetuneConfig, tokenizer: Tokenizer | None, row: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """A question alone: the answers are the model's own."""
    asked = question(row, where)
    if tokenizer is None:
        return {"shape": "question"}
    ids = RowEncoder.of(tokenizer, step).encode_prompt(asked)
    spans = _spans(tokenizer, ids, [0] * len(ids))
    return {"shape": "question", "tokens": len(ids), "seen": [spans]}


def _as_classified(
    step: FinetuneConfig, tokenizer: Tokenizer | None, row: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """A classifier reads the text alone; what it learns is the label."""
    text, label = text_of(row, "text", where), text_of(row, "label", where)
    if tokenizer is None:
        return {"shape": "labelled"}
    ids = RowEncoder.of(tokenizer, step).encode_text(text)
    spans = _spans(tokenizer, ids, [0] * len(ids))
    seen = [*spans, {"text": f" -> {label}", "learnt": True}]
    return {"shape": "labelled", "tokens": len(ids), "seen": [seen]}


def _spans(tokenizer: Tokenizer, ids: list[int], mask: list[int]) -> list[dict[str, Any]]:
    """Neighbouring tokens that are all learnt or all not, as text."""
    pairs = zip(ids, mask, strict=True)
    return [
        {
            "text": tokenizer.decode([id for id, _ in span], skip_special=False),
            "learnt": bool(learnt),
        }
        for learnt, span in groupby(pairs, key=lambda pair: pair[1])
    ]
