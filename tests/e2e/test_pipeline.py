"""What is built, skipped, continued or refused, in cases that are easy to get wrong."""

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import Lilllm, refused, result

pytestmark = pytest.mark.long
QUICK = ("pretrain.max_steps=8", "pretrain.eval_every=0")


def test_a_deleted_folder_is_made_again(lilllm: Lilllm, tmp_path: Path) -> None:
    first = result(lilllm("pretrain", "tiny.yaml", *QUICK, "--json"))
    for name in ("data", "tokenizer"):
        shutil.rmtree(tmp_path / "runs/tiny" / name)
    again = result(lilllm("pretrain", "tiny.yaml", *QUICK, "--json"))
    assert again["val_bpb"] == first["val_bpb"]
    assert (tmp_path / "runs/tiny/data/manifest.json").is_file()


def test_training_works_without_a_validation_split(lilllm: Lilllm) -> None:
    done = result(lilllm("pretrain", "tiny.yaml", *QUICK, "data.val_fraction=0", "--json"))
    assert done["step"] == 8
    assert "val_bpb" not in done


def test_a_tokenizer_folder_from_elsewhere_serves_as_it_is(lilllm: Lilllm, tmp_path: Path) -> None:
    result(lilllm("tokenizer", "train", "tiny.yaml", "--json"))
    folder = tmp_path / "theirs"
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tmp_path / "runs/tiny/tokenizer" / name, folder)
    settings = ("tiny.yaml", *QUICK, "name=other", f"tokenizer.path={folder}")
    assert result(lilllm("pretrain", *settings, "--json"))["step"] == 8
    assert "up to date" in lilllm("pretrain", *settings).stderr


def test_dropout_survives_an_interruption_bit_for_bit(lilllm: Lilllm, tmp_path: Path) -> None:
    settings = ("tiny.yaml", *QUICK, "model.dropout=0.2", "pretrain.save_every=4")
    whole = result(lilllm("pretrain", *settings, "--json"))
    stage = tmp_path / "runs/tiny/pretrain"
    shutil.rmtree(stage / "step-00000008")
    (stage / "result.json").unlink()
    assert result(lilllm("pretrain", *settings, "--json"))["val_bpb"] == whole["val_bpb"]


def test_a_step_with_a_base_of_its_own_builds_nothing_before_it(
    lilllm: Lilllm, tmp_path: Path
) -> None:
    lilllm("pretrain", "tiny.yaml", *QUICK)
    stage = "finetune.chat.base=runs/tiny/pretrain"
    done = lilllm("finetune", "tiny.yaml", "name=second", stage, "--json")
    assert result(done)["steps"]["chat"]["step"] == 12
    made = {path.name for path in (tmp_path / "runs/second").iterdir()}
    assert made == {"finetune", "loss.png"}
    again = ("finetune", "tiny.yaml", "name=second", "finetune.chat.base=runs/second", "--fresh")
    refused(lilllm(*again), 2, "finetune.chat.base", "this very run")
    assert {path.name for path in (tmp_path / "runs/second").iterdir()} == made
    itself = "finetune.chat.base=runs/second/finetune/chat"
    refused(lilllm(*again[:3], itself, "--fresh"), 2, "finetune.chat.base", "this very step")
    assert (tmp_path / "runs/second/finetune/chat/latest").is_file(), "nothing was moved aside"


def test_alpaca_and_completion_rows_train_too(lilllm: Lilllm, tmp_path: Path) -> None:
    rows = [
        {"instruction": "Say a word.", "input": "", "output": f"word {n}"} for n in range(20)
    ] + [{"prompt": "Count.", "completion": f"{n} {n + 1}"} for n in range(20)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = ("tiny.yaml", *QUICK, f"finetune.chat.sources=[{path}]")
    assert result(lilllm("finetune", *settings, "--json"))["steps"]["chat"]["rows"] >= 38
    path.write_text(path.read_text() + '{"question": "no"}\n')
    refused(
        lilllm("finetune", *settings, "--fresh"),
        *(3, "rows.jsonl:41", "question"),
    )


def test_an_environment_that_names_only_some_of_the_processes_is_refused(lilllm: Lilllm) -> None:
    refused(lilllm("pretrain", "tiny.yaml", *QUICK, WORLD_SIZE="2"), 2, "WORLD_SIZE", "torchrun")
