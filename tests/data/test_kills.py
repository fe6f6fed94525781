"""`kill -9` at random moments of preparation, in real processes."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of Unix")

SCRIPT = """
import sys
from pathlib import Path
from lilllm.config.schema import DataConfig
from lilllm.data import prepare, workers
from lilllm.events import silent
from tests.data.slow_encoder import SLOW

if __name__ == "__main__":
    workers.SMALL_BYTES = 0
    source, folder = sys.argv[1:]
    config = DataConfig(sources=({"path": source},), val_fraction=0.1)
    prepare(Path(folder), config, SLOW, 2, 0, silent, task_bytes=20_000, shard_tokens=100_000)
"""


def hashes(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def start(script: Path, source: Path, folder: Path) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen([sys.executable, script, source, folder], env=environment)


def children(pid: int) -> list[int]:
    """The processes that a process has started, where /proc tells."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("kills", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_a_killed_preparation_ends_with_the_same_bytes(tmp_path: Path, kills: int) -> None:
    rng = random.Random(kills)
    source, script = tmp_path / "a.jsonl", tmp_path / "prepare.py"
    texts = [f"{i} " + "word " * rng.randint(1, 200) for i in range(400)]
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts + texts[:100]))
    script.write_text(SCRIPT)
    began = time.monotonic()
    assert start(script, source, tmp_path / "calm").wait() == 0
    whole = time.monotonic() - began

    killed = 0
    for _ in range(kills):
        process = start(script, source, tmp_path / "data")
        try:
            process.wait(rng.uniform(0, whole))
        except subprocess.TimeoutExpired:
            killed += 1
        workers = children(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + 20
        while any(map(is_alive, workers)):
            assert time.monotonic() < deadline, "workers end with their parent"
            time.sleep(0.05)
    assert killed
    assert start(script, source, tmp_path / "data").wait() == 0
    assert hashes(tmp_path / "data") == hashes(tmp_path / "calm")
    assert {p.name for p in tmp_path.iterdir()} == {"a.jsonl", "prepare.py", "calm", "data"}
