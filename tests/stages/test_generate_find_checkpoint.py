"""Which checkpoint a command takes, with and without a name, whole and damaged."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from lilllm.errors import CheckpointError, ConfigError
from lilllm.events import Caution, Note, silent
from lilllm.stages.find_checkpoint import find_checkpoint, load_checkpoint
from tests.stages.tiny_run import damage, write_checkpoint, write_config

torch.set_num_threads(1)

FIRST = Path("runs/tiny/pretrain/step-00000001")
SECOND = Path("runs/tiny/pretrain/step-00000002")
CHAT = Path("runs/tiny/finetune/sft/step-00000005")
OTHER = Path("runs/other/pretrain/step-00000009")


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four checkpoints, made in this order, in a working directory of their own."""
    monkeypatch.chdir(tmp_path)
    for age, folder in enumerate((FIRST, SECOND, CHAT, OTHER)):
        write_checkpoint(folder, base="x" if folder == CHAT else None)
        os.utime(folder / "manifest.json", (1000 + age, 1000 + age))


def test_the_newest_is_taken_and_named() -> None:
    heard: list[object] = []
    assert find_checkpoint(None, heard.append) == OTHER
    assert heard == [Note(f"checkpoint: {OTHER}")]


def test_chat_prefers_a_finetuned_one() -> None:
    assert find_checkpoint(None, silent, chat=True) == CHAT
    damage(CHAT)
    assert find_checkpoint(None, silent, chat=True) == OTHER


def test_a_damaged_newest_one_is_passed_over_and_named() -> None:
    damage(OTHER)
    heard: list[object] = []
    assert find_checkpoint(None, heard.append) == CHAT
    assert isinstance(heard[0], Caution) and "other" in heard[0].text and "SHA-256" in heard[0].text
    (CHAT / "manifest.json").unlink()
    assert find_checkpoint(None, silent) == SECOND


def test_a_stage_a_run_and_a_config_mean_their_latest() -> None:
    config = write_config(Path("tiny.yaml"), finetune={"sft": {}})
    assert find_checkpoint(SECOND.parent, silent) == SECOND
    (SECOND.parent / "latest").write_text("step-00000001\n")
    assert find_checkpoint(SECOND.parent, silent) == FIRST
    assert find_checkpoint(Path("runs/tiny"), silent) == CHAT
    assert find_checkpoint(Path("runs/other"), silent) == OTHER
    assert find_checkpoint(config, silent) == CHAT
    assert find_checkpoint(write_config(Path("base.yaml")), silent) == FIRST


def test_a_damaged_latest_of_a_stage_falls_back_to_the_step_before() -> None:
    damage(SECOND)
    assert find_checkpoint(SECOND.parent, silent) == FIRST
    damage(FIRST)
    with pytest.raises(CheckpointError, match="damaged"):
        find_checkpoint(SECOND.parent, silent)


def test_a_damaged_one_that_was_named_is_refused() -> None:
    damage(SECOND)
    with pytest.raises(CheckpointError, match="SHA-256"):
        find_checkpoint(SECOND, silent)


def test_an_interrupted_write_is_no_checkpoint() -> None:
    OTHER.rename(OTHER.with_name(".partial-step-00000009-1"))
    assert find_checkpoint(None, silent) == CHAT


def test_names_of_nothing_say_what_there_is() -> None:
    with pytest.raises(CheckpointError) as failure:
        find_checkpoint(Path("runs/tyni"), silent)
    assert str(OTHER) in failure.value.hint
    with pytest.raises(CheckpointError, match=r"gone\.yaml: its run runs/gone has no checkpoint"):
        find_checkpoint(write_config(Path("gone.yaml"), name="gone"), silent)
    with pytest.raises(ConfigError, match="no such config file"):
        find_checkpoint(Path("missing.yaml"), silent)


def test_with_none_anywhere_the_hint_is_a_command(tmp_path, monkeypatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(CheckpointError) as failure:
        find_checkpoint(None, silent)
    assert "lilllm run configs/demo.yaml" in failure.value.hint


def test_an_opened_checkpoint_knows_its_defaults_and_whether_it_can_chat() -> None:
    base, chat = load_checkpoint(SECOND), load_checkpoint(CHAT)
    assert base.generate.max_new_tokens == 12 and base.generate.prompts == ("The cat",)
    assert base.config is not None and base.config.name == "tiny"
    assert base.stop_ids >= {0, 2} and base.prompt_ids("") == [0]
    assert chat.chat_trained and not base.chat_trained


def test_a_tokenizer_that_the_model_cannot_read_is_refused() -> None:
    text = (SECOND / "config.json").read_text()
    (SECOND / "config.json").write_text(text.replace('"vocab_size": 304', '"vocab_size": 100'))
    with pytest.raises(CheckpointError):
        load_checkpoint(SECOND)


def test_a_copy_of_a_run_means_the_same_checkpoint() -> None:
    for at, stage in ((5.0, SECOND.parent), (9.0, CHAT.parent)):
        line = {"event": "done", "time": at}
        (stage / "metrics.jsonl").write_text(json.dumps(line) + "\n{torn")
    os.utime(SECOND / "manifest.json", (9000, 9000))  # as copying may leave it
    assert find_checkpoint(Path("runs/tiny"), silent) == CHAT
    shutil.rmtree("runs/other")
    assert find_checkpoint(None, silent) == CHAT


def test_a_gguf_file_is_told_from_a_config() -> None:
    Path("demo.gguf").write_bytes(b"GGUF\3\0\0\0")
    with pytest.raises(CheckpointError, match="a GGUF file") as caught:
        find_checkpoint(Path("demo.gguf"), silent)
    assert "lilllm import demo.gguf" in caught.value.hint
