"""What Unix has and Windows lacks is used where it is there, and missed nowhere."""

import ast
import builtins
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from lilllm.errors import RunError
from lilllm.files import lock_folder
from lilllm.training.hardware import keep_freed_memory, peak_memory_bytes
from lilllm.training.signals import StopRequest

UNIX_MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog"}
UNIX_CALLS = {"fork", "forkpty", "getuid", "geteuid", "setsid", "killpg", "getpgid", "mkfifo"}
UNIX_SIGNALS = {"SIGKILL", "SIGUSR1", "SIGUSR2", "SIGHUP", "SIGALRM", "SIGCHLD", "SIGPIPE"}
SOURCES = sorted((Path(__file__).parents[2] / "lilllm").rglob("*.py"))


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Unix's modules and signals."""
    original = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name in UNIX_MODULES:
            raise ImportError(name)
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    for name in ("SIGUSR1", "SIGHUP"):
        monkeypatch.delattr(signal, name, raising=False)
    monkeypatch.setattr(sys, "platform", "win32")


@pytest.mark.usefixtures("windows")
def test_locks_signals_and_memory_do_without_unix(tmp_path: Path) -> None:
    with lock_folder(tmp_path / "run"):
        pass
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGTERM)
    assert stop
    assert peak_memory_bytes("cpu") == 0
    keep_freed_memory()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
def test_a_closed_terminal_is_no_wish_to_stop_under_nohup() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGHUP)
        assert not stop
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.skipif(sys.platform == "win32", reason="locks of Unix")
def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    with (
        lock_folder(tmp_path / "run"),
        pytest.raises(RunError, match="another process"),
        lock_folder(tmp_path / "run"),
    ):
        pass


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_unix_is_asked_for_only_where_its_absence_is_handled(path: Path) -> None:
    """Imports of its modules stand in a `try` or a `suppress`; calls and signals nowhere."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tried = {
        id(node)
        for attempt in ast.walk(tree)
        if isinstance(attempt, ast.Try)
        or (
            isinstance(attempt, ast.With)
            and "suppress(ImportError)" in ast.unparse(attempt.items[0])
        )
        for statement in attempt.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and id(node) not in tried:
            assert not UNIX_MODULES & {alias.name for alias in node.names}, node.lineno
        if isinstance(node, ast.ImportFrom) and id(node) not in tried:
            assert node.module not in UNIX_MODULES, node.lineno
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            named = UNIX_CALLS if node.value.id == "os" else set()
            named = UNIX_SIGNALS if node.value.id == "signal" else named
            assert node.attr not in named, node.lineno
