"""The pages of all commands and of all keys are what the program says of itself."""

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import typer

from lilllm.cli.app import app
from lilllm.cli.config import as_list
from lilllm.config.keys import keys

DOCS = Path(__file__).parents[2] / "docs"


def commands_page() -> str:
    lines = [
        "# Commands",
        "",
        "What `--help` says of each. Every command takes `--json`, for one JSON object on stdout.",
        "What CONFIG can hold is in [keys](keys.md).",
    ]
    for name, command in _commands(typer.main.get_command(app), "lilllm"):
        about, _, example = (command.help or "").strip().rpartition("\n\n")
        lines += ["", f"## {name}", "", about, "", "```", example.removeprefix("Example: "), "```"]
        rows = [_row(parameter) for parameter in command.params if "--json" not in parameter.opts]
        assert len(rows) < len(command.params), f"{name} has no --json"
        if rows:
            lines += ["", "| | |", "|---|---|", *rows]
    return "\n".join(lines) + "\n"


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    if hasattr(command, "commands"):
        for below, part in command.commands.items():
            yield from _commands(part, f"{name} {below}")
    else:
        yield name, command


def _row(parameter: Any) -> str:
    argument = parameter.param_type_name == "argument"
    names = [parameter.metavar or parameter.name.upper()] if argument else parameter.opts
    said = ", ".join(f"`{name}`" for name in [*names, *parameter.secondary_opts])
    shown = getattr(parameter, "show_default", None)
    default = shown if isinstance(shown, str) else parameter.default
    if default is not False and default not in (None, (), ""):
        return _cells(said, f"{parameter.help} Default: {default}.")
    return _cells(said, parameter.help or "")


def _cells(*texts: str) -> str:
    return "| " + " | ".join(text.replace("|", r"\|") for text in texts) + " |"


def keys_page() -> str:
    head = [
        "# Keys of a config",
        "",
        "What `lilllm config keys` lists. NAME stands for a name of your own, `[]` for each of a",
        "list; on the command line a key is overridden as in `pretrain.lr=3e-4`.",
        "",
    ]
    return "\n".join(head) + "\n" + as_list([asdict(key) for key in keys()]) + "\n"


@pytest.mark.parametrize(("name", "page"), [("commands", commands_page), ("keys", keys_page)])
def test_golden_page_is_current(name: str, page: Any) -> None:
    file = DOCS / f"{name}.md"
    if os.environ.get("LILLLM_GOLDEN"):
        file.write_text(page())
    assert file.read_text() == page(), "make golden"


def test_any_name_finds_the_keys_of_a_step() -> None:
    assert [key.path for key in keys("finetune.chat.lora")][:2] == [
        "finetune.NAME.lora",
        "finetune.NAME.lora.rank",
    ]
    assert keys("data.sources[].path") == keys("data.sources.path") != []
    for place in ("finetune.chat.sources", "data.val_sources", "eval.tasks.spam.sources"):
        assert len(keys(place)) == len(keys("data.sources")) > 5
        assert len(keys(f"{place}.path")) == 1
    assert not keys("pretrain.lrr")
