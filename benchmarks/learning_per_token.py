"""How many tokens the default recipe needs for the loss that a nanoGPT-style recipe ends at.

    python benchmarks/learning_per_token.py TRAIN.txt VALID.txt [--work FOLDER] [--changes]

Same tokenizer, data, width, depth and batch for both; each recipe with learning rates on both
sides of its best one, and that one with three seeds. `--changes` instead takes the default recipe
at a quarter of the tokens and turns one thing at a time. Bits per byte are those of the whole of
VALID.txt, document by document. Runs that FOLDER already holds are not repeated; results go to
benchmarks/results/learning-per-token.json.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from machine import describe

RESULT = Path(__file__).parent / "results" / "learning-per-token.json"
BASELINE_TOKENS, SHARE = 4_000_000, 0.6
BATCH = 8 * 448

BASE = """
tokenizer: {vocab_size: 2048}
model: {d_model: 128, n_layers: 4, n_heads: 4, n_kv_heads: 4, d_ff: 344, max_seq_len: 448}
pretrain: {batch_tokens: 3584, micro_batch_size: 8, eval_every: 0, save_every: 100000,
           log_every: 50, compile: true}
precision: bf16
"""
NANOGPT = (
    "model.qk_norm=false", "model.zero_init=false", "model.init_std=0.02",
    "pretrain.optimizer=adamw",
    "pretrain.schedule=cosine", "pretrain.min_lr_ratio=0.1", "pretrain.warmup_steps=100",
    "pretrain.packing=stream",
)  # fmt: skip
OURS = (
    "model.qk_norm=true", "model.zero_init=true", "pretrain.optimizer=muon",
    "pretrain.schedule=wsd", "pretrain.decay_fraction=0.5", "pretrain.min_lr_ratio=0.02",
    "pretrain.warmup_steps=15",
)  # fmt: skip
NANOGPT_RATES = {rate: (f"pretrain.lr={rate}",) for rate in ("2e-3", "4e-3", "8e-3", "1.6e-2")}
OURS_RATES = {
    f"{muon} and {rest}": (f"pretrain.muon_lr={muon}", f"pretrain.lr={rest}")
    for muon, rest in (("0.01", "2e-3"), ("0.02", "4e-3"), ("0.04", "8e-3"))
}
CHANGES = {
    "nothing": (),
    "no zero_init": ("model.zero_init=false",),
    "squared ReLU": ("model.activation=relu2",),
    "logit softcap 15": ("model.logit_softcap=15",),
    "no QK-norm": ("model.qk_norm=false",),
    "AdamW": ("pretrain.optimizer=adamw",),
    "cosine": ("pretrain.schedule=cosine",),
    "linear": ("pretrain.schedule=linear",),
    "stream packing": ("pretrain.packing=stream",),
    "init_std 0.02": ("model.init_std=0.02",),
    "rope_theta 1000": ("model.rope_theta=1000",),
    "no weight decay": ("pretrain.weight_decay=0",),
}


class Bench:
    """Runs of one folder; each is a `lilllm pretrain` of its own."""

    def __init__(self, work: Path, train: str, valid: str) -> None:
        self.work = work
        work.mkdir(parents=True, exist_ok=True)
        sources = (
            f"data.sources=[{Path(train).resolve()}]",
            f"data.val_sources=[{Path(valid).resolve()}]",
        )
        self.config = work / "base.yaml"
        self.config.write_text(BASE)
        self._lilllm("data", "prep", "name=shared", *sources)

    def _lilllm(self, *arguments: str) -> dict[str, Any]:
        command, *rest = arguments
        verbs = [command, rest.pop(0)] if command == "data" else [command]
        done = subprocess.run(
            [sys.executable, "-m", "lilllm", *verbs, str(self.config), *rest, "--json"],
            cwd=self.work,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def run(self, name: str, tokens: int, settings: tuple[str, ...], seed: int = 0) -> float:
        """Bits per byte at the end of a run."""
        name = "".join(c if c.isalnum() or c in "-." else "-" for c in f"{name}-{tokens}-{seed}")
        answer = self._lilllm(
            "pretrain",
            f"name={name}",
            f"seed={seed}",
            "tokenizer.path=runs/shared/tokenizer",
            "data.path=runs/shared/data",
            f"pretrain.max_steps={round(tokens / BATCH)}",
            *settings,
        )
        print(f"{name}: {answer['val_bpb']:.4f}, {answer['parameters']:,} parameters", flush=True)
        return float(answer["val_bpb"])


def compare(bench: Bench) -> dict[str, Any]:
    """Both recipes: the rates, then two more seeds of the better."""
    result: dict[str, Any] = {}
    ours_tokens = round(BASELINE_TOKENS * SHARE)
    for name, tokens, recipe, rates in (
        ("nanogpt", BASELINE_TOKENS, NANOGPT, NANOGPT_RATES),
        ("default", ours_tokens, OURS, OURS_RATES),
    ):
        scores = {
            rate: bench.run(f"{name}-{rate}", tokens, (*recipe, *settings))
            for rate, settings in rates.items()
        }
        best = min(scores, key=lambda rate: scores[rate])
        seeds = [scores[best]] + [
            bench.run(f"{name}-{best}", tokens, (*recipe, *rates[best]), seed) for seed in (1, 2)
        ]
        result[name] = {
            "tokens": tokens,
            "settings": recipe,
            "bpb_by_rate": scores,
            "best_rate": best,
            "bpb_of_three_seeds": seeds,
            "mean_bpb": statistics.mean(seeds),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("train")
    parser.add_argument("valid")
    parser.add_argument("--work", type=Path, default=Path("runs-learning-per-token"))
    parser.add_argument("--changes", action="store_true")
    options = parser.parse_args()
    bench = Bench(options.work, options.train, options.valid)
    if options.changes:
        tokens = BASELINE_TOKENS // 4
        rate = OURS_RATES["0.02 and 4e-3"]
        scores = {
            name: bench.run(f"change-{name}", tokens, (*OURS, *rate, *change))
            for name, change in CHANGES.items()
        }
        found = {"one_change_at_a_time": {"tokens": tokens, "bpb": scores}}
    else:
        found = compare(bench)
    before = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
    RESULT.write_text(json.dumps(before | describe() | found, indent=2) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
