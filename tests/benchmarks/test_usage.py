"""`make bench` lists every benchmark, by what the script says of its call."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [
    path
    for path in sorted((ROOT / "benchmarks").glob("*.py"))
    if "__main__" in path.read_text(encoding="utf-8") and not path.stem.endswith("_worker")
]


@pytest.fixture(scope="module")
def said() -> str:
    """What the last line of the target prints; those before it install and measure."""
    make = ["make", "--no-print-directory", "--dry-run", "--assume-old=.venv/.dev", "bench"]
    done = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True)
    listing = done.stdout.splitlines()[-1]
    assert listing.startswith("grep ")
    return subprocess.run(
        listing, shell=True, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_make_bench_says_how_a_benchmark_is_called(script: Path, said: str) -> None:
    assert f"python benchmarks/{script.name}" in said


def test_make_bench_runs_only_what_needs_nothing(said: str) -> None:
    recipe = (ROOT / "Makefile").read_text().partition("\nbench:")[2].partition("\n\n")[0]
    calls = [line.partition("python ")[2] for line in recipe.splitlines() if "$(BIN)" in line]
    assert calls
    for call in calls:
        assert f"    python {call}\n" in said, "called with the arguments that it says it needs"
