"""What every command shares: run the work, show its result, turn errors into exit codes.

stdout carries the result (or, with `--json`, exactly one JSON object); stderr carries progress.
"""

import dataclasses
import json
import math
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from lilllm import __version__
from lilllm.cli.launch import ANSWERS, leave_answer, leave_error
from lilllm.errors import LilllmError
from lilllm.events import Report

if TYPE_CHECKING:
    from rich.console import Console

Result = TypeVar("Result")


def run_command(
    name: str,
    json_output: bool,
    work: Callable[[Report], Result],
    show: "Callable[[Result, Console], None] | None" = None,
) -> None:
    """Run a command's work and end the process with the designed exit code.

    Args:
        name: the command as it is typed, for the JSON object.
        json_output: print one JSON object instead of text for people.
        work: does everything; it gets the `report` callable.
        show: renders the result for people; by default its fields, one per line.
    """
    from lilllm.cli.display import Display, console

    with Display() as display:
        try:
            result = work(display)
            display.close()
            if answers := os.environ.get(ANSWERS):
                leave_answer(Path(answers), plain(result))
            elif not is_first_process():
                pass
            elif json_output:
                print_json({"command": name, "version": __version__, **plain(result)})
            elif show is not None:
                show(result, console())
            else:
                show_fields(plain(result))
            sys.stdout.flush()
        except LilllmError as err:
            display.close()
            _fail(err.message, err.hint, err.exit_code, json_output, err)
        except (KeyboardInterrupt, typer.Abort) as err:
            display.close()
            _fail("interrupted", "run the same command again to continue", 130, json_output, err)
        except BrokenPipeError:  # the reader of our stdout went away, as `| head` does
            _discard_stdout()
            sys.exit(0)
        except Exception as err:
            display.close()
            message = f"internal error: {type(err).__name__}: {err}"
            _fail(message, "LILLLM_DEBUG=1 shows where; please report it", 1, json_output, err)


def is_first_process() -> bool:
    """Whether this process speaks for the others that torchrun or its like started with it."""
    return os.environ.get("RANK", "0") == "0"


def plain(value: Any) -> Any:
    """A result as JSON values, whatever it holds.

    Dataclasses become mappings, and what does not apply is left out of them: None, and figures
    that are not finite, which are null in a list. Bytes and text that are not valid Unicode
    keep their bytes as escapes; arrays become lists, and dates and all else what `str` says.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {key: plain(item) for key, item in fields.items() if _applies(item)}
    if isinstance(value, Mapping):
        return {plain(str(key)): plain(item) for key, item in value.items() if _applies(item)}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return plain(os.fspath(value))
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, bytes | bytearray):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, int):  # bool is one
        return value
    if hasattr(value, "tolist"):  # arrays and numbers of numpy, tensors
        return plain(value.tolist())
    return plain(str(value))


def _applies(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def print_json(fields: Mapping[str, Any]) -> None:
    """Print the one machine-readable object of a command on stdout."""
    unicode = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
    print(json.dumps({"schema": 1, **fields}, ensure_ascii=not unicode, allow_nan=False))


def print_json_error(message: str, hint: str, exit_code: int) -> None:
    """Print the one machine-readable object of a command that failed."""
    error = {"message": message, "hint": hint, "exit_code": exit_code}
    try:
        print_json({"error": plain(error)})
    except BrokenPipeError:
        _discard_stdout()
    _flush_stdout()


def show_fields(fields: Mapping[str, Any], indent: str = "") -> None:
    """Print a mapping for people, one field per line."""
    width = max((len(key) for key in fields), default=0)
    for key, value in fields.items():
        if isinstance(value, Mapping):
            print(f"{indent}{key}")
            show_fields(value, indent + "  ")
        else:
            print(f"{indent}{key:<{width}}  {show_number(value)}")


def show_number(value: Any) -> str:
    """A figure as people read it: thousands separated, four significant digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _fail(message: str, hint: str, exit_code: int, json_output: bool, err: BaseException) -> None:
    if os.environ.get("LILLLM_DEBUG"):
        traceback.print_exception(err)
    if answers := os.environ.get(ANSWERS):
        leave_error(Path(answers), message, hint, exit_code, err)
    elif is_first_process():
        if json_output:
            print_json_error(message, hint, exit_code)
        _show_error(message, hint)
    elif not getattr(err, "told_elsewhere", False):
        _show_error(f"[process {os.environ['RANK']}] {message}", hint)
    _flush_stdout()
    sys.exit(exit_code)


def _show_error(message: str, hint: str) -> None:
    print(f"lilllm: error: {message}", file=sys.stderr)
    if hint:
        print(f"lilllm: hint: {hint}", file=sys.stderr)


def _flush_stdout() -> None:
    """Write out what is there, whether or not somebody still reads it."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_stdout()


def _discard_stdout() -> None:
    """Nobody reads stdout any more; Python would complain about it when it ends."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - lives until exit
