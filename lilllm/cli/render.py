"""What every command shares: run the work, show its result, turn errors into exit codes.

stdout carries the result (or, with `--json`, exactly one JSON object); stderr carries progress.
"""

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from lilllm import __version__
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
        except LilllmError as err:
            display.close()
            _fail(err.message, err.hint, err.exit_code, json_output, err)
        except KeyboardInterrupt as err:
            display.close()
            _fail("interrupted", "run the same command again to continue", 130, json_output, err)
        except BrokenPipeError:  # the reader of our stdout went away, as `| head` does
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - lives until exit
            sys.exit(0)
        except Exception as err:
            display.close()
            message = f"internal error: {type(err).__name__}: {err}"
            _fail(message, "LILLLM_DEBUG=1 shows where; please report it", 1, json_output, err)
    if json_output:
        print_json({"command": name, "version": __version__, **plain(result)})
    elif show is not None:
        show(result, console())
    else:
        show_fields(plain(result))


def plain(value: Any) -> Any:
    """A result as JSON values: dataclasses become mappings, paths strings, absent figures go."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {key: plain(item) for key, item in fields.items() if _applies(item)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items() if _applies(item)}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value


def _applies(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and value != value)


def print_json(fields: Mapping[str, Any]) -> None:
    """Print the one machine-readable object of a command on stdout."""
    print(json.dumps({"schema": 1, **fields}, ensure_ascii=False, allow_nan=False))


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
        raise err
    if json_output:
        print_json({"error": {"message": message, "hint": hint, "exit_code": exit_code}})
    print(f"lilllm: error: {message}", file=sys.stderr)
    if hint:
        print(f"lilllm: hint: {hint}", file=sys.stderr)
    sys.stdout.flush()
    sys.exit(exit_code)
