"""The commands under test in an app of their own, run in this process."""

import json
from typing import Any

import typer
from click.testing import Result
from typer.testing import CliRunner

from lilllm.cli import bench, chat, eval, export, generate, import_, runs, serve

app = typer.Typer(pretty_exceptions_enable=False)
app.command("eval")(eval.evaluate)
app.command("generate")(generate.generate)
app.command("chat")(chat.chat)
app.command("serve")(serve.serve)
app.command("import")(import_.import_model)
app.command("export")(export.export)
app.add_typer(bench.app, name="bench")
app.add_typer(runs.app, name="runs")


def run(*arguments: object, code: int = 0, typed: str = "") -> Result:
    """Run a command; it must end with `code` and never show a traceback."""
    result = CliRunner().invoke(app, [str(part) for part in arguments], input=typed)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    if code:
        assert "lilllm: error: " in result.stderr
    return result


def run_json(*arguments: object, code: int = 0, typed: str = "") -> dict[str, Any]:
    """Run a command with --json; stdout must be one object."""
    fields: dict[str, Any] = json.loads(run(*arguments, "--json", code=code, typed=typed).stdout)
    assert fields["schema"] == 1
    return fields
