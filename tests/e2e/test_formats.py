"""A GGUF file's whole way: written, imported, finetuned, measured, talked to, written again."""

from pathlib import Path

import pytest
import torch

from lilllm.model.checkpoint import load_shape
from tests.cli.small_app import run, run_json
from tests.e2e.conftest import Lilllm, result
from tests.stages.tiny_run import write_checkpoint

torch.set_num_threads(1)
pytest.importorskip("gguf", reason="the package gguf is not installed")


@pytest.mark.long
def test_an_imported_file_is_a_base_like_any_other(
    lilllm: Lilllm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_checkpoint(Path("runs/first/pretrain/step-00000001"))
    written = run_json("export", "runs/first", "--dtype", "bf16")
    assert written["path"] == "exports/first-bf16.gguf"
    run("import", written["path"], "--to", "models/other")

    settings = ["finetune.chat.base=models/other", "finetune.chat.max_steps=2"]
    settings += ["finetune.chat.batch_tokens=64", "finetune.chat.micro_batch_size=1"]
    trained = result(lilllm("finetune", "tiny.yaml", *settings, "--json"))
    checkpoint = trained["steps"]["chat"]["checkpoint"]
    assert not Path("runs/tiny/pretrain").exists()
    assert load_shape(Path(checkpoint)) == load_shape(Path("models/other")), "not the config's"
    Path("a.txt").write_text("The cat sat.")
    assert run_json("eval", "models/other", "--text", "a.txt")["tasks"]["bpb"]["bytes"] == 12
    talk = ("--chat", "-p", "Hi", "--temperature", 0, "--max-new-tokens", 12)
    said = run("generate", checkpoint, *talk).stdout

    again = run_json("export", checkpoint, "--dtype", "f32")
    assert again["path"] == "exports/tiny-chat-f32.gguf"
    run("import", again["path"], "--to", "models/again")
    assert run("generate", "models/again", *talk).stdout == said
