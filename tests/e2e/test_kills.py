"""`kill -9` at random moments: the same command finishes the work, and the weights are equal."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lilllm.files import sha256_file
from tests.e2e.conftest import TINY, Lilllm, result

LAST = Path("runs/tiny/finetune/chat/step-00000012/model.safetensors")
BASE = Path("runs/tiny/pretrain/step-00000040/model.safetensors")


def run_until_done_under_fire(folder: Path, kills: int, seconds: float, seed: int) -> list[str]:
    """Start `lilllm run` again and again, killing it after a random time; where it was hit."""
    rng = random.Random(seed)
    folder.mkdir()
    (folder / "tiny.yaml").write_text(TINY)
    hit = []
    command = [sys.executable, "-m", "lilllm", "run", "tiny.yaml"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for attempt in range(kills + 1):
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment)
            try:
                process.wait(rng.uniform(0.2, 1.0) * seconds if attempt < kills else 300)
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                lines = (folder / "log").read_text().splitlines()
                hit.append(lines[-1] if lines else "starting")
                continue
        said = (folder / "log").read_text()
        assert process.returncode == 0, said
        assert "Traceback" not in said
        if attempt < kills:  # done before it could be killed: begin a stage anew
            break
    return hit


def check(lilllm: Lilllm, tmp_path: Path, kills: int) -> None:
    began = time.monotonic()
    result(lilllm("run", "tiny.yaml", "--json"))
    whole = time.monotonic() - began
    undisturbed = [sha256_file(tmp_path / path) for path in (BASE, LAST)]
    done = 0
    for seed in range(5 * kills):
        folder = tmp_path / f"fire-{seed}"
        hit = run_until_done_under_fire(folder, min(6, kills - done), whole, seed)
        done += len(hit)
        assert [sha256_file(folder / path) for path in (BASE, LAST)] == undisturbed, hit
        if done >= kills:
            break
    assert done >= kills


@pytest.mark.timeout(900)
def test_3_kills_change_nothing(lilllm: Lilllm, tmp_path: Path) -> None:
    check(lilllm, tmp_path, 3)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_20_kills_change_nothing(lilllm: Lilllm, tmp_path: Path) -> None:
    check(lilllm, tmp_path, 20)
