"""C sources become libraries: once, in the background too, and never in anybody's way."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lilllm.kernels import load, prebuild

needs_compiler = pytest.mark.skipif(load("decode") is None, reason="no C compiler")


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A compiler that notes its calls; an empty cache for what it makes."""
    path = tmp_path / "cc"
    path.write_text(f'#!/bin/sh\necho call >> {tmp_path}/calls\nsleep 0.3\nexec gcc "$@"\n')
    path.chmod(0o755)
    monkeypatch.setenv("CC", str(path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return path


@pytest.fixture(autouse=True)
def _forget() -> object:
    load.cache_clear()
    yield
    load.cache_clear()


@needs_compiler
def test_what_is_compiled_in_the_background_is_not_compiled_again(
    compiler: Path, tmp_path: Path
) -> None:
    prebuild("decode")
    prebuild("decode")
    library = load("decode")
    assert library is not None
    assert library.decode
    assert (tmp_path / "calls").read_text() == "call\n"


def test_a_compiler_that_cannot_is_asked_once(compiler: Path, tmp_path: Path) -> None:
    compiler.write_text(f"#!/bin/sh\necho call >> {tmp_path}/calls\nexit 1\n")
    for _ in range(2):
        load.cache_clear()
        assert load("decode") is None
    assert (tmp_path / "calls").read_text() == "call\n"


@needs_compiler
def test_a_compiler_that_is_killed_is_asked_again(compiler: Path, tmp_path: Path) -> None:
    works = compiler.read_text()
    compiler.write_text("#!/bin/sh\nkill -9 $$\n")
    assert load("decode") is None
    assert not [*tmp_path.glob("lilllm/*.so")]
    compiler.write_text(works)
    load.cache_clear()
    assert load("decode") is not None


@needs_compiler
def test_another_compiler_makes_another_library(compiler: Path, tmp_path: Path) -> None:
    for version in range(2):
        compiler.write_text(compiler.read_text() + f"# version {version}\n")
        load.cache_clear()
        assert load("decode") is not None
    assert (tmp_path / "calls").read_text() == "call\ncall\n"


@needs_compiler
def test_a_library_is_ours_alone_whatever_the_umask(compiler: Path) -> None:
    before = os.umask(0o002)
    try:
        assert load("decode") is not None
    finally:
        os.umask(before)


def test_a_command_that_fails_does_not_wait_for_the_compiler(
    compiler: Path, tmp_path: Path
) -> None:
    compiler.write_text("#!/bin/sh\nsleep 60\n")
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "lilllm", "generate", str(tmp_path / "none")],
        capture_output=True,
        text=True,
        env=os.environ,
        check=False,
    )
    assert done.returncode == 4
    assert "Traceback" not in done.stderr
    assert time.monotonic() - start < 50
    assert not [*tmp_path.glob("lilllm/*")], "nothing half-made is left"


def test_generate_starts_the_compiler_before_it_imports_torch(tmp_path: Path) -> None:
    script = (
        "import sys, lilllm.kernels.build as build\n"
        "build._built = lambda name: print(name, 'torch' in sys.modules, flush=True)\n"
        "from lilllm.cli.app import app\n"
        "app(['generate', 'none'], standalone_mode=False)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("decode False"), done.stderr
