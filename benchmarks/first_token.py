"""Seconds from starting `lilllm generate` to its first token, process start included.

The 39M config with random weights. `first use` compiles the decoding step as well, `later` finds it
in the cache, `without` has LILLLM_NATIVE=0. Writes benchmarks/results/first_token.json.

    python benchmarks/first_token.py
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import describe

from lilllm.config import load_config
from lilllm.model import Transformer, save_model
from lilllm.stages.model_shape import resolve_shape
from lilllm.tokenizer import Tokenizer, train_bpe

ROOT = Path(__file__).resolve().parents[1]


def first_token(folder: Path, env: dict[str, str]) -> float:
    """Seconds until something beyond nothing is on stdout: prompt and first token come together."""
    command = [sys.executable, "-m", "lilllm", "generate", str(folder), "--prompt", "Once"]
    start = time.perf_counter()
    with subprocess.Popen(
        [*command, "--max-new-tokens", "64"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
    ) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        seconds = time.perf_counter() - start
        process.stdout.read()
    assert process.returncode == 0
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="lilllm-bench-"))
    try:
        config = load_config(ROOT / "configs" / "39m.yaml")
        model = Transformer(resolve_shape(config.model, 8192), seed=0)
        save_model(folder, model, bos_id=0, eos_ids=[0], pad_id=None, generation={})
        Tokenizer.trained(train_bpe(["a few words, to have some merges"], 280)).save(folder)
        found: dict[str, list[float]] = {"first use": [], "later": [], "without": []}
        for number in range(args.rounds):
            cache = {"XDG_CACHE_HOME": str(folder / f"cache{number}")}
            found["first use"].append(first_token(folder, cache))
            found["later"].append(first_token(folder, cache))
            found["without"].append(first_token(folder, {"LILLLM_NATIVE": "0"}))
    finally:
        shutil.rmtree(folder)
    result = {
        **describe(),
        "model": "39m, random weights, fp32",
        "seconds": {name: round(statistics.median(times), 2) for name, times in found.items()},
        "rounds": found,
    }
    out = ROOT / "benchmarks/results/first_token.json"
    out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
