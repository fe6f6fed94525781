"""The root command: puts the commands together and makes sure nobody sees a traceback.

Each command lives in its own file. Nothing heavier than typer is imported here, so that
`--help` answers at once.
"""

import os
from typing import Annotated

import typer

from lilllm import __version__
from lilllm.cli import chat as chat_command
from lilllm.cli import config, data, eval, finetune, generate, pretrain, run, runs, tokenizer
from lilllm.cli import import_ as import_command

app = typer.Typer(
    name="lilllm",
    help="Raise a little language model: tokenizer, data, pretraining, finetuning, evaluation, "
    "generation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
app.add_typer(tokenizer.app, name="tokenizer")
app.add_typer(data.app, name="data")
app.command("pretrain")(pretrain.pretrain)
app.command("finetune")(finetune.finetune)
app.command("eval")(eval.evaluate)
app.command("generate")(generate.generate)
app.command("chat")(chat_command.chat)
app.command("import")(import_command.import_model)
app.add_typer(config.app, name="config")
app.add_typer(runs.app, name="runs")


def main() -> None:
    """Entry point of the `lilllm` command."""
    # Threads that wait by spinning starve each other on a busy machine: training on two cores
    # that others use too was 1.4 to 2.5 times slower with them (docs/experiments.md).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app()
