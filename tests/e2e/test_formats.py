"""A GGUF file's whole way: written, imported, finetuned, measured, talked to, written again."""

from pathlib import Path

import pytest

from tests.e2e.conftest import Lilllm, refused, result
from tests.stages.tiny_run import write_checkpoint

pytest.importorskip("gguf", reason="the package gguf is not installed")


@pytest.mark.long
def test_an_imported_file_is_a_base_like_any_other(lilllm: Lilllm, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "runs/first/pretrain/step-00000001")
    written = result(lilllm("export", "runs/first", "--dtype", "bf16", "--json"))
    assert written["path"] == "exports/first-bf16.gguf"
    result(lilllm("import", written["path"], "--to", "models/other", "--json"))

    settings = ("finetune.chat.base=models/other", "finetune.chat.max_steps=2")
    settings += ("finetune.chat.batch_tokens=64", "finetune.chat.micro_batch_size=1")
    trained = result(lilllm("finetune", "tiny.yaml", *settings, "--json"))
    checkpoint = trained["steps"]["chat"]["checkpoint"]
    assert not (tmp_path / "runs/tiny/pretrain").exists()
    (tmp_path / "a.txt").write_text("The cat sat.")
    scored = result(lilllm("eval", "models/other", "--text", "a.txt", "--json"))
    assert scored["tasks"]["bpb"]["bytes"] == 12
    talk = ("--chat", "-p", "Hi", "--temperature", "0", "--max-new-tokens", "12", "--json")
    said = result(lilllm("generate", checkpoint, *talk))["samples"][0]["text"]

    again = result(lilllm("export", checkpoint, "--dtype", "f32", "--json"))
    assert again["path"] == "exports/tiny-chat-f32.gguf"
    result(lilllm("import", again["path"], "--to", "models/again", "--json"))
    assert result(lilllm("generate", "models/again", *talk))["samples"][0]["text"] == said


def test_a_damaged_file_ends_with_4_and_names_the_tensor(lilllm: Lilllm, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "runs/first/pretrain/step-00000001")
    path = tmp_path / result(lilllm("export", "runs/first", "--json"))["path"]
    raw = path.read_bytes()
    path.write_bytes(raw[:-100])
    refused(lilllm("import", str(path), "--to", "x"), 4, "tensor output_norm", "damaged")
