"""Attention of one training layer in bf16: the C kernel against products over blocks, in turns.

    python benchmarks/attention.py [--rounds 15]

Shapes are those of a layer of configs/39m.yaml. Times are of a forward and a backward pass; the
blocks are compiled by torch. Errors are the largest one over the largest value, against fp64.
Writes benchmarks/results/attention.json.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from machine import describe
from torch import Tensor

from lilllm.model.block_attention import _BlockAttention
from lilllm.model.native_attention import is_faster, native_attention
from lilllm.training.hardware import keep_freed_memory

SHAPES = {"4x256": (32, 256, 2, 32), "8x512": (64, 512, 2, 32)}
"""Heads of keys of all texts, positions, heads of queries to each, width of a head."""
OUT = Path(__file__).parent / "results" / "attention.json"


def blocks(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    out: Tensor = _BlockAttention.apply(q, k, v, None)  # type: ignore[no-untyped-call]
    return out


def in_c(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    out, _ = native_attention(q, k, v, None)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    if not is_faster(64):
        raise SystemExit("no C compiler, or a processor without AVX512-BF16")
    keep_freed_memory()
    result = {**describe(), "threads": torch.get_num_threads(), "shapes": {}}
    ways = {"blocks": torch.compile(blocks, dynamic=False), "c": in_c}
    for name, (n, t, r, width) in SHAPES.items():
        torch.manual_seed(0)
        inputs = [torch.randn(n, rows, width) for rows in (t * r, t, t)]
        inputs[0] *= width**-0.5
        half = [x.bfloat16().requires_grad_() for x in inputs]
        grad = torch.randn(n, t * r, width).bfloat16()
        wide = [x.detach().double().requires_grad_() for x in half]
        exact = gradients(blocks, wide, grad.double())
        found = {way: gradients(function, half, grad) for way, function in ways.items()}
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, function in ways.items():
                for _ in range(2):  # the first one warms the caches up
                    began = time.perf_counter()
                    gradients(function, half, grad)
                    took = time.perf_counter() - began
                times[way].append(1e3 * took)
        figures = {
            way: {
                "ms": round(statistics.median(times[way]), 2),
                "best_ms": round(min(times[way]), 2),
                "error": round(max(map(error, found[way], exact)), 4),
            }
            for way in ways
        }
        result["shapes"][name] = figures
        print(name, figures)
    OUT.write_text(json.dumps(result, indent=2) + "\n")


def gradients(function, inputs: list[Tensor], grad: Tensor) -> list[Tensor]:
    out = function(*inputs)
    return [out.detach(), *torch.autograd.grad(out, inputs, grad)]


def error(got: Tensor, want: Tensor) -> float:
    return float((got.double() - want.double()).abs().max() / want.abs().max())


if __name__ == "__main__":
    main()
