"""`lilllm eval`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lilllm.cli.arguments import Json, NoBuild, Overrides, read_config

if TYPE_CHECKING:
    from rich.console import Console


def evaluate(
    target: Annotated[
        Path | None,
        typer.Argument(
            metavar="[CONFIG|CHECKPOINT]",
            help="A config or a checkpoint folder; none: the newest checkpoint under runs/, "
            "or the newest of the run that name=... says.",
        ),
    ] = None,
    overrides: Overrides = None,
    text: Annotated[
        list[str] | None, typer.Option("--text", help="A text file to score; repeatable.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="val or train, of the prepared data.", show_default="val")
    ] = None,
    no_build: NoBuild = False,
    json: Json = False,
) -> None:
    """Measure how well a model predicts text, in bits per byte.

    Example: lilllm eval configs/demo.yaml
    """
    from lilllm.cli.render import run_command
    from lilllm.events import Report

    def work(report: Report) -> object:
        from lilllm.config import layout
        from lilllm.config.load import is_config_file

        place, changes = target, list(overrides or [])
        if place is not None and "=" in str(place) and not place.exists():
            place, changes = None, [str(place), *changes]
        config = place if place is not None and is_config_file(place) else None
        settings = read_config(config, changes)  # wrong ones are told before anything is loaded
        if config is not None and not text and split is None:
            from lilllm.stages.pipeline import build

            return build(settings, report, "eval", not no_build)["eval"]
        from lilllm.stages.evaluate import run_checkpoint
        from lilllm.stages.find_checkpoint import find_checkpoint

        if config is not None:
            checkpoint = find_checkpoint(settings, report)
            return run_checkpoint(
                checkpoint, report, config=settings, texts=text or (), split=split
            )
        if place is None and any(change.startswith("name=") for change in changes):
            place = layout(settings).root
        checkpoint = find_checkpoint(place, report)
        return run_checkpoint(checkpoint, report, overrides=changes, texts=text or (), split=split)

    run_command("eval", json, work, _show)


def _show(result: Any, out: "Console") -> None:
    from lilllm.cli.render import plain, show_fields

    fields = plain(result)
    print(f"{fields['checkpoint']} on {fields['text']}")
    for task, measures in fields["tasks"].items():
        show_fields({task: measures})
