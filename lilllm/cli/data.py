"""`lilllm data`: prepare text for training, look at it, check it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lilllm.cli.arguments import ConfigPath, Fresh, Json, NoBuild, Overrides, read_config

if TYPE_CHECKING:
    from rich.console import Console

    from lilllm.events import Report
    from lilllm.stages.inspect_data import InspectResult, Places
    from lilllm.stages.inspect_rows import RowsResult

app = typer.Typer(help="Prepare text for training, look at it, check it.", no_args_is_help=True)

Place = Annotated[
    Path | None,
    typer.Argument(metavar="[CONFIG|FOLDER]", help="A YAML file, or a folder of shards."),
]
TokenizerFolder = Annotated[
    Path | None,
    typer.Option("--tokenizer", help="Of a FOLDER; by default the one beside it."),
]


@app.command()
def prep(
    config: ConfigPath = None,
    overrides: Overrides = None,
    no_build: NoBuild = False,
    fresh: Fresh = False,
    json: Json = False,
) -> None:
    """Tokenize the sources of a config into shards; trains the tokenizer first if it is missing.

    The same command continues an interrupted preparation.

    Example: lilllm data prep configs/39m.yaml data.sources=[stories.txt]
    """
    from lilllm.cli.render import run_command

    def work(report: "Report") -> object:
        settings = read_config(config, overrides)
        from lilllm.stages.pipeline import build

        return build(settings, report, "data", not no_build, fresh)["data"]

    run_command("data prep", json, work)


@app.command()
def inspect(
    place: Place = None,
    overrides: Overrides = None,
    split: Annotated[str, typer.Option("--split", help="train or val.")] = "train",
    start: Annotated[int, typer.Option("--start", help="First document to show.")] = 0,
    documents: Annotated[int, typer.Option("--documents", "-n", help="How many.", min=0)] = 3,
    tokenizer: TokenizerFolder = None,
    rows: Annotated[
        bool, typer.Option("--rows", help="Show the rows of the finetuning steps instead.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what prepared data holds: counts, lengths and decoded documents.

    Example: lilllm data inspect configs/demo.yaml --split val --documents 5
    """
    from lilllm.cli.render import run_command

    def work_rows(report: "Report") -> "RowsResult":
        settings = read_config(place, overrides)
        from lilllm.stages.inspect_rows import inspect_rows

        return inspect_rows(settings, start, documents, report)

    if rows:
        run_command("data inspect", json, work_rows, _show_rows)
        return

    def work(report: "Report") -> "InspectResult":
        found = _places(place, overrides, tokenizer)
        from lilllm.stages.inspect_data import inspect

        return inspect(found, split, start, documents, report)

    run_command("data inspect", json, work, _show)


@app.command()
def verify(
    place: Place = None,
    overrides: Overrides = None,
    tokenizer: TokenizerFolder = None,
    json: Json = False,
) -> None:
    """Check every file of prepared data against its hash.

    Example: lilllm data verify runs/demo/data
    """
    from lilllm.cli.render import run_command

    def work(report: "Report") -> object:
        found = _places(place, overrides, tokenizer)
        from lilllm.stages.inspect_data import verify

        return verify(found, report)

    run_command("data verify", json, work)


@app.command()
def synth(
    config: ConfigPath = None,
    overrides: Overrides = None,
    fresh: Fresh = False,
    json: Json = False,
) -> None:
    """Let a checkpoint or a server write training rows, each kept with its provenance.

    The same command continues an interrupted run, and with a larger synth.rows adds more.

    Example: lilllm data synth configs/demo.yaml synth.rows=200 synth.writer=runs/demo
    """
    from lilllm.cli.render import run_command

    def work(report: "Report") -> object:
        settings = read_config(config, overrides)
        from lilllm.stages.synthesize import run

        return run(settings, report, fresh)

    run_command("data synth", json, work)


def _places(place: Path | None, overrides: list[str] | None, tokenizer: Path | None) -> "Places":
    from lilllm.stages.inspect_data import Places, places_of, places_of_folder

    if place is not None and place.is_dir():
        return places_of_folder(place, tokenizer)
    found = places_of(read_config(place, overrides))
    return found if tokenizer is None else Places(found.data, tokenizer)


def _show(result: "InspectResult", console: "Console") -> None:
    from rich.table import Table

    from lilllm.cli.render import show_number

    print(f"{result.path}: {result.dtype}, vocabulary of {result.vocab_size:,}")
    keys = list(dict.fromkeys(key for figures in result.splits.values() for key in figures))
    table = Table("", *result.splits, box=None, pad_edge=False)
    for key in keys:
        cells = [show_number(figures.get(key, "")) for figures in result.splits.values()]
        table.add_row(key.replace("_", " "), *cells)
    console.print(table)
    left_out = {k: v for k, v in result.counts.items() if v and k != "read"}
    if left_out:
        print("left out: " + ", ".join(f"{v:,} {k.replace('_', ' ')}" for k, v in left_out.items()))
    for sample in result.samples:
        print(f"\n--- {result.split} document {sample['index']:,}, {sample['tokens']:,} tokens")
        print(sample.get("text", sample.get("ids")))


def _show_rows(result: "RowsResult", console: "Console") -> None:
    for step, sources in result.steps.items():
        for source in sources:
            count = f", {source['rows']:,} rows" if "rows" in source else ""
            print(f"{step}: {source['path']}{count}; fields: {', '.join(source['fields'])}")
            for sample in source["samples"]:
                print(f"\n--- {sample['where']}: {sample['shape']}")
                if "seen" in sample:
                    _show_spans(sample["seen"], console)
                    continue
                for name, value in sample["row"].items():
                    print(f"{name}: {value}")
            print()


def _show_spans(seen: list[list[dict[str, Any]]], console: "Console") -> None:
    """Texts as the model sees them; what it does not learn is dimmed."""
    from rich.text import Text

    for spans in seen:
        styled = ((span["text"], "bold" if span["learnt"] else "dim") for span in spans)
        console.print(Text.assemble(*styled), soft_wrap=True)
