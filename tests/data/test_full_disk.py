"""A disk that is full at any moment of preparation, played by a limit on the size of files."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.byte_encoder import documents_of

pytest.importorskip("resource", reason="limits of Unix")

SCRIPT = """
import resource, sys
from pathlib import Path
from lilllm.config.schema import DataConfig
from lilllm.data import prepare, workers
from lilllm.errors import RunError
from lilllm.events import silent
from tests.data.byte_encoder import BYTES

if __name__ == "__main__":
    workers.SMALL_BYTES = 0
    source, folder, limit, processes = sys.argv[1:]
    if int(limit):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    config = DataConfig(sources=({"path": source},), val_fraction=0.1)
    try:
        prepare(Path(folder), config, BYTES, int(processes), 0, silent, task_bytes=20_000)
    except RunError as err:
        print(err.message, "|", err.hint)
        sys.exit(err.exit_code)
"""


def run(script: Path, source: Path, folder: Path, limit: int, processes: int) -> tuple[int, str]:
    root = Path(__file__).parents[2]
    command = [sys.executable, script, source, folder, limit, processes]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env={"PYTHONPATH": str(root)}
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


@pytest.mark.parametrize("processes", [1, 2])
def test_a_full_disk_ends_with_code_5_and_the_same_command_continues(
    tmp_path: Path, processes: int
) -> None:
    texts = [f"{i} " + "word " * (i % 150) for i in range(400)]
    source, script = tmp_path / "a.txt", tmp_path / "prepare.py"
    source.write_text("\n<|endoftext|>\n".join(texts))
    script.write_text(SCRIPT)
    folder = tmp_path / "data"
    for limit in (500, 30_000, 60_000):  # of the first task, of a later file, of the shards
        code, told = run(script, source, folder, limit, processes)
        assert code == 5, told
        assert "free some space" in told
        assert limit == 500 or (str(folder) in told and "cannot be written" in told)
        assert not folder.exists()
    parts = {p: p.stat().st_mtime_ns for p in tmp_path.glob("data.preparing/part-*.docs")}
    assert parts, "the last limit lets tasks finish"
    assert run(script, source, folder, 0, processes)[0] == 0
    assert sorted(documents_of(folder, "train") + documents_of(folder, "val")) == sorted(
        text.strip() for text in texts
    )


def test_a_full_disk_leaves_older_shards_as_they_are(tmp_path: Path) -> None:
    source, script, folder = tmp_path / "a.txt", tmp_path / "prepare.py", tmp_path / "data"
    script.write_text(SCRIPT)
    source.write_text("\n<|endoftext|>\n".join(f"old {i}" for i in range(50)))
    assert run(script, source, folder, 0, 1)[0] == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    source.write_text("\n<|endoftext|>\n".join(f"new {i} " + "word " * 50 for i in range(500)))
    assert run(script, source, folder, 60_000, 1)[0] == 5
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
