"""One command for a machine with a GPU: is it right there, and how fast?

    PEERS=/path/of/a/venv python benchmarks/gpu.py
    python benchmarks/gpu.py --device cpu --tiny --out /tmp/dry.json      # a dry run anywhere

Checks first: logits against transformers, attention of documents and its gradients against a
written-out mask, losses of a few steps against a CPU's, compiled against not compiled. Then
training in turns with transformers and litgpt (see train.py for $PEERS) on the 39M config and on
a model of GPT-2's small size, and decoding. Writes benchmarks/results/gpu-<name>.json.
"""

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from contest import Contestant, Gone, add_ratios, compete, start, table
from machine import describe
from train import ROOT, model_of

from lilllm.config.schema import GenerateConfig
from lilllm.inference.engine import Engine
from lilllm.model.attention import attend, keep_apart
from lilllm.model.transformer import Shape, Transformer, flops_per_token
from lilllm.training.hardware import GPU_PEAKS
from lilllm.training.objectives.next_token import next_token_loss

GPT2_SMALL = {
    "vocab_size": 50_304,
    "d_model": 768,
    "n_layers": 12,
    "n_heads": 12,
    "n_kv_heads": 12,
    "d_ff": 2048,
    "rope_theta": 10_000.0,
    "max_seq_len": 1024,
}
TINY = {
    "vocab_size": 512,
    "d_model": 64,
    "n_layers": 2,
    "n_heads": 4,
    "n_kv_heads": 2,
    "d_ff": 96,
    "rope_theta": 10_000.0,
    "max_seq_len": 64,
}
CONTESTANTS = ["hf_bf16_compile", "litgpt_bf16_compile", "lilllm_bf16", "lilllm_bf16_compile"]


def make(model: dict[str, Any], device: str) -> Transformer:
    return Transformer(Shape(**model), seed=0).to(device)


def some_ids(model: dict[str, Any], device: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (2, model["max_seq_len"])
    return torch.randint(model["vocab_size"], shape, generator=generator).to(device)


def check_logits(model: dict[str, Any], device: str) -> float:
    """Largest difference of fp32 logits to transformers' for the same weights."""
    from train_worker import transformers_model

    ours = make(model, device).eval()
    theirs = transformers_model(model, model["max_seq_len"])[0].to(device).eval()
    theirs.load_state_dict(ours.state_dict(), strict=False)
    ids = some_ids(model, device)
    with torch.no_grad():
        return float((ours(ids) - theirs(input_ids=ids).logits).abs().max())


def check_documents(model: dict[str, Any], device: str) -> float:
    """Largest error of attention within documents, and of its gradients, relative to the norm."""
    T, H, G = model["max_seq_len"], model["n_heads"], model["n_kv_heads"]
    K = max(16, model["d_model"] // H)  # FlexAttention's kernels want 16 at least
    generator = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(2, n, T, K, generator=generator).to(device).requires_grad_() for n in (H, G, G)
    )
    segments = (torch.arange(T, device=device) // (T // 3)).expand(2, T)
    mask = (segments[:, :, None] == segments[:, None, :]).tril()[:, None]
    wide = (x.repeat_interleave(H // G, dim=1) for x in (k, v))
    worst = 0.0
    results = []
    for out in (
        attend(q, k, v, keep_apart(segments)),
        F.scaled_dot_product_attention(q, *wide, attn_mask=mask),
    ):
        results.append((out, *torch.autograd.grad(out.square().sum(), (q, k, v))))
    for got, want in zip(*results, strict=True):
        worst = max(worst, float((got - want).norm() / want.norm()))
    return worst


def losses(model: dict[str, Any], device: str, compiled: bool, steps: int = 5) -> list[float]:
    """Losses of a few fp32 steps on one batch."""
    net = make(model, device).train()
    if compiled:
        net.compile_pieces()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)
    ids = some_ids(model, device)
    found = []
    for _ in range(steps):
        loss = next_token_loss(net, ids[:, :-1], ids[:, 1:], None).total / ids[:, 1:].numel()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        found.append(loss.item())
    return found


def checks(model: dict[str, Any], device: str, compiling: bool) -> dict[str, Any]:
    """All checks, each with what it found and what is allowed."""
    on_cpu = losses(model, "cpu", False)
    runs = {"losses against a CPU": losses(model, device, False)}
    if compiling:
        runs["losses compiled against a CPU"] = losses(model, device, True)
    found = {"document attention, relative error": (check_documents(model, device), 1e-3)}
    for name, here in runs.items():
        found[name] = max(abs(a - b) for a, b in zip(here, on_cpu, strict=True)), 1e-2
    try:
        found["logits against transformers"] = (check_logits(model, device), 1e-3)
    except ImportError as err:
        print(f"no comparison with transformers: {err}", file=sys.stderr)
    return {
        name: {"found": value, "allowed": allowed, "ok": value <= allowed}
        for name, (value, allowed) in found.items()
    }


def training(
    names: list[str], model: dict[str, Any], batch: int, device: str, steps: int, peak: float
) -> dict[str, Any]:
    """lilllm and its peers in turns."""
    running = start(names, model, device, 0)
    results = compete(running, batch, model["max_seq_len"], 2 if steps == 1 else 5, steps)
    for contestant in running.values():
        contestant.close()
    gflops = {"float32": peak / 1e9, "bfloat16": peak / 1e9}
    best = add_ratios(results, flops_per_token(Shape(**model)), gflops)
    print(f"\n{batch} x {model['max_seq_len']}\n\n{table(results, best)}\n", flush=True)
    return {"batch": batch, "model": model, "fastest_peer": best, "results": results}


def decoding(model: dict[str, Any], device: str) -> dict[str, float]:
    """Tokens per second of one stream and of 32, greedily, in bf16."""
    engine = Engine(make(model, device).eval().to(torch.bfloat16))
    options = GenerateConfig(max_new_tokens=model["max_seq_len"] // 2, temperature=0)
    prompt = list(range(1, 17))
    found = {}
    for streams in (1, 32):
        engine.generate([prompt] * streams, options)  # warm
        made = engine.generate([prompt] * streams, options)
        found[f"tokens_per_s_{streams}"] = made.decode_tokens / made.decode_s
        found[f"first_token_ms_{streams}"] = 1e3 * made.first_token_s
    return found


def bf16_peak(model: dict[str, Any], device: str, name: str) -> tuple[float, str]:
    """FLOP/s of bf16 products: of the data sheet where the GPU is known, else measured."""
    for known, tera in GPU_PEAKS.items():
        if device == "cuda" and known in name:
            return tera * 1e12, "data sheet"
    worker = Contestant("gemm", model, device)
    try:
        return worker.ask(cmd="run")["gflops"]["bfloat16"] * 1e9, "measured"
    except Gone as err:
        sys.exit(f"gemm: {err}")
    finally:
        worker.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", action="store_true", help="tiny sizes: tries the script itself")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    device, tiny = options.device, options.tiny
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("no GPU here; --device cpu --tiny tries the script")
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    models = {"39m": (model_of(ROOT / "configs" / "39m.yaml"), 64), "gpt2-124m": (GPT2_SMALL, 32)}
    names = CONTESTANTS
    if tiny:  # nothing is compiled
        models = {"tiny": (TINY, 2)}
        names = [name for name in names if name == "lilllm_bf16"] + ["hf_bf16", "litgpt_bf16"]
    began = time.perf_counter()
    found = checks(TINY, device, compiling=not tiny)
    print(json.dumps(found, indent=2), flush=True)
    peak, source = bf16_peak(TINY, device, name)
    result = {
        **describe(),
        "device": name,
        "peak_gflops": peak / 1e9,
        "peak_source": source,
        "checks": found,
        "training": {
            label: training(names, model, batch, device, 1 if tiny else 20, peak)
            for label, (model, batch) in models.items()
        },
        "decoding": {label: decoding(model, device) for label, (model, _) in models.items()},
        "seconds": round(time.perf_counter() - began, 1),
    }
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    out = options.out or ROOT / "benchmarks" / "results" / f"gpu-{slug}.json"
    out.write_text(json.dumps(result, indent=2) + "\n")
    print(f"written: {out}")
    if not all(check["ok"] for check in found.values()):
        sys.exit("a check failed")


if __name__ == "__main__":
    main()
