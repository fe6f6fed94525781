"""`lilllm import`."""

from pathlib import Path
from typing import Annotated

import typer

from lilllm.cli.arguments import Json


def import_model(
    source: Annotated[
        Path,
        typer.Argument(help="A Hugging Face model folder, a GGUF file or a llama2.c .bin file."),
    ],
    to: Annotated[Path, typer.Option(help="The checkpoint folder to make.")],
    tokenizer: Annotated[
        Path | None, typer.Option(help="The tokenizer.bin that belongs to a .bin file.")
    ] = None,
    json: Json = False,
) -> None:
    """Make a checkpoint folder of somebody else's model.

    Example: lilllm import SmolLM2-135M-Instruct.Q4_1.gguf --to models/smollm2-135m
    """
    from lilllm.cli.render import run_command
    from lilllm.events import Report

    def work(report: Report) -> object:
        from lilllm.stages.import_model import run

        return run(source, to, report, tokenizer=tokenizer)

    run_command("import", json, work)
