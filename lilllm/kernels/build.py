"""Compiles a C or C++ source of this folder once and loads it.

The compiler of the machine makes a library for its processor, a few seconds of work, kept in
the user's cache folder. Imports nothing heavy, so that a command can start the compiler before it
imports torch. Without a compiler, or with `LILLLM_NATIVE=0`, there is no library and torch does the
work: slower, and the same up to rounding.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import threading
import time
from functools import cache
from pathlib import Path

FLAGS = ("-O2", "-march=native", "-shared", "-fPIC")
C_FLAGS = ("-std=gnu11", "-fopenmp")
FAILURE_IS_BELIEVED_S = 24 * 3600
"""How long a compiler that failed is not asked again, seconds."""

_one_compiler = threading.Lock()


def prebuild(name: str) -> None:
    """Start compiling in the background what `load` will want, if it is not compiled yet.

    The thread does not outlive the process: a command that fails at once ends at once.
    """
    threading.Thread(target=_built, args=(name,), name=f"cc {name}", daemon=True).start()


@cache
def load(name: str) -> ctypes.CDLL | None:
    """The library of `name`.c or `name`.cpp, which calls torch; None where there can be none."""
    path = _built(name)
    if path is None:
        return None
    try:
        return ctypes.CDLL(str(path))
    except OSError:  # empty, as a compiler that fails leaves it
        return None


def _built(name: str) -> Path | None:
    """Where the library is, compiled now if need be; None where it cannot be or must not be."""
    if os.environ.get("LILLLM_NATIVE") == "0":
        return None
    try:
        source = Path(__file__).with_name(f"{name}.c")
        source = source if source.is_file() else source.with_suffix(".cpp")
        command = _command(source.suffix)
        if command is None:
            return None
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        path = home / "lilllm" / f"{name}-{_key(source, command)}.so"
        with _one_compiler:
            if not path.is_file() or not _is_ours(path) or _is_old_failure(path):
                _compile([*command, str(source), *_libraries(source.suffix)], path)
        return path if _is_ours(path) else None
    except (OSError, RuntimeError, subprocess.SubprocessError):
        return None  # no home, no room or no GCC


def _command(suffix: str) -> list[str] | None:
    """What compiles a source of that kind; None where there is no compiler."""
    variable, names = ("CC", ("gcc", "cc")) if suffix == ".c" else ("CXX", ("g++", "c++"))
    compiler = os.environ.get(variable) or next(filter(shutil.which, names), None)
    if compiler is None:
        return None
    command = [*compiler.split(), *FLAGS]
    if suffix == ".c":
        return [*command, *C_FLAGS]
    return [*command, "-std=gnu++17", f"-I{_torch_folder() / 'include'}"]


def _libraries(suffix: str) -> list[str]:
    """What stands behind the source, so that what it needs is found there."""
    return ["-lm"] if suffix == ".c" else [f"-L{_torch_folder() / 'lib'}", "-lc10"]


def _torch_folder() -> Path:
    import torch  # what is C++ is a part of it

    return Path(torch.__file__).parent


def _is_old_failure(path: Path) -> bool:
    """Whether compiling failed here a day ago or more: the compiler may have been mended."""
    made = path.stat()
    return made.st_size == 0 and time.time() - made.st_mtime > FAILURE_IS_BELIEVED_S


def _is_ours(path: Path) -> bool:
    """Whether nobody else can have put code there: the cache may be in a folder for all."""
    user_id = getattr(os, "getuid", None)
    if user_id is None:  # Windows
        return True
    stats = path.stat(), path.parent.stat()
    return all(stat.st_uid == user_id() and not stat.st_mode & 0o022 for stat in stats)


def _compile(command: list[str], path: Path) -> None:
    """Compile aside and rename, so that two processes may do it at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        # in a session of its own, so that Ctrl-C does not look like a compiler that cannot
        call = [*command, "-o", str(made)]
        try:
            code = subprocess.run(
                call, capture_output=True, timeout=60, start_new_session=True
            ).returncode
        except subprocess.TimeoutExpired:
            code = 1
        if code > 0:  # an empty file: today's other processes do not try in vain
            made.write_bytes(b"")
        elif code < 0:
            raise ChildProcessError(f"{command[0]} was killed")
        made.chmod(0o700)
        made.replace(path)


def _key(source: Path, command: list[str]) -> str:
    """A hash of everything that the library depends on; a home may be shared by machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        features = next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        features = platform.processor()
    read = [*sorted(source.parent.glob("*.h")), source]
    if source.suffix != ".c":
        read.append(_torch_folder() / "version.py")
    compiler = Path(shutil.which(command[0]) or command[0]).resolve()
    parts = (
        b"".join(path.read_bytes() for path in read),
        " ".join(command).encode(),
        f"{compiler} {compiler.stat().st_size} {compiler.stat().st_mtime_ns}".encode(),
        features.encode(),
    )
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
