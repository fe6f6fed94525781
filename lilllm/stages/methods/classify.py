"""Classification: a head on a text's last token, trained on labelled texts."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lilllm.data import BadRows
from lilllm.data.conversations import text_of
from lilllm.data.tables import LabelledTexts
from lilllm.errors import DataError
from lilllm.evaluation.classification import classification_measures
from lilllm.events import Caution, Note, Report, counting
from lilllm.files import sha256_json
from lilllm.model.transformer import Transformer
from lilllm.stages.encode_rows import RowEncoder
from lilllm.stages.methods.job import Job, Measures, Plan
from lilllm.stages.methods.rows import is_held_out, read_good_rows
from lilllm.stages.plot_confusion import plot_confusion
from lilllm.training.objectives.labels import label_loss
from lilllm.training.objectives.loss import move


@dataclass(frozen=True, slots=True)
class _Text:
    ids: list[int]
    label: str
    where: str
    held_out: bool


def plan(job: Job) -> Plan:
    """Tokenize labelled texts and give the model a head for their classes.

    Raises:
        DataError: a row cannot be read, there are fewer than two classes, or a held-out row is of
            a class that is not trained on.
    """
    texts = _read(job)
    train = [text for text in texts if not text.held_out]
    held_out = [text for text in texts if text.held_out]
    if not train:
        raise DataError(f"finetune.{job.name}: no rows to train on", "look at its sources")
    labels = tuple(sorted({text.label for text in train}))
    if len(labels) < 2:
        raise DataError(
            f"finetune.{job.name}: every row has the label {labels[0]!r}, so there is nothing to "
            "tell apart",
            "classification needs rows of two labels or more",
        )
    for text in held_out:
        if text.label not in labels:
            raise DataError(
                f"{text.where}: the label {text.label!r} is held out but in no row to train on",
                f"give more such rows, or finetune.{job.name}.val_fraction=0",
            )
    counts = Counter(text.label for text in train)
    job.report(Note("labels: " + ", ".join(f"{label} ({counts[label]:,})" for label in labels)))
    job.model.add_head(len(labels), job.config.seed)
    tables = [_table(rows, labels, job) if rows else None for rows in (train, held_out)]
    assert tables[0] is not None
    return Plan(
        objective=label_loss,
        windows=tables[0],
        held_out=tables[1],
        rows=len(train),
        held_out_rows=len(held_out),
        data_hash=sha256_json([[text.ids, text.label] for text in texts])[:16],
        batch_rows=job.section.batch_rows,
        labels=labels,
        measure=lambda report: _measure(job, tables[1], labels, report),
    )


def _read(job: Job) -> list[_Text]:
    """All rows; those that are too long are dropped and counted, or refused."""
    section, encoder = job.section, RowEncoder.of(job.tokenizer, job.section)
    bad = BadRows(section.on_bad_row, f"finetune.{job.name}.on_bad_row")
    texts: list[_Text] = []
    too_long = 0
    for row, where in read_good_rows(section, job.config.seed, bad, check=_labelled):
        ids = encoder.encode_text(text_of(row, "text", where))
        if len(ids) > job.length:
            if section.too_long == "refuse":
                raise DataError(
                    f"{where}: {len(ids)} tokens, but the context holds {job.length}",
                    f"finetune.{job.name}.too_long=drop counts and drops such rows",
                )
            too_long += 1
            continue
        said = json.dumps([row["text"], row["label"]], ensure_ascii=False)
        held_out = is_held_out(said, section.val_fraction)
        texts.append(_Text(ids, text_of(row, "label", where).strip(), where, held_out))
    if bad.skipped:
        job.report(Caution(f"{bad.skipped:,} rows were left out; first: {bad.first}"))
    if too_long:
        job.report(Caution(f"{too_long:,} rows are longer than {job.length} tokens: dropped"))
    return texts


def _labelled(row: dict[str, object], where: str) -> None:
    for field in ("text", "label"):
        if field not in row:
            fields = ", ".join(map(str, row)) or "none"
            raise DataError(
                f"{where}: no field {field!r}; the row has: {fields}",
                "classification needs `text` and `label`; the source's `fields` renames",
            )
        text_of(row, field, where)


def _table(texts: Sequence[_Text], labels: tuple[str, ...], job: Job) -> LabelledTexts:
    numbers = [labels.index(text.label) for text in texts]
    return LabelledTexts([text.ids for text in texts], numbers, job.tokenizer.end_id)


def _measure(
    job: Job, table: LabelledTexts | None, labels: tuple[str, ...], report: Report
) -> Measures:
    if table is None:
        return {}
    size, on_rows = job.section.micro_batch_size, counting(report, "held-out rows", len(table))
    with job.machine.autocast():
        found = predict(job.model, table, size, job.machine.device, on_rows)
    gold = [labels[number] for number in table.labels]
    measures = classification_measures(gold, [labels[number] for number in found], labels)
    plot_confusion(job.folder / "confusion.png", measures["confusion"], labels)
    return {f"val_{name}": value for name, value in measures.items()}


def predict(
    model: Transformer,
    table: LabelledTexts,
    size: int,
    device: str,
    on_rows: Callable[[int], None],
) -> list[int]:
    """The class that a model gives each text, in order; `on_rows` is told how many are done."""
    model.eval()
    found: list[int] = []
    with torch.no_grad():
        for start in range(0, len(table), size):
            rows = np.arange(start, min(start + size, len(table)))
            ids, last, _ = move(table.read(rows), device)
            assert ids is not None and last is not None
            found += model.classify(ids, last).argmax(-1).tolist()
            on_rows(len(found))
    return found
