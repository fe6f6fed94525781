"""Greedy generation beside transformers, litgpt and llama.cpp, on the same random weights.

Every contestant is a process that lives through the whole run; they work in turn, round by round,
on the same new prompts, so that a busy machine hits all alike. Medians are reported, and medians
of same-round ratios. One text: 32 + 256 tokens of the 39M config; batch: 32 texts at once.

    python benchmarks/generate.py --peers /path/to/venv --litgpt /path/to/other/venv

`--peers` has transformers and llama-cpp-python, `--litgpt` has litgpt; what is missing there is
left out, with a message. Writes benchmarks/results/generate.json.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from machine import describe

from lilllm.config import load_config
from lilllm.interop.gguf_write import write_gguf
from lilllm.model import Transformer, save_model
from lilllm.stages.model_shape import resolve_shape
from lilllm.tokenizer import Tokenizer, train_bpe

ROOT = Path(__file__).resolve().parents[1]
WORKER = Path(__file__).with_name("generate_worker.py")
PROMPT, NEW, BATCH = 32, 256, 32
BASE = "transformers bf16"
ONE = (
    "lilllm fp32",
    "lilllm bf16",
    "lilllm int8",
    "lilllm int4",
    "transformers fp32",
    "transformers bf16",
    "litgpt bf16",
    "litgpt bf16 compiled",
    "llama.cpp bf16",
    "llama.cpp q8_0",
    "llama.cpp q4_0",
    "llama.cpp q4_1",
)
MANY = ("lilllm bf16", "transformers bf16")


class Contestant:
    """A process that generates when asked."""

    def __init__(self, name: str, python: Path, folder: Path, threads: int) -> None:
        self.name = name
        paths = {"PYTHONPATH": str(ROOT)} if name.startswith("lilllm") else {}
        numbers = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        self.process = subprocess.Popen(
            [str(python), str(WORKER), name, str(folder), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / f"{name}.log").open("w"),
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": "", **numbers, **paths},
        )
        self.read()

    def read(self) -> dict[str, Any]:
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise RuntimeError(f"{self.name} ended without an answer")
        return json.loads(line)

    def ask(self, prompts: list[list[int]], new: int) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"prompts": prompts, "new": new}) + "\n")
        self.process.stdin.flush()
        return self.read()


def make_model(folder: Path) -> None:
    """The 39M config with random weights, for every library."""
    config = load_config(ROOT / "configs" / "39m.yaml")
    shape = resolve_shape(config.model, config.tokenizer.vocab_size)
    model = Transformer(shape, seed=0)
    save_model(folder, model, bos_id=0, eos_ids=[0], pad_id=None, generation={})
    tokenizer = Tokenizer.trained(train_bpe(["a few words, to have some merges"], 280))
    path = folder / "f32.gguf"
    write_gguf(path, model, tokenizer, name="39m", dtype="f32", warn=lambda text: None)


def compare(
    contestants: list[Contestant], texts: int, rounds: int, new: int
) -> dict[str, dict[str, Any]]:
    """Figures of each; the first round warms up and compiles."""
    draw = random.Random(texts)
    found: dict[str, list[dict[str, Any]]] = {one.name: [] for one in contestants}
    for number in range(rounds + 1):
        prompts = [[draw.randrange(8192) for _ in range(PROMPT)] for _ in range(texts)]
        for one in contestants:
            answer = one.ask(prompts, new)
            if number:
                found[one.name].append(answer)
        print(f"{texts} texts, round {number} of {rounds}", file=sys.stderr)
    base = found.get(BASE, [])
    rows = {}
    for name, answers in found.items():
        speeds = [answer["tokens_per_s"] for answer in answers]
        rows[name] = {
            "tokens_per_s": round(statistics.median(speeds), 1),
            "min": round(min(speeds), 1),
            "max": round(max(speeds), 1),
            "first_token_ms": round(statistics.median(a["first_token_ms"] for a in answers), 1),
        }
        if base:
            pairs = zip(speeds, base, strict=True)
            ratio = statistics.median(speed / other["tokens_per_s"] for speed, other in pairs)
            rows[name]["times_transformers_bf16"] = round(ratio, 2)
    for name in ("lilllm fp32",):
        if name in found and "transformers fp32" in found:
            pairs = zip(found[name], found["transformers fp32"], strict=True)
            rows[name]["same_greedy_tokens_as_transformers"] = all(
                ours["tokens"] == theirs["tokens"] for ours, theirs in pairs
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    peers = Path(os.environ.get("PEERS", Path(tempfile.gettempdir()) / "peers"))
    parser.add_argument("--peers", type=Path, default=peers)
    parser.add_argument("--litgpt", type=Path, default=Path(f"{peers}_litgpt"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/generate.json")
    args = parser.parse_args()
    started = time.perf_counter()
    folder = Path(tempfile.mkdtemp(prefix="lilllm-bench-"))
    pythons = {
        "lilllm": Path(sys.executable),
        "transformers": args.peers / "bin" / "python",
        "llama.cpp": args.peers / "bin" / "python",
        "litgpt": args.litgpt / "bin" / "python",
    }
    contestants: list[Contestant] = []
    missing = {}
    try:
        make_model(folder)
        for name in ONE:
            python = pythons[name.split(" ")[0]]
            try:
                contestants.append(Contestant(name, python, folder, args.threads))
            except (OSError, RuntimeError) as err:
                missing[name] = str(err)
                print(f"left out: {name} ({err})", file=sys.stderr)
        result = {
            **describe("transformers"),
            "threads": args.threads,
            "model": "39m, random weights",
            "prompt_tokens": PROMPT,
            "new_tokens": NEW,
            "left_out": missing,
        }
        result["one_text"] = compare(contestants, 1, args.rounds, NEW)
        save(args.out, result, started)  # already, in case that the time for the rest is short
        batch = [contestant for contestant in contestants if contestant.name in MANY]
        result[f"{BATCH}_texts"] = compare(batch, BATCH, args.batch_rounds, NEW)
        save(args.out, result, started)
    finally:
        for contestant in contestants:
            contestant.process.kill()
        shutil.rmtree(folder)
    print(json.dumps(result, indent=2))


def save(path: Path, result: dict[str, Any], started: float) -> None:
    """Write what is known so far."""
    path.parent.mkdir(parents=True, exist_ok=True)
    result["seconds"] = round(time.perf_counter() - started)
    result["load"] = [round(load, 1) for load in os.getloadavg()]
    path.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
