"""The C kernels of bf16 training against what torch compiles for the same, in turns.

    python benchmarks/kernels.py [--rounds 15] [--out FILE]

Attention of one layer, against products over blocks, and the feed-forward networks of 12 layers
with weights of their own, so that they come from memory as in a training step, against torch's
products under autocast. Sizes are those of configs/39m.yaml; times are of a forward and a backward
pass. Errors are the largest one over the largest value, against fp64; of attention that of its
inputs' gradients, of a feed-forward network also that of its weights' gradients.
Writes benchmarks/results/kernels.json.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from machine import describe
from torch import Tensor

from lilllm.model import native_attention, native_linear, native_swiglu
from lilllm.model.block_attention import _BlockAttention
from lilllm.training.hardware import keep_freed_memory

SHAPES = {"4x256": (4, 256), "8x512": (8, 512)}
LAYERS, WIDTH, INNER, GROUPS, HEADS, HEAD_WIDTH = 12, 512, 1376, 8, 2, 32
"""HEADS of queries to each of GROUPS heads of keys."""
OUT = Path(__file__).parent / "results" / "kernels.json"

Way = Callable[..., Tensor]


def blocks(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    out: Tensor = _BlockAttention.apply(q, k, v, None)  # type: ignore[no-untyped-call]
    return out


def attention_in_c(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    out, _ = native_attention.native_attention(q, k, v, None)
    return out


def feed_forward(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16, enabled=x.dtype == torch.bfloat16):
        return F.linear(F.silu(F.linear(x, gate)) * F.linear(x, up), down)


def feed_forward_in_c(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    inner = native_swiglu.native_swiglu(*native_linear.native_linear(x, [gate, up]))
    return native_linear.native_linear(inner, [down])[0]


def draw_attention(batch: int, positions: int) -> list[list[Tensor]]:
    lengths = positions * HEADS, positions, positions
    inputs = [torch.randn(batch * GROUPS, length, HEAD_WIDTH) for length in lengths]
    inputs[0] *= HEAD_WIDTH**-0.5
    return [[x.bfloat16().requires_grad_() for x in inputs]]


def draw_feed_forward(batch: int, positions: int) -> list[list[Tensor]]:
    def layer() -> list[Tensor]:
        sizes = (INNER, WIDTH), (INNER, WIDTH), (WIDTH, INNER)
        weights = [torch.randn(size).mul_(size[1] ** -0.5).requires_grad_() for size in sizes]
        return [torch.randn(batch * positions, WIDTH).bfloat16().requires_grad_(), *weights]

    return [layer() for _ in range(LAYERS)]


PIECES = {
    "attention": (draw_attention, blocks, attention_in_c),
    "feed-forward": (draw_feed_forward, feed_forward, feed_forward_in_c),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    if native_attention.library("attention") is None:
        raise SystemExit("no C compiler, or a processor without AVX512-BF16")
    keep_freed_memory()
    result = {**describe(), "threads": torch.get_num_threads(), "pieces": {}}
    for piece, (draw, in_torch, in_c) in PIECES.items():
        ways = {"torch": torch.compile(in_torch, dynamic=False), "c": in_c}
        for shape, sizes in SHAPES.items():
            torch.manual_seed(0)
            figures = compare(ways, in_torch, draw(*sizes), options.rounds)
            result["pieces"].setdefault(piece, {})[shape] = figures
            print(piece, shape, figures)
    options.out.write_text(json.dumps(result, indent=2) + "\n")


def compare(
    ways: dict[str, Way], reference: Way, layers: list[list[Tensor]], rounds: int
) -> dict[str, dict[str, float]]:
    """Milliseconds of one layer, and errors, of each way."""
    grad = torch.randn_like(layers[0][0])
    wide = [x.detach().double().requires_grad_() for x in layers[0]]
    exact = gradients(reference, wide, grad.double())
    found = {way: gradients(function, layers[0], grad) for way, function in ways.items()}
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, function in ways.items():
            for _ in range(2):  # the first one warms the caches up
                began = time.perf_counter()
                for layer in layers:
                    gradients(function, layer, grad)
                took = time.perf_counter() - began
            times[way].append(1e3 * took / len(layers))
    return {
        way: {
            "ms": round(statistics.median(times[way]), 2),
            "best_ms": round(min(times[way]), 2),
            "error": round(max(map(error, found[way], exact)), 4),
        }
        for way in ways
    }


def gradients(function: Way, inputs: Sequence[Tensor], grad: Tensor) -> list[Tensor]:
    out = function(*inputs)
    return [out.detach(), *torch.autograd.grad(out, inputs, grad)]


def error(got: Tensor, want: Tensor) -> float:
    return float((got.double() - want.double()).abs().max() / want.abs().max())


if __name__ == "__main__":
    main()
