"""Memory of preparation does not grow with the text, measured in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="peak memory as Unix tells it")

SCRIPT = """
import resource, sys
from pathlib import Path
from lilllm.config.schema import DataConfig
from lilllm.data import prepare
from lilllm.events import silent
from tests.data.byte_encoder import BYTES

if __name__ == "__main__":
    source, separator, folder = sys.argv[1:]
    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    imported = peak()
    config = DataConfig(sources=({"path": source, "separator": separator},))
    prepare(Path(folder), config, BYTES, 1, 0, silent)
    print(peak() - imported)
"""
MEGABYTES = 120
LIMIT_MB = 110
"""Buffers take about half of this, whatever the size of the file."""


def write(path: Path, kind: str) -> None:
    line = "Once upon a time there was a fox, and nobody knew where it lived. " * 12
    with path.open("w") as file:
        if kind == "json":
            file.write("[")
        for index in range(MEGABYTES * 1_000_000 // len(line)):
            text = f"{index} {line}"
            if kind == "json":
                file.write(("," if index else "") + f'{{"text": "{text}"}}')
            elif kind == "jsonl":
                file.write(f'{{"text": "{text}"}}\n')
            else:
                file.write(f"{text}\n<|endoftext|>\n")
        if kind == "json":
            file.write("]")


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss counts in other units elsewhere")
@pytest.mark.parametrize(
    ("kind", "separator"),
    [
        pytest.param("txt", "", id="one document"),
        pytest.param("json", "-", id="one list"),
        pytest.param("txt", "<|endoftext|>", id="documents", marks=pytest.mark.slow),
        pytest.param("jsonl", "-", id="rows", marks=pytest.mark.slow),
    ],
)
def test_memory_stays_below_the_size_of_the_file(tmp_path: Path, kind: str, separator: str) -> None:
    script, source = tmp_path / "prepare.py", tmp_path / f"a.{kind}"
    script.write_text(SCRIPT)
    write(source, kind)
    command = [sys.executable, script, source, separator, tmp_path / "data"]
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert int(done.stdout) < LIMIT_MB
