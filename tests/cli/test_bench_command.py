import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lilllm.config import load_config
from lilllm.errors import Interrupted
from lilllm.events import Event, StepDone
from lilllm.stages import bench_train

TINY = [
    *("model.d_model=32", "model.n_layers=2", "model.n_heads=4", "model.n_kv_heads=2"),
    *("model.d_ff=48", "model.max_seq_len=32", "tokenizer.vocab_size=300"),
    *("pretrain.batch_tokens=256", "pretrain.micro_batch_size=4", "pretrain.compile=false"),
    "threads=1",
]


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lilllm", "bench", "train", *TINY, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


def test_bench_train_measures_without_data_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = bench(tmp_path, "--steps", "3", "--warmup", "2", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["command"] == "bench train" and result["schema"] == 1
    assert result["tokens_per_s"] > 0 and result["peak_memory_bytes"] > 1e7
    assert 0 < result["mfu"] < 1
    assert result["steps"] == len(result["step_s"]) == 3
    assert not list(tmp_path.iterdir())


def test_bench_train_refuses_sizes_that_do_not_divide(tmp_path: Path) -> None:
    done = bench(tmp_path, "pretrain.micro_batch_size=3")
    assert done.returncode == 2
    assert "micro_batch_size=3" in done.stderr and "Traceback" not in done.stderr


def test_a_measurement_that_is_stopped_promises_nothing() -> None:
    def stop(event: Event) -> None:
        if isinstance(event, StepDone):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="nothing is kept"):
        bench_train.run(load_config(None, TINY), stop)
