"""Every command in `docs/formats.md` is run."""

import re
import shlex
from pathlib import Path

import pytest
import torch

from tests.cli.small_app import run
from tests.stages.tiny_run import write_checkpoint

torch.set_num_threads(1)

ROOT = Path(__file__).parents[2]
STORIES = ROOT.parent / "shared" / "data" / "stories260K"
PAGE = (ROOT / "docs/formats.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_commands_of_the_page_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gguf", reason="the package gguf is not installed")
    monkeypatch.chdir(tmp_path)
    write_checkpoint(Path("runs/demo/finetune/chat/step-00000001"), base="x")
    write_checkpoint(Path("runs/demo/pretrain/step-00000001"))
    for name in ("stories260K.bin", "tok512.bin"):
        if STORIES.is_dir():
            Path(name).symlink_to(STORIES / name)
    commands = [shlex.split(line) for line in "".join(BLOCKS).splitlines()]
    assert len(commands) == 8
    for program, *arguments in commands:
        assert program == "lilllm"
        if "stories260K.bin" in arguments and not STORIES.is_dir():
            continue
        run(*arguments)
    made = {path.name for path in Path("exports").iterdir()}
    assert made == {"demo-chat-q8_0.gguf", "demo.gguf", "demo-chat-hf", "demo-chat-ollama"}
