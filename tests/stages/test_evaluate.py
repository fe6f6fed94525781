"""Bits per byte of a checkpoint on its own split and on any text."""

import json
import re
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lilllm.config import Config
from lilllm.config.schema import EvalConfig
from lilllm.errors import ConfigError, DataError
from lilllm.evaluation import bits_per_byte
from lilllm.events import Progress, silent
from lilllm.stages import evaluate
from lilllm.stages.encode_rows import RowEncoder
from lilllm.stages.find_checkpoint import load_checkpoint
from tests.stages.tiny_run import CONFIG, TEXTS, tiny_model, tiny_tokenizer, write_checkpoint

torch.set_num_threads(1)

TOKENIZER = tiny_tokenizer()


class Split:
    """What evaluation uses of prepared shards."""

    def __init__(self, texts: list[str], tokenizer_hash: str = TOKENIZER.hash) -> None:
        documents = [[*TOKENIZER.encode(text), 0] for text in texts]
        self.tokens = np.array([token for ids in documents for token in ids], dtype=np.uint16)
        self.document_ends = np.array(list(accumulate(map(len, documents))), dtype=np.uint64)
        self.n_documents, self.end_id = len(texts), 0
        self.n_bytes = sum(len(text.encode()) for text in texts)
        self.tokenizer_hash = tokenizer_hash

    def read(self, start: int, stop: int) -> np.ndarray:
        return self.tokens[start:stop]


def wanted(texts: list[str]) -> dict[str, float]:
    return bits_per_byte(
        tiny_model(),
        [TOKENIZER.encode(text) for text in texts],
        sum(len(text.encode()) for text in texts),
        bos_id=0,
        end_id=0,
    )


@pytest.fixture
def split(monkeypatch: pytest.MonkeyPatch) -> None:
    splits = {"val": Split(TEXTS), "train": Split(TEXTS[:2]), "other": Split(TEXTS, "x")}
    splits["empty"] = Split([])
    monkeypatch.setattr(evaluate.Shards, "open", lambda folder, name: splits[name])


def score(name: str, **options: int) -> dict[str, float]:
    section = EvalConfig(**options)
    return evaluate.score_split(tiny_model(), TOKENIZER, Path("data"), name, section)


def test_a_split_is_scored_document_by_document(split: None) -> None:
    result = score("val")
    assert result == pytest.approx(wanted(TEXTS), rel=1e-6)
    assert result["documents"] == 12 and result["tokens"] == len(Split(TEXTS).tokens)


def test_fewer_documents_are_scored_over_their_own_bytes(split: None) -> None:
    assert score("val", max_documents=3) == pytest.approx(wanted(TEXTS[:3]), rel=1e-6)


def test_an_empty_split_has_no_measures_and_foreign_data_is_refused(split: None) -> None:
    assert score("empty") == {}
    with pytest.raises(DataError, match="another tokenizer"):
        score("other")


def test_a_checkpoint_is_scored_on_the_val_split_of_its_run(split: None, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "step-00000001")
    heard: list[object] = []
    result = evaluate.run_checkpoint(checkpoint, heard.append)
    assert result.checkpoint == checkpoint and "val split of runs/tiny/data" in result.text
    assert result.tasks["bpb"] == pytest.approx(wanted(TEXTS), rel=1e-6)
    assert isinstance(heard[-1], Progress) and heard[-1].done == heard[-1].total
    train = evaluate.run_checkpoint(checkpoint, silent, split="train")
    assert train.tasks["bpb"] == pytest.approx(wanted(TEXTS[:2]), rel=1e-6)


def test_the_newest_checkpoint_of_the_last_stage_of_a_config_is_scored(
    split: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_checkpoint(Path("runs/tiny/pretrain/step-00000001"), seed=5)
    last = write_checkpoint(Path("runs/tiny/pretrain/step-00000002"))
    config = Config.model_validate(CONFIG | {"finetune": {"sft": {}}})
    assert evaluate.run(config, silent).checkpoint == last
    tuned = write_checkpoint(Path("runs/tiny/finetune/sft/step-00000001"))
    assert evaluate.run(config, silent).checkpoint == tuned


def test_text_files_are_scored_stripped_and_in_bytes(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "step-00000001")
    texts = ["Grüße 🐈 and\nmore", "The cat sat."]
    path = tmp_path / "text.txt"
    path.write_text(f"\n  {texts[0]}  \n<|endoftext|>\n{texts[1]}\n", encoding="utf-8")
    result = evaluate.run_checkpoint(checkpoint, silent, texts=[str(path)])
    assert result.tasks["bpb"] == pytest.approx(wanted(texts), rel=1e-6)
    path.write_text(" \n")
    with pytest.raises(DataError):
        evaluate.run_checkpoint(checkpoint, silent, texts=[str(path)])


def test_a_foreign_model_without_a_text_says_what_to_give(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "model")
    (checkpoint / "lilllm.yaml").unlink()
    assert load_checkpoint(checkpoint).config is None
    with pytest.raises(DataError) as failure:
        evaluate.run_checkpoint(checkpoint, silent)
    assert "--text" in failure.value.hint


def test_texts_and_a_split_do_not_go_together(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "model")
    with pytest.raises(ConfigError, match="one or the other"):
        evaluate.run_checkpoint(checkpoint, silent, texts=["x.txt"], split="val")


class Asked(Exception):
    """Carries what a model was to be asked."""


def asked_by_task(task: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> tuple[str, Any]:
    folder = write_checkpoint(Path("runs/tiny/pretrain/step-00000001"))

    def stop(self: Any, prompts: Any, options: Any, on_step: Any) -> None:
        raise Asked(prompts[0], options.stop)

    monkeypatch.setattr("lilllm.inference.engine.Engine.generate", stop)
    config = Config.model_validate({**CONFIG, "eval": {"tasks": {"t": task}}})
    with pytest.raises(Asked) as caught:
        evaluate.run_checkpoint(folder, silent, config=config)
    ids, stops = caught.value.args
    return load_checkpoint(folder).tokenizer.decode(ids, skip_special=False), stops


def test_a_task_asks_all_that_a_row_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = [("system", "s"), ("user", "p"), ("assistant", "a"), ("user", "q"), ("assistant", "x")]
    messages = [{"role": role, "content": content} for role, content in said]
    Path("rows.jsonl").write_text(json.dumps({"messages": messages}) + "\n")
    Path("short.jsonl").write_text(json.dumps({"messages": messages[:3]}) + "\n")
    Path("shots.jsonl").write_text('{"prompt": "m", "completion": "n"}\n')
    task = {"kind": "summarization", "max_new_tokens": 4}
    shots = {"shots": 1, "shot_sources": ["shots.jsonl"]}
    for source, more, order in (("rows.jsonl", {}, "spaq"), ("short.jsonl", shots, "smnp")):
        text, _ = asked_by_task(task | {"sources": [source]} | more, monkeypatch)
        assert re.findall(r"\n(\w)<", text) == list(order)
    task |= {"sources": ["short.jsonl"]}
    with pytest.raises(DataError, match="shot_sources have only 1"):
        asked_by_task(task | shots | {"shots": 2}, monkeypatch)


@pytest.mark.parametrize(
    ("answer", "shots", "stops"),
    [("a", 0, ["\n"]), ("a\nb", 0, []), ("a", 1, ["\n"]), ("a\nb", 1, ["\n\n"])],
)
def test_plain_answers_end_with_a_line_unless_right_ones_have_more(
    answer: str, shots: int, stops: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text(json.dumps({"source": "q", "target": answer}) + "\n")
    task = {"kind": "summarization", "sources": ["rows.jsonl"], "format": "plain"}
    task |= {"max_new_tokens": 4, "shots": shots, "shot_sources": ["rows.jsonl"]}
    assert list(asked_by_task(task, monkeypatch)[1]) == stops


@pytest.mark.parametrize("format", ["chat", "plain"])
def test_a_label_that_another_begins_with_can_be_beaten(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write_checkpoint(Path("runs/tiny/pretrain/step-00000001"))
    loaded = load_checkpoint(folder)
    encoder = RowEncoder(loaded.tokenizer, format)
    asked = [{"role": "user", "content": "q"}]
    words, ended = (encoder.encode_answer(asked, "good", end) for end in (False, True))
    assert ended[0][: len(words[0])] == words[0] and sum(ended[1]) > sum(words[1])
    assert [id for id, marked in zip(*words, strict=True) if marked] == (
        loaded.tokenizer.encode("good")
    )


def test_a_text_that_leaves_no_room_for_a_label_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write_checkpoint(Path("runs/tiny/pretrain/step-00000001"))
    Path("long.tsv").write_text("text\tlabel\nshort\ta\n" + "cat " * 99 + "\tb\n")
    task = {"kind": "classification", "sources": ["long.tsv"], "format": "plain"}
    config = Config.model_validate({**CONFIG, "eval": {"tasks": {"t": task | {"answer": "rank"}}}})
    with pytest.raises(DataError, match=r"long.tsv:3: .* the context holds 64"):
        evaluate.run_checkpoint(folder, silent, config=config)
