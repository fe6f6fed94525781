"""Every `--help` answers at once: nothing heavy is imported, and nothing crashes."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
import typer

from lilllm import __version__
from lilllm.cli.app import app

HEAVY = ["torch", "numpy", "transformers", "tokenizers", "datasets", "pydantic", "rich", "yaml"]


def commands() -> Iterator[list[str]]:
    yield []
    for command in app.registered_commands:
        yield [str(command.name)]
    for group in app.registered_groups:
        assert isinstance(group.typer_instance, typer.Typer)
        yield [str(group.name)]
        for command in group.typer_instance.registered_commands:
            name = command.name or command.callback.__name__  # type: ignore[union-attr]
            yield [str(group.name), name]


ALL = list(commands())


@pytest.mark.parametrize("command", ALL, ids=lambda c: " ".join(c) or "lilllm")
def test_help_imports_nothing_heavy_and_shows_an_example(command: list[str]) -> None:
    code = (
        "import sys, json\n"
        "from lilllm.cli.app import main\n"
        "sys.argv = ['lilllm', *json.loads(sys.argv[1])]\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps([*command, "--help"])],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "HEAVY []" in done.stdout
    assert "Usage" in done.stdout
    leaf = len(command) == 2 or (command and command[0] not in {"tokenizer", "data"})
    if leaf and command[0] not in {"bench", "config", "runs"}:
        assert "Example:" in done.stdout


def test_version_and_an_unknown_command() -> None:
    def lilllm(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lilllm", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert lilllm("--version").stdout.strip() == f"lilllm {__version__}"
    done = lilllm("pretrian")
    assert done.returncode == 2
    assert "pretrian" in done.stderr
    assert "Traceback" not in done.stderr
