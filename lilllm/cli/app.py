"""The root command: puts the commands together and makes sure nobody sees a traceback.

Each command lives in its own file. Nothing heavier than typer is imported here, so that
`--help` answers at once.
"""

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lilllm import __version__
from lilllm.cli import (
    bench,
    config,
    data,
    eval,
    export,
    feedback,
    finetune,
    generate,
    plan,
    pretrain,
    run,
    runs,
    serve,
    tokenizer,
)
from lilllm.cli import chat as chat_command
from lilllm.cli import import_ as import_command
from lilllm.cli.streams import prepare_streams


class Group(TyperGroup):
    """A group of commands whose own `--help` is False when it is not given.

    With typer's None for it, typer imports pydantic to make a bool of it.
    """

    def get_help_option(self, ctx: Any) -> Any:
        """The option, with its default."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.default = False
        return option


app = typer.Typer(
    name="lilllm",
    cls=Group,
    help="Raise a little language model: tokenizer, data, pretraining, finetuning, evaluation, "
    "generation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


# The common class of wrong arguments, wherever this version of typer keeps it.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lilllm {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Raise a little language model, from raw text to a chat.

    Example: lilllm run configs/demo.yaml
    """


app.command("run")(run.run)
app.add_typer(tokenizer.app, name="tokenizer", cls=Group)
app.add_typer(data.app, name="data", cls=Group)
app.command("plan")(plan.plan)
app.command("pretrain")(pretrain.pretrain)
app.command("finetune")(finetune.finetune)
app.command("eval")(eval.evaluate)
app.command("generate")(generate.generate)
app.command("chat")(chat_command.chat)
app.command("serve")(serve.serve)
app.command("feedback")(feedback.feedback)
app.command("import")(import_command.import_model)
app.command("export")(export.export)
app.add_typer(bench.app, name="bench", cls=Group)
app.add_typer(config.app, name="config", cls=Group)
app.add_typer(runs.app, name="runs", cls=Group)


def main() -> None:
    """Entry point of the `lilllm` command."""
    # Threads that spin long while they wait starve each other on a busy machine; sleeping at
    # once costs a quarter on a quiet one. A short spin is near the best of both
    # (docs/experiments.md).
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    prepare_streams()
    if "WORLD_SIZE" in os.environ:  # torch's notes about its collectives help no user
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    try:
        code = app(standalone_mode=False)
    except UsageError as err:
        code = _usage_error(err)
    except typer.Abort:
        code = 130
    if code:
        sys.exit(code)


def _usage_error(err: Any) -> int:
    """Tell what is wrong with the arguments on stderr, and with `--json` on stdout too."""
    from itertools import takewhile

    err.show()
    if "--json" in takewhile(lambda argument: argument != "--", sys.argv[1:]):
        from lilllm.cli.render import print_json_error

        command = err.ctx.command_path if err.ctx is not None else "lilllm"
        print_json_error(err.format_message(), f"`{command} --help` lists what can be typed", 2)
    return 2
