"""`lilllm feedback`: two answers side by side, blind, and what you think of them."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lilllm.cli.arguments import Json
from lilllm.cli.generate import (
    MaxNewTokens,
    Penalty,
    Seed,
    Target,
    Temperature,
    TopK,
    TopP,
    sampling_options,
)

if TYPE_CHECKING:
    from rich.console import Console

    from lilllm.events import Report
    from lilllm.stages.collect_feedback import Collector, Pair

HELP = """1 or 2   that answer is better (you are asked why)
=        neither is
+1 -2    thumb up or down, with the number of the answer
e1 e2    write what the answer should have been
s        another question
q        the end, as Ctrl-D"""


MOST_IN_VAIN = 20
"""Questions in a row with two equal answers after which there is nothing to judge."""


def feedback(
    checkpoint: Target = None,
    against: Annotated[
        Path | None, typer.Option(help="Another checkpoint; none: one answers twice.")
    ] = None,
    prompts: Annotated[
        str, typer.Option(help="A source of rows with questions, or a .txt file, one a line.")
    ] = "builtin:stories-words",
    out: Annotated[
        Path | None, typer.Option(help="The .jsonl file; by default in the run's folder.")
    ] = None,
    max_new_tokens: MaxNewTokens = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    repetition_penalty: Penalty = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Choose between two answers, blind; `lilllm finetune` learns from the file (DPO, SFT).

    Every judgement is on disk before the next question. The page /feedback.html of `lilllm serve`
    asks the same in a browser.

    Example: lilllm feedback runs/demo --out votes.jsonl
    """
    from lilllm.cli.render import run_command
    from lilllm.errors import ConfigError, DataError

    given = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "repetition_penalty": repetition_penalty,
    }

    def work(report: "Report") -> object:
        from lilllm.kernels import prebuild

        prebuild("decode")  # while torch is imported
        sampling_options({}, given)  # a wrong one is told before anything is loaded
        if out is not None and out.suffix != ".jsonl":
            raise ConfigError(f"--out {out}: votes are kept as JSON lines", f"--out {out}.jsonl")
        from lilllm.cli.display import console
        from lilllm.data.feedback import BEGINS
        from lilllm.data.journal import Journal
        from lilllm.stages.collect_feedback import Collector, default_path, read_prompts
        from lilllm.stages.find_checkpoint import find_checkpoint, load_checkpoint, named_generate

        folders = [find_checkpoint(checkpoint, report, chat=True)]
        if against is not None:
            folders.append(find_checkpoint(against, report, chat=True))
        writers = [
            load_checkpoint(folder, generate=named_generate(checkpoint)) for folder in folders
        ]
        questions = read_prompts(prompts, seed)
        options = sampling_options(writers[0].generate.model_dump(), given)
        journal = Journal(out or default_path(writers[0]), report, begins=BEGINS)
        collector = Collector(journal, options, report, writers, seed)
        screen = console(stderr=json)
        in_vain = 0
        for number, question in enumerate(questions):
            if collector.was_judged(number, question):
                continue
            pair = collector.pair(number, question)
            in_vain = 0 if pair is not None else in_vain + 1
            if in_vain == MOST_IN_VAIN:
                raise DataError(
                    f"{MOST_IN_VAIN} questions in a row got two equal answers",
                    "--temperature 0.8, or --against another checkpoint",
                )
            if pair is not None and not _judge(collector, pair, screen, report):
                break
        return collector.result()

    run_command("feedback", json, work)


def _judge(collector: "Collector", pair: "Pair", screen: "Console", report: "Report") -> bool:
    """Show a pair and take what is said of it; False at the end."""
    from lilllm.events import Caution, Note

    _show(pair, screen)
    while (line := _ask("1, 2, =, +1 -1 +2 -2, e1 e2, s, q, ?", screen)) is not None:
        match line.strip().lower():
            case "1" | "2" as side:
                collector.vote(pair, int(side) - 1, _ask("why? (Enter: no reason)", screen) or "")
                return True
            case "=":
                collector.vote(pair, None, _ask("why? (Enter: no reason)", screen) or "")
                return True
            case "+1" | "-1" | "+2" | "-2" as thumb:
                collector.thumb(pair, int(thumb[1]) - 1, thumb[0] == "+")
            case "e1" | "e2" as which:
                _edit(collector, pair, int(which[1]) - 1, screen, report)
            case "s":
                return True
            case "q":
                return False
            case _:
                report(Note(HELP) if line.strip() == "?" else Caution(f"not understood\n{HELP}"))
    return False


def _show(pair: "Pair", screen: "Console") -> None:
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    screen.print()
    screen.print(Text(pair.prompt, style="bold"))
    sides = Table.grid(expand=screen.is_terminal, padding=(0, 1))
    for _ in pair.shown:
        sides.add_column(ratio=1)
    sides.add_row(
        *(
            Panel(Text(answer.text.strip()), title=str(number), title_align="left")
            for number, answer in enumerate(pair.shown, 1)
        )
    )
    screen.print(sides, width=None if screen.is_terminal else 120, soft_wrap=False)


def _edit(
    collector: "Collector", pair: "Pair", which: int, screen: "Console", report: "Report"
) -> None:
    from lilllm.events import Caution

    old = pair.shown[which].text
    if os.environ.get("EDITOR") and sys.stdin.isatty():
        import click

        new = click.edit(old)
    else:
        new = _ask("its new text, in one line", screen)
    try:
        collector.edit(pair, which, (new or "").strip())
    except ValueError as err:
        report(Caution(str(err)))


def _ask(question: str, screen: "Console") -> str | None:
    """A line from the person; None at the end of the input or after Ctrl-C."""
    try:
        if sys.stdin.isatty():
            screen.print(question, style="dim")
            return input("> ")
        line = sys.stdin.readline()
        return line.rstrip("\n") if line else None
    except (EOFError, KeyboardInterrupt):
        return None
