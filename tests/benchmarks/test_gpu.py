"""The benchmark for GPUs, tried at a tiny size on a CPU: it must work when a GPU is at hand."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_gpu_benchmark_runs_dry_on_a_cpu(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    nowhere = {"PEERS": str(tmp_path), "PEERS_LITGPT": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "benchmarks/gpu.py", "--device", "cpu", "--tiny", "--out", str(out)],
        cwd=ROOT,
        env={**os.environ, **nowhere, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "hf_bf16 is left out" in done.stderr
    result = json.loads(out.read_text())
    assert all(check["ok"] for check in result["checks"].values())
    found = result["training"]["tiny"]["results"]["lilllm_bf16"]
    assert found["tokens_per_s"] > 0 and found["mfu"] > 0
    assert result["decoding"]["tiny"]["tokens_per_s_1"] > 0
