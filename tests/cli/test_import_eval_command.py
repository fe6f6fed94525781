"""`lilllm import` and `lilllm eval` as they are typed."""

import os
from pathlib import Path

import pytest
import torch

from tests.cli.small_app import run, run_json
from tests.stages.tiny_run import CONFIG, TEXTS, write_checkpoint, write_config

torch.set_num_threads(1)

STORIES = Path(__file__).parents[2].parent / "shared" / "data" / "stories260K"
needs_stories = pytest.mark.skipif(
    not STORIES.is_dir(), reason="../shared/data/stories260K is not on this machine"
)


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@needs_stories
def test_an_imported_llama2c_model_generates_and_is_scored() -> None:
    source = (STORIES / "stories260K.bin", "--tokenizer", STORIES / "tok512.bin")
    fields = run_json("import", *source, "--to", "runs/stories260K")
    assert fields["vocab_size"] == 512 and fields["max_seq_len"] == 512
    assert fields["parameters"] == 260_032
    text = run("generate", "-p", "", "--temperature", 0, "--max-new-tokens", 20).stdout
    assert text.strip().startswith("Once upon a time, there was a little girl named Lily.")

    Path("story.txt").write_text("Once upon a time, there was a little girl named Lily.")
    scored = run_json("eval", "--text", "story.txt")
    assert scored["checkpoint"] == "runs/stories260K"
    measures = scored["tasks"]["bpb"]
    assert measures.keys() == {"bpb", "loss", "perplexity", "documents", "bytes", "tokens"}
    assert measures["bytes"] == 53 and 0 < measures["bpb"] < 1.5
    assert "--text" in run("eval", code=3).stderr
    assert "exists already" in run("import", *source, "--to", "runs/stories260K", code=2).stderr


def test_a_hugging_face_folder_is_checked_and_copied() -> None:
    folder = write_checkpoint(Path("model"))
    (folder / "manifest.json").unlink()
    (folder / "lilllm.yaml").unlink()
    (folder / "optimizer.pt").write_bytes(b"pickle")
    assert run_json("import", folder, "--to", "copy")["vocab_size"] == 304
    assert not Path("copy/optimizer.pt").exists() and Path("copy/manifest.json").exists()
    foreign = run("generate", folder, "-p", "The cat", "--no-chat", "--seed", 1)
    assert "unverified" in foreign.stderr
    ours = run("generate", "copy", "-p", "The cat", "--no-chat", "--seed", 1)
    assert "unverified" not in ours.stderr and ours.stdout == foreign.stdout


def test_wrong_sources_have_their_exit_codes() -> None:
    Path("short.bin").write_bytes(b"\1\0\0\0")
    Path("folder").mkdir()
    assert "no such file" in run("import", "none.bin", "--to", "x", code=4).stderr
    assert "--tokenizer" in run("import", "short.bin", "--to", "x", code=2).stderr
    damaged = run("import", "short.bin", "--tokenizer", "short.bin", "--to", "x", code=4)
    assert "too few" in damaged.stderr
    assert "config.json" in run("import", "folder", "--to", "x", code=4).stderr
    Path("empty").mkdir()
    for to, said in (
        ("short.bin", "exists"),
        ("short.bin/x", "cannot be made"),
        ("empty/..", "exists"),
    ):
        assert said in run("import", "folder", "--to", to, code=2).stderr
    os.chdir("empty")
    assert "not a name" in run("import", "../folder", "--to", ".", code=2).stderr
    os.chdir("..")
    assert not Path("x").exists()


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("model.pt", b"PK\3\4rest"),
        ("model.bin", b"PK\3\4rest"),
        ("a.pth", b"\x80\2}q"),
        ("b.bin", b"\x80\4"),
    ],
)
def test_pickles_are_refused_with_the_reason(name: str, first: bytes) -> None:
    Path(name).write_bytes(first)
    refused = run("import", name, "--to", "x", code=4).stderr
    assert "pickle" in refused and "run code" in refused
    folder = write_checkpoint(Path("folder"))
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(first)
    assert "run code" in run("import", "folder", "--to", "x", code=4).stderr


def test_a_checkpoint_is_scored_on_a_text_file() -> None:
    checkpoint = write_checkpoint(Path("runs/tiny/pretrain/step-00000001"))
    Path("a.txt").write_text("The cat sat.", encoding="utf-8")
    measures = run_json("eval", checkpoint, "--text", "a.txt")["tasks"]["bpb"]
    assert measures["bytes"] == 12 and measures["documents"] == 1
    shown = run("eval", "--text", "a.txt")
    assert "bpb" in shown.stdout and str(checkpoint) in shown.stdout


def test_texts_and_checkpoints_that_are_not_there_have_their_exit_codes() -> None:
    assert "no checkpoint" in run("eval", code=4).stderr
    write_checkpoint(Path("runs/tiny/pretrain/step-00000001"))
    assert "none.txt" in run("eval", "--text", "none.txt", code=3).stderr
    assert "runs/tiny/data" in run("eval", code=3).stderr


def test_overrides_choose_the_run_and_change_how_it_is_scored() -> None:
    Path("a.txt").write_text("\n\n".join(dict.fromkeys(TEXTS)), encoding="utf-8")
    mine = write_checkpoint(Path("runs/mine/pretrain/step-00000001"))
    write_checkpoint(Path("runs/tiny/pretrain/step-00000001"))  # the newest, and the file's
    config = write_config(Path("tiny.yaml"))
    assert CONFIG["name"] == "tiny"
    for first in ((config, "name=mine"), ("name=mine",)):
        fields = run_json("eval", *first, "--text", "a.txt")
        assert fields["checkpoint"] == str(mine)
    assert run_json("eval", "--text", "a.txt")["checkpoint"].startswith("runs/tiny/")
    assert "runs/gone" in run("eval", "name=gone", "--text", "a.txt", code=4).stderr
    assert "runs/gone" in run("eval", config, "name=gone", "--text", "a.txt", code=4).stderr
    assert "eval.max_docs" in run("eval", mine, "eval.max_docs=3", code=2).stderr


def test_overrides_go_over_the_config_of_a_checkpoint() -> None:
    mine = write_checkpoint(Path("runs/tiny/pretrain/step-00000001"))
    Path("a.jsonl").write_text('{"text": "The cat."}\n{"text": "A dog."}\n', encoding="utf-8")
    sources = "eval.sources=[a.jsonl]"
    for place in (mine, Path("runs/tiny")):
        scored = run_json("eval", place, sources, "eval.max_documents=1", "device=cpu")
        assert scored["tasks"]["bpb"]["documents"] == 1
    assert run_json("eval", sources)["tasks"]["bpb"]["documents"] == 2
    assert "runs/tiny/data" in run("eval", mine, "eval.max_documents=1", code=3).stderr
