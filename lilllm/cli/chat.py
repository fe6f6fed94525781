"""`lilllm chat`: a conversation on the terminal."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lilllm.cli.arguments import Json, Precision, check_precision
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

HELP = """/retry              another answer to the last message
/undo               take back the last message and its answer
/edit TEXT          say the last message otherwise; without TEXT change it at the prompt
/reset              forget the conversation
/system TEXT        set the system message; without TEXT remove it
/save FILE          write the conversation as JSON; a .jsonl gets one line more
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
    precision: Precision = "fp32",
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
        from lilllm.kernels import prebuild

        prebuild("decode")  # while torch is imported
        sampling_options({}, given)  # a wrong one is told before anything is loaded
        check_precision(precision)
        from lilllm.stages.chat import Chat
        from lilllm.stages.find_checkpoint import find_checkpoint, load_checkpoint, named_generate

        folder = find_checkpoint(checkpoint, report, chat=True)
        loaded = load_checkpoint(folder, precision=precision, generate=named_generate(checkpoint))
        options = sampling_options(loaded.generate.model_dump(), given)
        conversation = Chat(loaded, options, report, seed=seed)
        conversation.greet()
        _Talk(conversation, report, silent=json).run()
        return {"checkpoint": loaded.folder, "messages": conversation.messages}

    run_command("chat", json, work, lambda result, out: None)


class _Talk:
    """Reads lines until the end; with `silent` nothing is written to stdout."""

    def __init__(self, conversation: "Chat", report: "Report", silent: bool) -> None:
        self.conversation, self.report, self.silent = conversation, report, silent

    def run(self) -> None:
        """Hold the conversation."""
        from lilllm.errors import LilllmError
        from lilllm.events import Caution, Note

        if sys.stdin.isatty():
            self.report(Note("/help lists commands, Ctrl-C stops an answer, Ctrl-D leaves"))
            _edit_lines()
        while (line := _read_line()) is not None:
            try:
                if line.startswith("/"):
                    if not self._command(line):
                        return
                elif line.strip():
                    self._answer(line)
            except LilllmError as err:  # a wrong line does not end the conversation
                self.report(Caution(f"{err.message}; {err.hint}" if err.hint else err.message))

    def _answer(self, line: str) -> None:
        try:
            self.conversation.say(line, self._write)
        except KeyboardInterrupt:  # stops the answer, not the conversation
            self._write(" ...")
        self._write("\n")

    def _write(self, text: str) -> None:
        if not self.silent:
            sys.stdout.write(text)
            sys.stdout.flush()

    def _command(self, line: str) -> bool:
        """Do what a line that starts with / says; False ends the conversation."""
        from lilllm.events import Caution, Note

        conversation = self.conversation
        name, _, value = line[1:].strip().partition(" ")
        value = value.strip()
        match name:
            case "exit" | "quit":
                return False
            case "retry" | "undo" | "edit":
                self._take_back(name, value)
            case "reset":
                conversation.reset()
                self.report(Note("forgotten"))
            case "system":
                conversation.system = value
                self.report(Note("system message set" if value else "no system message"))
            case "save" if value:
                conversation.save(Path(value))
                self.report(Note(f"saved in {value}"))
            case "save":
                self.report(Caution("/save FILE wants the name of a file, for example talk.json"))
            case "temperature":
                given = {"temperature": value}
                conversation.options = sampling_options(conversation.options.model_dump(), given)
                self.report(Note(f"temperature {conversation.options.temperature:g}"))
            case "help":
                self.report(Note(HELP))
            case _:
                self.report(Caution(f"/{name}: not understood; /help lists what can be typed"))
        return True

    def _take_back(self, name: str, value: str) -> None:
        """Undo the last message; say it once more, or another in its place."""
        from lilllm.events import Caution, Note

        if name == "edit" and not value and not sys.stdin.isatty():
            self.report(Caution("/edit TEXT says the last message otherwise"))
            return
        said = self.conversation.undo()
        if said is None:
            self.report(Caution(f"/{name}: nothing was said yet"))
        elif name == "undo":
            self.report(Note(f"taken back: {said}"))
        elif name == "retry":
            self._answer(said)
        elif other := value or _read_line(said):
            self._answer(other)


def _edit_lines() -> None:
    """Arrow keys and a history at the prompt, where Python has readline."""
    import contextlib

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - importing it is what switches it on


def _read_line(begun: str = "") -> str | None:
    """The next line; None at the end of the input or after Ctrl-C at the prompt.

    Args:
        begun: what already stands at the prompt of a terminal, to be changed.
    """
    try:
        if sys.stdin.isatty():
            return _prompt(begun)
        line = sys.stdin.readline()
        return line.rstrip("\n") if line else None
    except (EOFError, KeyboardInterrupt):
        return None


def _prompt(begun: str) -> str:
    readline = sys.modules.get("readline")  # there since _edit_lines, where Python has it
    if readline is None or not begun:
        return input("> ")
    readline.set_startup_hook(lambda: readline.insert_text(begun))
    try:
        return input("> ")
    finally:
        readline.set_startup_hook()
