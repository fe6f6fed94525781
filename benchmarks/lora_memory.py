"""Memory of full finetuning and of LoRA on the same rows, each in a process of its own.

    python benchmarks/lora_memory.py BASE

Three steps of 8 rows each; weights + gradients + optimizer state are counted, the peak is the
process's resident memory. The result goes to benchmarks/results/lora-memory.json.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import arguments, describe

from lilllm.config import Config
from lilllm.events import silent
from lilllm.stages.finetune import run_step

RESULTS = Path(__file__).parent / "results"
ROWS = [
    {"prompt": f"What comes after {n}?", "completion": f"After {n} comes {n + 1}."}
    for n in range(400)
]
STEP = {
    **{"sources": ["rows.jsonl"], "val_fraction": 0, "max_steps": 3, "batch_tokens": 1024},
    **{"micro_batch_size": 8, "warmup_steps": 0, "lr": 1e-5, "eval_every": 0, "compile": False},
}
KINDS = {"full": None, "lora": {"rank": 16, "alpha": 32}}


def measure(base: str, kind: str) -> None:
    """Train a few steps here and print what they took."""
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    step = {**STEP, "base": base, "lora": KINDS[kind]}
    config = Config.model_validate({"model": {"max_seq_len": 128}, "finetune": {"chat": step}})
    done = run_step(config, "chat", silent)
    names = ("trained_parameters", "training_bytes", "peak_memory_bytes")
    print(json.dumps({name: getattr(done, name) for name in names}))


def main() -> None:
    base, *kind = arguments(__doc__, 1)
    if kind:
        measure(base, kind[0])
        return
    script, where = str(Path(__file__).resolve()), str(Path(base).resolve())
    found = {}
    for name in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, script, where, name],
                cwd=folder,
                env={**os.environ},
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            found[name] = json.loads(done.stdout.splitlines()[-1])
    result = {
        **describe(),
        "base": Path(base).name,
        **found,
        "lora_over_full": found["lora"]["training_bytes"] / found["full"]["training_bytes"],
    }
    (RESULTS / "lora-memory.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
