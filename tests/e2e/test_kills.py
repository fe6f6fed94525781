"""Killed at random moments, a full disk, a damaged checkpoint: the same command finishes the work.

The weights at the end are those of an undisturbed run, bit for bit, and nothing was lost but the
steps since the last save. `make test-all` strikes 50 + 10 times and keeps the figures.
"""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks.machine import describe
from lilllm.files import sha256_file, write_json
from lilllm.training.metrics import read_metrics
from lilllm.training.state import newest_valid, read_marker
from tests.e2e.conftest import ENVIRONMENT, TINY, Lilllm, refused, result

PRETRAIN, CHAT = Path("runs/tiny/pretrain"), Path("runs/tiny/finetune/chat")
STAGES = {"pretrain": (PRETRAIN, 40), "finetune": (CHAT, 12)}  # with their steps
WEIGHTS = [place / f"step-{steps:08}/model.safetensors" for place, steps in STAGES.values()]
SAVE_EVERY = 4
FIGURES = Path(__file__).parents[2] / "benchmarks" / "results" / "kills.json"


@dataclass
class Strikes:
    """What signals hit: how many in which stage, and the steps that had to be done again."""

    hit: Counter[str] = field(default_factory=Counter)
    most_steps_lost: int = 0
    steps_lost: int = 0

    def count(self, folder: Path) -> None:
        """Look at what a dead process left behind."""
        stage = "outside training"
        for name, (place, steps) in STAGES.items():
            events = read_metrics(folder / place / "metrics.jsonl")
            if not events:
                continue
            saved = newest_valid(folder / place, lambda event: None)
            kept = int(saved.name.removeprefix("step-")) if saved else 0
            stage = name if kept < steps else stage
            lost = max(event.get("step", 0) for event in events) - kept
            self.steps_lost += max(lost, 0)
            self.most_steps_lost = max(self.most_steps_lost, lost)
        self.hit[stage] += 1


def strike_until_done(
    folder: Path, number: signal.Signals, times: int, seconds: float, seed: int, strikes: Strikes
) -> int:
    """Start `lilllm run` again and again, sending a signal after a random time, until it is done.

    Returns:
        how many signals hit a running process.
    """
    rng = random.Random(seed)
    folder.mkdir()
    (folder / "tiny.yaml").write_text(TINY)
    command = [sys.executable, "-m", "lilllm", "run", "tiny.yaml"]
    command += ["pretrain.log_every=1", "finetune.chat.log_every=1"]
    hits = 0
    for attempt in range(times + 1):
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=ENVIRONMENT)
            try:
                if attempt < times and rng.random() < 0.5:  # in the midst of a stage, else anywhere
                    _wait_for_a_step(folder / rng.choice(list(STAGES.values()))[0], process)
                    process.wait(rng.uniform(0.0, 0.3))
                process.wait(rng.uniform(0.2, 1.0) * seconds if attempt < times else 300)
            except subprocess.TimeoutExpired:
                process.send_signal(number)
                process.wait(600)
                hits += 1
                strikes.count(folder)
                if number != signal.SIGKILL:
                    assert process.returncode in (130, -number, 0), (folder / "log").read_text()
                continue
        said = (folder / "log").read_text()
        assert process.returncode == 0, said
        assert "Traceback" not in said
        break
    return hits


def _wait_for_a_step(stage: Path, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None and not (stage / "metrics.jsonl").exists():
        time.sleep(0.01)


def check(lilllm: Lilllm, tmp_path: Path, number: signal.Signals, times: int) -> dict[str, object]:
    began = time.monotonic()
    result(lilllm("run", "tiny.yaml", "--json"))
    whole = time.monotonic() - began
    undisturbed = [sha256_file(tmp_path / path) for path in WEIGHTS]
    strikes, done, folders = Strikes(), 0, 0
    wanted = set(STAGES) if times > 3 else set()  # what must have been struck in its midst
    while (done < times or not wanted <= set(strikes.hit)) and folders < 5 * times:
        folder = tmp_path / f"{number.name}-{folders}"
        more = min(6, times - done) if done < times else 6
        done += strike_until_done(folder, number, more, whole, folders, strikes)
        folders += 1
        assert [sha256_file(folder / path) for path in WEIGHTS] == undisturbed
    assert done >= times and wanted <= set(strikes.hit), strikes
    # A step may be logged just before it is saved, and the save may be what was hit.
    assert strikes.most_steps_lost <= (SAVE_EVERY if number == signal.SIGKILL else 0)
    return {
        "signals": done,
        "runs": folders,
        "hit": dict(strikes.hit),
        "steps_lost": strikes.steps_lost,
        "most_steps_lost": strikes.most_steps_lost,
        "save_every": SAVE_EVERY,
        "weights_equal_undisturbed": True,
    }


@pytest.mark.timeout(900)
def test_3_kills_change_nothing(lilllm: Lilllm, tmp_path: Path) -> None:
    check(lilllm, tmp_path, signal.SIGKILL, 3)


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_50_kills_and_10_sigterms_change_nothing(lilllm: Lilllm, tmp_path: Path) -> None:
    figures = {
        "kill -9": check(lilllm, tmp_path, signal.SIGKILL, 50),
        "SIGTERM": check(lilllm, tmp_path, signal.SIGTERM, 10),
    }
    write_json(FIGURES, {"machine": describe(), **figures})


def test_a_full_disk_and_a_damaged_checkpoint_change_nothing(
    lilllm: Lilllm, tmp_path: Path
) -> None:
    resource = pytest.importorskip("resource", reason="limits of Unix")
    result(lilllm("pretrain", "tiny.yaml", "--json"))
    undisturbed = sha256_file(tmp_path / WEIGHTS[0])

    def run(*more: str, limit: int = 0) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "lilllm", "pretrain", "tiny.yaml", "name=hurt", *more],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
            preexec_fn=lambda: limit and resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )

    shared = "tokenizer.path=runs/tiny/tokenizer", "data.path=runs/tiny/data"
    moment = "pretrain.save_every=10", "pretrain.keep_last=9"
    assert run(*shared, *moment, "pretrain.max_steps=40").returncode == 0
    folder = tmp_path / "runs/hurt/pretrain"
    assert sha256_file(folder / "step-00000040/model.safetensors") == undisturbed

    for step in ("step-00000040", "result.json", "best"):  # as it was after step 30
        path = folder / step
        subprocess.run(["rm", "-rf", path], check=True)
    (folder / "latest").write_text("step-00000030\n")
    size = (folder / "step-00000030/model.safetensors").stat().st_size
    refused(run(*shared, *moment, limit=size // 2), 5, "cannot be written", "free some space")
    assert read_marker(folder, "latest") == "step-00000030"
    assert not list(folder.glob(".partial-*"))

    weights = folder / "step-00000030/model.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    done = run(*shared, *moment)
    assert done.returncode == 0, done.stderr
    assert "using the checkpoint before it" in done.stderr
    assert sha256_file(folder / "step-00000040/model.safetensors") == undisturbed
