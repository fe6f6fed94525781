"""Bits per byte on TinyStories after at most twenty minutes of training on this machine.

    python benchmarks/tinystories.py TRAIN.txt VALID.txt [key=value ...]

Only TRAIN.txt trains, the tokenizer included. The time is the wall clock of the whole
pretraining command, the start of Python included; the tokenizer and the data are made before.
The result goes to benchmarks/results/tinystories-20min.json.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import arguments, describe

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "tinystories-20min.yaml"


def main() -> None:
    train, valid, *overrides = arguments(__doc__, 2)
    settings = [
        str(CONFIG),
        f"data.sources=[{Path(train).resolve()}]",
        f"data.val_sources=[{Path(valid).resolve()}]",
        *overrides,
    ]
    lilllm = [sys.executable, "-m", "lilllm"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*lilllm, "data", "prep", *settings], cwd=folder, check=True)
        began = time.perf_counter()
        done = subprocess.run(
            [*lilllm, "pretrain", *settings, "--json"],
            cwd=folder,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        seconds = time.perf_counter() - began
    answer = json.loads(done.stdout)
    keys = ("parameters", "step", "tokens", "train_loss", "val_loss", "val_bpb", "tokens_per_s")
    result = {
        **describe(),
        "command": "lilllm pretrain configs/tinystories-20min.yaml " + " ".join(overrides),
        "seconds_with_final_scoring": round(seconds),
        **{key: answer[key] for key in keys},
    }
    path = ROOT / "benchmarks" / "results" / "tinystories-20min.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
