"""`lilllm export`."""

from pathlib import Path
from typing import Annotated

import typer

from lilllm.cli.arguments import Json, bits_of


def export(
    checkpoint: Annotated[
        Path | None,
        typer.Argument(
            metavar="[CHECKPOINT]",
            help="A checkpoint, stage or run folder, or a config; none: the newest under runs/.",
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            help="gguf: a file for llama.cpp; ollama: that and a Modelfile; hf: a folder for "
            "transformers and vLLM.",
            show_default="gguf",
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(help="f32, f16, bf16, or for gguf and ollama q8_0.", show_default="as stored"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File or folder to make.", show_default="in exports/")
    ] = None,
    quantize: Annotated[
        str | None,
        typer.Option(
            help="int8 or int4: a smaller folder for lilllm itself, instead of --to and --dtype; "
            "the loss is measured."
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(help="With --quantize, a file to measure the loss with; repeatable."),
    ] = None,
    json: Json = False,
) -> None:
    """Write a model in the format of another program, or in fewer bits.

    Example: lilllm export runs/demo --to gguf --dtype q8_0
    """
    from lilllm.cli.render import run_command
    from lilllm.errors import ConfigError
    from lilllm.events import Report

    def work(report: Report) -> object:
        from lilllm.stages.export import run
        from lilllm.stages.find_checkpoint import find_checkpoint

        if bits := bits_of(quantize):
            if to or dtype:
                other = f"--to {to}" if to else f"--dtype {dtype}"
                raise ConfigError(
                    f"--quantize {quantize} and {other}: one or the other",
                    "--quantize makes a folder for lilllm itself; `--to gguf --dtype q8_0` makes "
                    "a file of 8 bits for llama.cpp",
                )
            from lilllm.stages import quantize as stage

            folder = find_checkpoint(checkpoint, report)
            return stage.run(folder, bits, report, out=out, texts=text or ())
        return run(find_checkpoint(checkpoint, report), to or "gguf", report, dtype=dtype, out=out)

    run_command("export", json, work)
