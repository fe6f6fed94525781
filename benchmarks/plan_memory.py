"""The memory that `lilllm plan` predicts, beside the peak of the training that it predicts.

    python benchmarks/plan_memory.py

Each row is a `lilllm plan` and a `lilllm pretrain` of three steps, eager, in processes of their
own. The result goes to benchmarks/results/plan-memory.json.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from machine import describe

ROOT = Path(__file__).parents[1]
CASES = {
    "39M, 8 x 512, AdamW": ("39m", "pretrain.batch_tokens=4096", "pretrain.micro_batch_size=8"),
    "39M, 4 x 256, AdamW": (
        "39m",
        "model.max_seq_len=256",
        "pretrain.batch_tokens=1024",
        "pretrain.micro_batch_size=4",
    ),
    "39M, 2 x 4 x 512, Muon": (
        "39m",
        "pretrain.batch_tokens=4096",
        "pretrain.micro_batch_size=4",
        "pretrain.optimizer=muon",
    ),
    "39M, 8 x 512, fp32": (
        "39m",
        "precision=fp32",
        "pretrain.batch_tokens=4096",
        "pretrain.micro_batch_size=8",
    ),
    "TinyStories in 20 minutes": ("tinystories-20min",),
    "baby language model, 16 x 512": (
        "blm",
        "pretrain.batch_tokens=8192",
        "pretrain.micro_batch_size=16",
    ),
}
SHORT = (
    "data.sources=[{path: builtin:stories, documents: 20000}]",
    "tokenizer.vocab_size=2048",
    "pretrain.max_steps=3",
    "pretrain.compile=false",
    "pretrain.eval_every=0",
    "pretrain.eval_tokens=4096",
    "eval.max_documents=4",
    "eval.batch_tokens=512",
)


def main() -> None:
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:

        def lilllm(*arguments: str) -> dict[str, Any]:
            done = subprocess.run(
                [sys.executable, "-m", "lilllm", *arguments, "--json"],
                cwd=folder,
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            answer: dict[str, Any] = json.loads(done.stdout)
            return answer

        lilllm("data", "prep", "name=shared", *SHORT)
        for number, (name, (config, *overrides)) in enumerate(CASES.items()):
            settings = (
                str(ROOT / "configs" / f"{config}.yaml"),
                f"name=case{number}",
                "pretrain.max_tokens=null",
                *SHORT,
                "model.vocab_size=8192",
                "tokenizer.path=runs/shared/tokenizer",
                "data.path=runs/shared/data",
                *overrides,
            )
            planned = lilllm("plan", *settings)["memory_bytes"]
            measured = lilllm("pretrain", *settings)["peak_memory_bytes"]
            rows[name] = {
                "planned_bytes": planned["total"],
                "measured_bytes": measured,
                "planned_over_measured": round(planned["total"] / measured, 3),
                "parts": planned,
            }
            print(name, rows[name]["planned_over_measured"], flush=True)
    path = ROOT / "benchmarks" / "results" / "plan-memory.json"
    path.write_text(json.dumps({**describe(), "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
