"""`lilllm chat`: a conversation on the terminal."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lilllm.cli.arguments import Json
from lilllm.cli.generate import (
    MaxNewTokens,
    Penalty,
    Seed,
    Stop,
    Target,
    Temperature,
    TopK,
    TopP,
    sampling_options,
)

if TYPE_CHECKING:
    from lilllm.events import Report
    from lilllm.stages.chat import Chat

HELP = """/reset              forget the conversation
/system TEXT        set the system message; without TEXT remove it
/save FILE          write the conversation as JSON
/temperature X      0 takes the most likely token
/help               this list
/exit               leave, as Ctrl-D does"""


def chat(
    checkpoint: Target = None,
    max_new_tokens: MaxNewTokens = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    repetition_penalty: Penalty = None,
    stop: Stop = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Talk with a model; /help lists what else can be typed.

    Example: lilllm chat runs/demo
    """
    from lilllm.cli.render import run_command
    from lilllm.events import Report

    given = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "repetition_penalty": repetition_penalty,
        "stop": stop or None,
    }

    def work(report: Report) -> object:
        sampling_options({}, given)  # a wrong one is told before anything is loaded
        from lilllm.stages.chat import Chat
        from lilllm.stages.find_checkpoint import find_checkpoint, load_checkpoint, named_generate

        folder = find_checkpoint(checkpoint, report, chat=True)
        loaded = load_checkpoint(folder, generate=named_generate(checkpoint))
        options = sampling_options(loaded.generate.model_dump(), given)
        conversation = Chat(loaded, options, report, seed=seed)
        conversation.greet()
        _talk(conversation, report, silent=json)
        return {"checkpoint": loaded.folder, "messages": conversation.messages}

    run_command("chat", json, work, lambda result, out: None)


def _talk(conversation: "Chat", report: "Report", silent: bool) -> None:
    """Read lines until the end; with `silent` nothing is written to stdout."""
    from lilllm.errors import LilllmError
    from lilllm.events import Caution, Note

    if sys.stdin.isatty():
        report(Note("/help lists commands, Ctrl-C stops an answer, Ctrl-D leaves"))
        _edit_lines()
    while (line := _read_line()) is not None:
        try:
            if line.startswith("/"):
                if not _command(conversation, line, report):
                    return
            elif line.strip():
                _answer(conversation, line, silent)
        except LilllmError as err:  # a wrong line does not end the conversation
            report(Caution(f"{err.message}; {err.hint}" if err.hint else err.message))


def _answer(conversation: "Chat", line: str, silent: bool) -> None:
    def write(text: str) -> None:
        if not silent:
            sys.stdout.write(text)
            sys.stdout.flush()

    try:
        conversation.say(line, write)
    except KeyboardInterrupt:  # stops the answer, not the conversation
        write(" ...")
    write("\n")


def _command(conversation: "Chat", line: str, report: "Report") -> bool:
    """Do what a line that starts with / says; False ends the conversation."""
    from lilllm.events import Caution, Note

    name, _, value = line[1:].strip().partition(" ")
    value = value.strip()
    match name:
        case "exit" | "quit":
            return False
        case "reset":
            conversation.reset()
            report(Note("forgotten"))
        case "system":
            conversation.system = value
            report(Note("system message set" if value else "no system message"))
        case "save" if value:
            conversation.save(Path(value).expanduser())
            report(Note(f"saved in {value}"))
        case "temperature":
            given = {"temperature": value}
            conversation.options = sampling_options(conversation.options.model_dump(), given)
            report(Note(f"temperature {conversation.options.temperature:g}"))
        case "help":
            report(Note(HELP))
        case _:
            report(Caution(f"/{name}: not understood; /help lists what can be typed"))
    return True


def _edit_lines() -> None:
    """Arrow keys and a history at the prompt, where Python has readline."""
    import contextlib

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - importing it is what switches it on


def _read_line() -> str | None:
    """The next line; None at the end of the input or after Ctrl-C at the prompt."""
    try:
        if sys.stdin.isatty():
            return input("> ")
        line = sys.stdin.readline()
        return line.rstrip("\n") if line else None
    except (EOFError, KeyboardInterrupt):
        return None
