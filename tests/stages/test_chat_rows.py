"""Rows of a finetuning step: what is left out, and when they are read again."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lilllm.config.schema import FinetuneConfig
from lilllm.errors import DataError
from lilllm.events import Caution, Event, silent
from lilllm.stages import chat_rows
from lilllm.stages.chat_rows import RowCounts, prepare_rows
from tests.stages.tiny_run import tiny_tokenizer

ROWS = [{"prompt": f"The cat {n}", "completion": f"sat {n}"} for n in range(40)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def prepare(source: Path, report: Any = silent, **options: Any) -> tuple[Path, RowCounts]:
    config = FinetuneConfig.model_validate({"sources": [str(source)], **options})
    folder = source.parent / "finetune" / "chat"
    folder.mkdir(parents=True, exist_ok=True)
    return prepare_rows(folder, config, tiny_tokenizer(), 64, 0, report)


def cautions(events: list[Event]) -> str:
    return "\n".join(event.text for event in events if isinstance(event, Caution))


def test_rows_left_out_by_the_reader_and_by_their_shape_are_counted_and_named(
    source: Path,
) -> None:
    with source.open("a") as file:
        file.write('{broken\n{"prompt": "no answer"}\n{"prompt": "\\ud800", "completion": "x"}\n')
    events: list[Event] = []
    _, counts = prepare(source, events.append, on_bad_row="skip")
    assert (counts.train + counts.val, counts.skipped) == (40, 3)
    assert f"3 unreadable rows were left out; first: {source}:41: not valid JSON" in cautions(
        events
    )


@pytest.mark.parametrize(
    "row",
    ["{broken", '{"prompt": "x", "completion": ""}', '{"prompt": "\\ud800", "completion": "x"}'],
)
def test_a_refused_row_names_the_key_that_would_skip_it(source: Path, row: str) -> None:
    with source.open("a") as file:
        file.write(row + "\n")
    with pytest.raises(DataError, match=r"rows\.jsonl:41: ") as caught:
        prepare(source)
    assert "finetune.chat.on_bad_row=skip" in caught.value.hint


def test_rows_are_read_again_only_when_a_source_or_an_option_changes(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    read = chat_rows.read_rows
    monkeypatch.setattr(
        chat_rows, "read_rows", lambda *given, **named: reads.append(1) or read(*given, **named)
    )
    first, counts = prepare(source)
    assert prepare(source) == (first, counts) and len(reads) == 1
    prepare(source, val_fraction=0.5)
    assert len(reads) == 2
    assert [path.name for path in first.parent.iterdir()] != [first.name], "the old cache goes"
    assert len(list(first.parent.iterdir())) == 1
    again, _ = prepare(source)
    assert again == first
    os.utime(source, (1, 1))
    assert prepare(source)[0] == first, "the same rows, so a begun training goes on"
    assert len(reads) == 4
    with source.open("a") as file:
        file.write(json.dumps({"prompt": "one", "completion": "more"}) + "\n")
    other, more = prepare(source)
    assert other != first and more.train + more.val == 41
    assert list(first.parent.iterdir()) == [other]


def test_a_killed_preparation_of_rows_starts_over_under_the_same_name(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm, counts = prepare(source)
    content = {path.name: path.read_bytes() for path in calm.iterdir()}
    other = source.parent / "other" / "rows.jsonl"
    other.parent.mkdir()
    other.write_bytes(source.read_bytes())
    with monkeypatch.context() as patch:
        patch.setattr(
            chat_rows, "write_json", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt())
        )
        with pytest.raises(KeyboardInterrupt):
            prepare(other)
    again, same = prepare(other)
    assert (again.name, same) == (calm.name, counts)
    for name in ("train.bin", "train.idx", "train.mask", "val.bin", "counts.json"):
        assert (again / name).read_bytes() == content[name]
    assert np.fromfile(again / "train.idx", "<u8").size == counts.train


def test_a_book_is_split_when_it_is_said(source: Path) -> None:
    book = source.with_name("book.txt")
    book.write_text("The cat sat on the mat and looked at the moon. " * 40)
    with pytest.raises(DataError, match="1 too long") as caught:
        prepare(book, val_fraction=0)
    assert "finetune.chat.too_long=split" in caught.value.hint
    folder, counts = prepare(book, val_fraction=0, too_long="split")
    assert counts.train > 10 and counts.split == 1
    mask = np.fromfile(folder / "train.mask", np.uint8)
    assert mask.mean() > 0.9, "all of a text is learnt, but the first token of a piece"


def test_nothing_to_train_on_says_what_became_of_the_rows(source: Path) -> None:
    source.write_text('{broken\n{"prompt": "x", "completion": "' + "far too long " * 50 + '"}\n')
    with pytest.raises(DataError, match=r"1 too long .* 1 unreadable.*rows\.jsonl:1: not valid"):
        prepare(source, on_bad_row="skip")
