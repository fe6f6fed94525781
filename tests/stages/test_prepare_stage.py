import json
import os
from pathlib import Path

import pytest

from lilllm.config import Config
from lilllm.data import Shards, read_documents
from lilllm.errors import CheckpointError, ConfigError, DataError
from lilllm.events import silent
from lilllm.stages import prepare
from lilllm.stages.inspect_data import inspect, places_of, verify
from lilllm.stages.inspect_rows import inspect_rows
from lilllm.tokenizer import Tokenizer, train_bpe

TEXTS = [f"Fox {i} said: “Grüße, 🍎 <|endoftext|>!” and ran  home." for i in range(120)]


def save_tokenizer(folder: Path, size: int) -> Tokenizer:
    tokenizer = Tokenizer.trained(train_bpe(TEXTS, size))
    folder.mkdir(parents=True)
    tokenizer.save(folder)
    return tokenizer


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.chdir(tmp_path)
    save_tokenizer(tmp_path / "runs" / "fox" / "tokenizer", 300)
    rows = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS)
    (tmp_path / "fox.jsonl").write_text(rows)
    return Config.model_validate(
        {"name": "fox", "data": {"sources": ["fox.jsonl"], "val_fraction": 0.2}}
    )


def changed(config: Config, **data: object) -> Config:
    return config.model_copy(update={"data": config.data.model_copy(update=data)})


def test_the_shards_are_what_the_tokenizer_makes_of_each_document(config: Config) -> None:
    made = prepare.run(config, silent)
    tokenizer = Tokenizer.load(Path("runs/fox/tokenizer"))
    expected = {tuple(tokenizer.encode(text)) for text in TEXTS}
    found = set()
    for split in ("train", "val"):
        shards = Shards.open(made.path, split)
        assert shards.tokenizer_hash == tokenizer.hash and shards.n_documents
        start = 0
        for end in shards.document_ends.tolist():
            *ids, last = shards.read(start, end).tolist()
            assert last == tokenizer.end_id and tokenizer.end_id not in ids
            found.add(tuple(ids))
            start = end
    assert found == expected
    assert made.documents == len(TEXTS)
    assert made.bytes == sum(len(text.encode()) for text in TEXTS)
    assert made.tokens == sum(len(ids) + 1 for ids in expected)


def test_an_up_to_date_folder_is_left_alone(config: Config) -> None:
    first = prepare.run(config, silent)
    manifest = first.path / "manifest.json"
    before = manifest.stat().st_ino
    again = prepare.run(changed(config, processes=3), silent)
    assert manifest.stat().st_ino == before
    assert again.mb_per_s is None and again.tokens == first.tokens
    os.utime("fox.jsonl", (1, 1))
    content = manifest.read_bytes()
    prepare.run(config, silent)
    assert manifest.stat().st_ino != before
    assert manifest.read_bytes() == content
    before = manifest.stat().st_ino
    assert prepare.run(config, silent, fresh=True).mb_per_s is not None
    assert manifest.stat().st_ino != before and manifest.read_bytes() == content


def test_the_hash_of_the_inputs_knows_what_the_shards_depend_on(config: Config) -> None:
    first = prepare.inputs_hash(config)
    assert prepare.inputs_hash(changed(config, processes=2)) == first
    assert prepare.inputs_hash(config.model_copy(update={"seed": 3})) == first
    assert prepare.inputs_hash(changed(config, val_fraction=0.1)) != first
    builtin = Config.model_validate({"name": "fox", "data": {"sources": ["builtin:stories"]}})
    other = builtin.model_copy(update={"seed": 3})
    assert prepare.inputs_hash(builtin) != prepare.inputs_hash(other)
    with Path("fox.jsonl").open("a") as file:
        file.write('{"text": "more"}\n')
    second = prepare.inputs_hash(config)
    assert second != first
    save_tokenizer(Path("other"), 280)
    tokenizer = config.tokenizer.model_copy(update={"path": "other"})
    assert prepare.inputs_hash(config.model_copy(update={"tokenizer": tokenizer})) != second


def test_what_names_prepared_data_is_never_written(config: Config) -> None:
    with pytest.raises(ConfigError, match=r"data\.path"):
        prepare.run(changed(config, path="elsewhere"), silent)
    with pytest.raises(ConfigError, match=r"data\.sources is empty"):
        prepare.run(changed(config, sources=()), silent)
    with pytest.raises(CheckpointError, match="tokenizer"):
        prepare.run(config.model_copy(update={"name": "nobody"}), silent)


def test_inspection_shows_the_documents_and_their_lengths(config: Config) -> None:
    prepare.run(config, silent)
    shown = inspect(places_of(config), "train", 3, 2, silent)
    assert [sample["index"] for sample in shown.samples] == [3, 4]
    assert all(sample["text"] in TEXTS for sample in shown.samples)
    figures = shown.splits["train"]
    assert 0 < figures["shortest"] <= figures["median"] <= figures["longest"]
    assert figures["documents"] + shown.splits["val"]["documents"] == len(TEXTS)
    with pytest.raises(ConfigError, match="no document 1000"):
        inspect(places_of(config), "val", 1000, 1, silent)


def test_shards_of_another_tokenizer_are_seen(config: Config) -> None:
    prepare.run(config, silent)
    assert verify(places_of(config), silent).files == 4
    save_tokenizer(Path("other"), 280)
    tokenizer = config.tokenizer.model_copy(update={"path": "other"})
    with pytest.raises(DataError, match="another tokenizer"):
        verify(places_of(config.model_copy(update={"tokenizer": tokenizer})), silent)


def test_rows_of_the_finetuning_steps_are_shown(config: Config) -> None:
    steps = {"chat": {"sources": [{"path": "builtin:stories-instruct", "documents": 7}]}}
    model = {**config.model.model_dump(), "max_seq_len": 2048}
    given = Config.model_validate({**config.model_dump(), "model": model, "finetune": steps})
    (source,) = inspect_rows(given, 2, 3, silent).steps["chat"]
    assert [sample["shape"] for sample in source["samples"]] == ["messages"] * 3
    spans = source["samples"][0]["seen"][0]
    assert [span["learnt"] for span in spans] == [False, True, False]
    assert spans[1]["text"].endswith("<|im_end|>")
    assert (source["rows"], source["fields"]) == (7, ["messages"])
    assert [sample["where"] for sample in source["samples"]] == [
        f"builtin:stories-instruct #{number}" for number in (2, 3, 4)
    ]
    with pytest.raises(ConfigError, match="no finetuning steps"):
        inspect_rows(config, 0, 1, silent)


def test_the_built_in_stories_are_prepared_as_they_are_told(config: Config) -> None:
    source = {"path": "builtin:stories", "documents": 30}
    given = Config.model_validate({"name": "fox", "seed": 5, "data": {"sources": [source]}})
    prepare.run(given, silent)
    shown = inspect(places_of(given), "train", 0, 30, silent)
    told = [document.text for document in read_documents(given.data.sources[0], seed=5)]
    texts = [sample["text"] for sample in shown.samples]
    assert texts == [text for text in told if text in texts] and len(texts) >= 28


def test_rows_that_a_step_leaves_out_are_shown_with_the_reason(config: Config) -> None:
    Path("rows.jsonl").write_text(
        '{"prompt": "a", "completion": "b"}\n{"prompt": "c", "say": "d"}\n'
    )
    step = {"sources": ["rows.jsonl"], "on_bad_row": "skip"}
    skipping = Config.model_validate({**config.model_dump(), "finetune": {"chat": step}})
    (source,) = inspect_rows(skipping, 0, 2, silent).steps["chat"]
    good, bad = (sample["shape"] for sample in source["samples"])
    assert good == "completion" and bad.startswith("left out: ")
    short = skipping.model_copy(
        update={"model": config.model.model_copy(update={"max_seq_len": 4})}
    )
    (source,) = inspect_rows(short, 0, 1, silent).steps["chat"]
    assert source["samples"][0]["shape"].startswith("left out: ")
    assert "there is room for 4" in source["samples"][0]["shape"]
    step["on_bad_row"] = "refuse"
    refusing = Config.model_validate({**config.model_dump(), "finetune": {"chat": step}})
    with pytest.raises(DataError, match=r"rows\.jsonl:2"):
        inspect_rows(refusing, 0, 2, silent)
