"""Running the real command in real processes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TINY = """
name: tiny
seed: 3
threads: 1
tokenizer: {vocab_size: 600, train_bytes: 300_000}
data:
  sources: [{path: "builtin:stories", documents: 1500}]
  val_fraction: 0.02
  processes: 2
model: {d_model: 32, n_layers: 2, n_heads: 2, n_kv_heads: 1, d_ff: 64, max_seq_len: 64}
pretrain:
  max_steps: 40
  batch_tokens: 512
  micro_batch_size: 8
  warmup_steps: 4
  lr: 3e-3
  save_every: 4
  eval_every: 20
  eval_tokens: 4096
  log_every: 5
finetune:
  chat:
    sources: [{path: "builtin:stories-instruct", documents: 300}]
    max_steps: 12
    batch_tokens: 512
    micro_batch_size: 8
    save_every: 4
    lr: 1e-3
    too_long: drop
eval: {max_documents: 5}
generate: {max_new_tokens: 30}
"""

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
Lilllm = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def lilllm(tmp_path: Path) -> Lilllm:
    """Run `lilllm ARGUMENTS` in the test's folder, which holds tiny.yaml."""
    (tmp_path / "tiny.yaml").write_text(TINY)

    def run(
        *arguments: str, cwd: Path = tmp_path, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lilllm", *arguments],
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**os.environ, **ENVIRONMENT, **environment},
        )

    return run


def result(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one JSON object of a command that ended well."""
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["schema"] == 1
    return answer


def refused(done: subprocess.CompletedProcess[str], exit_code: int, *said: str) -> None:
    """A clear error with the designed exit code, and no traceback."""
    assert done.returncode == exit_code, done.stderr
    assert "Traceback" not in done.stderr
    for text in said:
        assert text in done.stderr
