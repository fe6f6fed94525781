"""`lilllm chat` fed from a pipe."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.cli.small_app import run, run_json
from tests.stages.tiny_run import write_checkpoint

torch.set_num_threads(1)

BASE = Path("runs/tiny/pretrain/step-00000009")
CHAT = Path("runs/tiny/finetune/sft/step-00000001")


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_checkpoint(CHAT, base="runs/tiny/pretrain/step-00000009")
    write_checkpoint(BASE)


def test_a_conversation_with_commands_is_held_and_saved() -> None:
    typed = "\n".join(
        ["hi", "/system Hm", "/temperature 0", "on", "/save talk.json", "/exit", "no"]
    )
    result = run("chat", "--max-new-tokens", 2, typed=typed)
    assert f"checkpoint: {CHAT}" in result.stderr and "temperature 0" in result.stderr
    messages = json.loads(Path("talk.json").read_text())["messages"]
    roles = [message["role"] for message in messages]
    assert roles == ["system", "user", "assistant", "user", "assistant"]
    answers = [message["content"] for message in messages if message["role"] == "assistant"]
    assert result.stdout == "".join(f"{answer}\n" for answer in answers)


def test_wrong_lines_do_not_end_the_conversation() -> None:
    typed = "/temperature hot\n/nonsense\n/save\n" + "cat " * 300 + "\n/help\nhello\n"
    fields = run_json("chat", typed=typed)
    assert [message["role"] for message in fields["messages"]] == ["user", "assistant"]
    result = run("chat", typed=typed)
    for expected in ("temperature", "/nonsense: not understood", "context is 64", "/reset"):
        assert expected in result.stderr


def test_reset_forgets() -> None:
    assert run_json("chat", typed="hello\n/reset\n")["messages"] == []


def test_a_base_model_continues_text_and_says_so() -> None:
    result = run("chat", BASE, typed="The cat\n")
    assert "continues the text" in result.stderr and result.stdout.strip()


def test_mistakes_have_their_exit_codes() -> None:
    assert "no such checkpoint" in run("chat", "nowhere", code=4).stderr
    assert "generate.top_p" in run("chat", "--top-p", 2, code=2).stderr


def test_a_template_that_refuses_a_message_does_not_keep_it() -> None:
    template = CHAT / "chat_template.jinja"
    text = "{% if 'bad' in messages[-1].content %}{{ raise_exception('refused') }}{% endif %}"
    template.write_text(text + template.read_text())
    ours = shutil.ignore_patterns("manifest.json", "lilllm.yaml")
    shutil.copytree(CHAT, "foreign", ignore=ours)
    result = run_json("chat", "foreign", typed="bad\nhello\n")
    assert [message["content"] for message in result["messages"]][:1] == ["hello"]
    assert "refused" in run("chat", "foreign", typed="bad\n").stderr
