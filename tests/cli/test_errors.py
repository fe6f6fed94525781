"""Whatever goes wrong: the designed exit code, one JSON object with --json, no traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lilllm.cli.app import main
from tests.stages.tiny_run import write_checkpoint

Typed = tuple[int, str, str]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LILLLM_DEBUG", raising=False)


@pytest.fixture
def lilllm(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """Types a command; returns exit code, stdout and stderr."""

    def run(*arguments: str) -> Typed:
        monkeypatch.setattr("sys.argv", ["lilllm", *arguments])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capfd.readouterr()

    return run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("pretrain", "--bogus"), "--bogus"),
        (("pretrian",), "pretrian"),
        (("tokenizer", "encode"), "text"),
        (("generate", "--samples", "many"), "--samples"),
    ],
)
def test_wrong_arguments_are_one_json_object(
    lilllm: Any, arguments: tuple[str, ...], said: str
) -> None:
    code, out, err = lilllm(*arguments)
    assert (code, out) == (2, "") and said in err and "Traceback" not in err
    code, out, err = lilllm(*arguments, "--json")
    result = json.loads(out)
    assert code == 2 and result["schema"] == 1 and "Traceback" not in err
    assert result["error"]["exit_code"] == 2
    assert said in result["error"]["message"]
    assert "--help" in result["error"]["hint"]


def test_every_command_takes_json(lilllm: Any) -> None:
    code, out, _ = lilllm("config", "schema", "--json")
    fields = json.loads(out)
    assert code == 0 and fields["schema"] == 1 and fields["command"] == "config schema"
    code, out, _ = lilllm("config", "schema")
    assert code == 0 and json.loads(out)["properties"].keys() == (
        fields["json_schema"]["properties"].keys()
    )


def test_debug_shows_the_traceback_and_changes_nothing_else(
    lilllm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = lilllm("config", "check", "seed=x", "--json")
    assert plain[0] == 2 and "Traceback" not in plain[2]
    monkeypatch.setenv("LILLLM_DEBUG", "1")
    code, out, err = lilllm("config", "check", "seed=x", "--json")
    assert (code, out) == plain[:2] and json.loads(out)["error"]["exit_code"] == 2
    assert "Traceback" in err and err.endswith(plain[2])


@pytest.mark.parametrize("arguments", [["--json"], [], ["seed=x", "--json"]])
def test_a_closed_pipe_is_no_error_of_ours(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "lilllm", "config", "show", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        err = process.stderr.read().decode()
    assert process.returncode == (2 if "seed=x" in arguments else 0), err
    assert "Traceback" not in err and "BrokenPipe" not in err


def test_what_the_terminal_has_no_letter_for_does_not_end_a_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lilllm", "config", "show", "generate.prompts=[中 ü]"]
    told = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "cp1252"},
        capture_output=True,
        check=True,
    )
    assert b"\\u4e2d \xfc" in told.stdout


def test_what_is_typed_and_no_text_does_not_end_a_command(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "base")
    Path("questions.txt").write_text("The cat\n")
    for arguments, typed in (
        (("chat", "base"), b"caf\xe9\n"),
        (("feedback", "base", "--prompts", "questions.txt", "--out", "votes.jsonl"), b"1\n\xff\n"),
        (("tokenizer", "encode", "-", "--tokenizer", "base"), b"\xff"),
    ):
        subprocess.run(
            [sys.executable, "-m", "lilllm", *arguments],
            input=typed,
            cwd=tmp_path,
            env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
            capture_output=True,
            check=True,
        )
    assert json.loads(Path("votes.jsonl").read_text())["reason"] == "\ufffd"
