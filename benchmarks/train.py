"""Training speed against transformers and litgpt on the same work, in turns, on this machine.

    PEERS=/path/of/a/venv python benchmarks/train.py [--only lilllm_bf16,...] [--rounds 5]

$PEERS has transformers and $PEERS_LITGPT (by default ${PEERS}_litgpt) litgpt; unset, they are
looked for in this environment; whoever is absent is left out, and said. The model is the one of
configs/39m.yaml. A contestant with the suffix _malloc runs with glibc told to keep freed memory.
Ratios are of wall-clock speed, or with --clock cpu of tokens per second of processor time with one
thread, which other work on the machine does not disturb.
Writes benchmarks/results/train.json: speeds, ratios, peak memory, seconds of the first step
(compiling from an empty cache), the profile of a step, and what the loop itself costs.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from contest import Contestant, Gone, add_ratios, compete, start, table
from machine import describe

from lilllm.config import load_config
from lilllm.model.transformer import flops_per_token
from lilllm.stages.model_shape import resolve_shape

ROOT = Path(__file__).parents[1]
PEERS = [
    *("hf_fp32", "hf_bf16", "hf_bf16_compile", "litgpt_bf16", "litgpt_bf16_compile"),
    "litgpt_bf16_compile_malloc",
]
OURS = ["lilllm_fp32", "lilllm_bf16", "lilllm_bf16_compile"]


def model_of(config: Path) -> dict[str, Any]:
    """The sizes that the workers are told."""
    settings = load_config(config)
    shape = resolve_shape(settings.model, settings.tokenizer.vocab_size)
    names = "vocab_size d_model n_layers n_heads n_kv_heads d_ff rope_theta max_seq_len".split()
    return {name: getattr(shape, name) for name in names}


def flops(config: Path, seq: int) -> int:
    settings = load_config(config)
    return flops_per_token(resolve_shape(settings.model, settings.tokenizer.vocab_size), seq)


def ask_once(name: str, model: dict[str, Any], threads: int, **message: Any) -> dict[str, Any]:
    """One question to a worker of its own."""
    worker = Contestant(name, model, "cpu", threads)
    try:
        found = worker.ask(**message)
    except Gone as err:
        sys.exit(f"{name}: {err}")
    finally:
        worker.close()
    return {k: v for k, v in found.items() if k not in ("memory_bytes", "rss_mb")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "39m.yaml")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[*PEERS, *OURS])
    parser.add_argument("--shapes", default="4x256,8x512")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="cpu: processor time with one thread, for a busy machine",
    )
    parser.add_argument("--no-details", action="store_true", help="neither profile nor loop cost")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "train.json")
    options = parser.parse_args()
    if options.clock == "cpu":
        options.threads = 1
    model = model_of(options.config)
    result: dict[str, Any] = {
        **describe(),
        "threads": options.threads,
        "clock": options.clock,
        "shapes": {},
    }
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        gflops = ask_once("gemm", model, options.threads, cmd="run")["gflops"]
        result["peak_gflops"] = gflops
        running = start(options.only, model, "cpu", options.threads)
        for shape in options.shapes.split(","):
            batch, seq = map(int, shape.split("x"))
            results = compete(running, batch, seq, options.rounds, 2 if batch * seq < 3000 else 1)
            best = add_ratios(results, flops(options.config, seq), gflops, options.clock)
            result["shapes"][shape] = {"fastest_peer": best, "results": results}
            print(f"\n{shape}\n\n{table(results, best)}\n", flush=True)
            options.out.write_text(json.dumps(result, indent=2) + "\n")  # what there is so far
        for contestant in running.values():
            contestant.close()
        if not options.no_details:
            add_details(result, model, options.threads)
    options.out.write_text(json.dumps(result, indent=2) + "\n")


def add_details(result: dict[str, Any], model: dict[str, Any], threads: int) -> None:
    """The profile of a step of 8 x 512 tokens, and the loop's own cost beside it."""
    shape = {"batch": 8, "seq": 512}
    result["profile_8x512"] = {
        mode: ask_once(f"profile_{mode}", model, threads, cmd="run", **shape)
        for mode in ("bf16", "bf16_compile")
    }
    cost = ask_once("loop", model, threads, cmd="run", **shape)
    measured = result["shapes"].get("8x512", {}).get("results", {}).get("lilllm_bf16_compile")
    if measured:
        speed = "tokens_per_s" if result["clock"] == "wall" else "tokens_per_cpu_s"
        step_s = 8 * 512 / measured[speed]
        own = cost["step_s" if result["clock"] == "wall" else "step_cpu_s"]
        cost["percent_of_a_step"] = 100 * own / step_s
        cost["percent_with_a_save_every_500_steps"] = 100 * (own + cost["save_s"] / 500) / step_s
    result["loop"] = cost
    print(json.dumps(cost))


if __name__ == "__main__":
    main()
