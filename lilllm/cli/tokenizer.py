"""`lilllm tokenizer`: train, import and look at tokenizers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lilllm.cli.arguments import ConfigPath, Fresh, Json, Overrides, read_config

if TYPE_CHECKING:
    from rich.console import Console

    from lilllm.events import Report
    from lilllm.stages.report_tokenizer import ReportTokenizerResult
    from lilllm.tokenizer import Tokenizer

app = typer.Typer(help="Train, import and look at tokenizers.", no_args_is_help=True)

Folder = Annotated[
    Path | None,
    typer.Option(
        "--tokenizer", help="A tokenizer or model folder; none: the newest one under runs/."
    ),
]


@app.command()
def train(
    config: ConfigPath = None,
    overrides: Overrides = None,
    fresh: Fresh = False,
    json: Json = False,
) -> None:
    """Train a byte-level BPE tokenizer on the sources of a config, unless it is up to date.

    Example: lilllm tokenizer train data.sources=[builtin:stories] tokenizer.vocab_size=4096
    """
    from lilllm.cli.render import run_command

    def work(report: "Report") -> object:
        settings = read_config(config, overrides)
        from lilllm.stages.pipeline import build

        return build(settings, report, "tokenizer", fresh=fresh)["tokenizer"]

    run_command("tokenizer train", json, work)


@app.command("import")
def import_(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCE...", help="A folder, a file, or GPT-2's two files."),
    ],
    to: Annotated[Path, typer.Option("--to", help="The folder to write.")],
    json: Json = False,
) -> None:
    """Make a tokenizer folder from a tokenizer.json, a Hugging Face folder or GPT-2's files.

    Its ids stay what they are; chat tokens that it lacks are appended.

    Example: lilllm tokenizer import gpt2/encoder.json gpt2/vocab.bpe --to runs/gpt2-tokenizer
    """
    from lilllm.cli.render import run_command

    def work(report: "Report") -> object:
        from lilllm.stages import import_tokenizer

        return import_tokenizer.run(sources, to, report)

    run_command("tokenizer import", json, work)


@app.command("report")
def report_(
    text: Annotated[Path, typer.Option("--text", help="A file of text to measure on.")],
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FOLDER]...", help="Tokenizers; none: the newest under runs/."),
    ] = None,
    json: Json = False,
) -> None:
    """Show how well tokenizers fit a text: length, fertility, longest and unused tokens.

    Example: lilllm tokenizer report runs/demo/tokenizer runs/39m/tokenizer --text book.txt
    """
    from lilllm.cli.render import run_command

    def work(report: "Report") -> "ReportTokenizerResult":
        from lilllm.stages import report_tokenizer

        return report_tokenizer.run(folders or [], text, report)

    run_command("tokenizer report", json, work, _show_report)


@app.command()
def encode(
    text: Annotated[str, typer.Argument(help="What to encode; - reads standard input.")],
    tokenizer: Folder = None,
    json: Json = False,
) -> None:
    """Show the ids and pieces of a text.

    Example: lilllm tokenizer encode "Once upon a time"
    """
    from lilllm.cli.render import run_command

    def work(report: "Report") -> dict[str, object]:
        import sys

        words = sys.stdin.read() if text == "-" else text
        loaded = _load(tokenizer)
        ids = loaded.encode(words)
        pieces = [loaded.token_bytes(id).decode(errors="replace") for id in ids]
        return {"tokens": len(ids), "ids": ids, "pieces": pieces}

    run_command("tokenizer encode", json, work, _show_pieces)


@app.command()
def decode(
    ids: Annotated[list[int], typer.Argument(metavar="ID...", help="Token ids.")],
    tokenizer: Folder = None,
    json: Json = False,
) -> None:
    """Show the text that ids spell, special tokens included.

    Example: lilllm tokenizer decode 0 1408 236
    """
    from lilllm.cli.render import run_command

    def work(report: "Report") -> dict[str, object]:
        loaded = _load(tokenizer)
        from lilllm.errors import ConfigError

        wrong = [id for id in ids if not 0 <= id < loaded.vocab_size]
        if wrong:
            raise ConfigError(
                f"no such token: {', '.join(map(str, wrong))}",
                f"ids of this tokenizer are 0 to {loaded.vocab_size - 1}",
            )
        return {"text": loaded.decode(ids, skip_special=False)}

    run_command("tokenizer decode", json, work, lambda result, out: print(result["text"]))


def _load(folder: Path | None) -> "Tokenizer":
    from lilllm.stages.report_tokenizer import find_tokenizer
    from lilllm.tokenizer import Tokenizer

    return Tokenizer.load(folder or find_tokenizer())


def _show_pieces(result: dict[str, object], out: "Console") -> None:
    ids, pieces = result["ids"], result["pieces"]
    assert isinstance(ids, list) and isinstance(pieces, list)
    for id, piece in zip(ids, pieces, strict=True):
        print(f"{id:>7}  {piece!r}")


def _show_report(result: "ReportTokenizerResult", out: "Console") -> None:
    from rich.table import Table
    from rich.text import Text

    title = Text(f"{result.text}: {result.bytes:,} bytes, {result.words:,} words")
    table = Table(title=title)
    table.add_column("")
    for folder in result.tokenizers:
        table.add_column(folder, justify="right", overflow="fold")
    reports = list(result.tokenizers.values())
    table.add_row("vocabulary", *(f"{r.vocab_size:,}" for r in reports))
    table.add_row("tokens", *(f"{r.tokens:,}" for r in reports))
    table.add_row("bytes per token", *(f"{r.bytes_per_token:.3f}" for r in reports))
    table.add_row("tokens per word", *(f"{r.tokens_per_word:.3f}" for r in reports))
    table.add_row("single bytes", *(f"{r.single_byte_share:.2%}" for r in reports))
    table.add_row("unused tokens", *(f"{r.unused:,} ({r.unused_share:.1%})" for r in reports))
    table.add_row("longest", *("\n".join(map(repr, r.longest)) for r in reports))
    table.add_row("longest unused", *("\n".join(map(repr, r.unused_examples)) for r in reports))
    out.print(table, markup=False)
