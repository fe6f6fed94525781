"""`lilllm chat` fed from a pipe, and at a terminal."""

import json
import os
import pty
import shutil
import subprocess
import sys
import time
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


def test_a_conversation_is_one_more_line_of_a_jsonl_file() -> None:
    for _ in range(2):
        run("chat", "--max-new-tokens", 2, typed="hi\n/save talks.jsonl\n")
    rows = [json.loads(line) for line in Path("talks.jsonl").read_text().splitlines()]
    assert [row["messages"][0]["content"] for row in rows] == ["hi", "hi"]


def test_wrong_lines_do_not_end_the_conversation() -> None:
    typed = "/temperature hot\n/nonsense\n/save\n" + "cat " * 300 + "\n/help\nhello\n"
    fields = run_json("chat", typed=typed)
    assert [message["role"] for message in fields["messages"]] == ["user", "assistant"]
    result = run("chat", typed=typed)
    told = (
        "temperature",
        "/nonsense: not understood",
        "/save FILE wants",
        "context is 64",
        "/reset",
    )
    for expected in told:
        assert expected in result.stderr


def test_a_wrong_save_loses_neither_the_conversation_nor_a_file() -> None:
    kept = {
        "keep.txt": "mine",
        "other.json": '{"checkpoint": "x", "messages": []}',
        "more.json": '{\n  "checkpoint": "x",\n  "messages": [],\n  "note": 1\n}',
        "torn.json": '{\n  "checkpoint": ',
        "notes.jsonl": '{"a": 1}\nmy note',
    }
    for name, text in kept.items():
        Path(name).write_text(text)
    Path("folder").mkdir()
    wrong = [*kept, ".", "/", "folder", "folder/..", "~no.such.user/x", "a\0b", "a" * 300]
    wrong += ["keep.txt/x.json", "keep.txt/x.jsonl", "a\0.jsonl", "a" * 300 + ".jsonl"]
    typed = "\n".join(["hi", *(f"/save {name}" for name in [*wrong, "talk.json", "talk.json"])])
    result = run("chat", "--max-new-tokens", 2, typed=typed)
    assert result.stderr.count("saved in") == 2
    assert result.stderr.count("caution") == len(wrong)
    for name, text in kept.items():
        assert Path(name).read_text() == text
    messages = json.loads(Path("talk.json").read_text())["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"]
    assert {path.name for path in Path().iterdir()} == {*kept, "folder", "runs", "talk.json"}


def test_reset_forgets() -> None:
    assert run_json("chat", typed="hello\n/reset\n")["messages"] == []


def test_a_base_model_continues_text_and_says_so() -> None:
    result = run("chat", BASE, typed="The cat\n")
    assert "continues each text" in result.stderr and result.stdout.strip()


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


def test_an_answer_can_be_had_again_and_a_message_changed_or_taken_back() -> None:
    typed = "\n".join(["hi", "/retry", "/edit hello", "bye", "/undo", "/undo", "/undo", "/retry"])
    result = run("chat", "--temperature", 2, "--json", typed=typed)
    assert json.loads(result.stdout)["messages"] == []
    assert "taken back: bye" in result.stderr and "taken back: hello" in result.stderr
    assert result.stderr.count("nothing was said yet") == 2
    kept = run_json("chat", "--temperature", 2, typed="hi\n/retry\n/edit hello\n/edit\n")
    assert [message["role"] for message in kept["messages"]] == ["user", "assistant"]
    assert kept["messages"][0]["content"] == "hello"
    answers = run("chat", "--temperature", 2, typed="hi\n/retry\n").stdout
    once = run("chat", "--temperature", 2, typed="hi\n").stdout
    assert answers.startswith(once) and answers[len(once) :] != once


def test_what_no_longer_fits_is_forgotten_but_saved() -> None:
    typed = "".join(f"The cat sat on stone number {number}\n" for number in range(6))
    result = run("chat", "--max-new-tokens", 8, typed=typed + "/undo\n/save all.json\n")
    assert "the oldest 2 messages are forgotten" in result.stderr
    assert len(json.loads(Path("all.json").read_text())["messages"]) == 10


def test_a_base_model_can_be_asked_again() -> None:
    result = run("chat", BASE, "--temperature", 2, typed="The cat\n/retry\n")
    first, second = result.stdout.splitlines()[:1], result.stdout.splitlines()[1:]
    assert first and second and first != second


def test_at_a_terminal_the_last_message_can_be_edited_in_place() -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "lilllm", "chat", str(CHAT), "--max-new-tokens", "2"]
    talk = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    seen = ""
    for wait_for, typed in (
        ("> ", "hello"),
        ("> ", "/edit"),
        ("> hello", " you"),
        ("> ", "/save x"),
    ):
        end = time.monotonic() + 60
        while wait_for not in seen:
            assert time.monotonic() < end, seen
            seen += os.read(master, 4096).decode()
        seen = ""
        os.write(master, typed.encode() + b"\n")
    while "saved in x" not in seen:
        seen += os.read(master, 4096).decode()
    os.write(master, b"/exit\n")
    assert talk.wait(30) == 0
    os.close(master)
    messages = json.loads(Path("x").read_text())["messages"]
    assert [message["content"] for message in messages][::2] == ["hello you"]
