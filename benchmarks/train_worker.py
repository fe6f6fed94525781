"""One contestant of the training benchmarks: a process that trains when it is asked to.

    python train_worker.py NAME MODEL [--device cpu]

NAME is hf or litgpt and a mode (hf_bf16_compile), `gemm`, or, where lilllm can be imported,
lilllm and a mode (lilllm_bf16), profile and a mode, or `loop`.
MODEL is JSON: vocab_size d_model n_layers n_heads n_kv_heads d_ff rope_theta max_seq_len.

One JSON object per line is read and answered: {"cmd": "warm", "batch", "seq"}, {"cmd": "run",
"batch", "seq", "steps"}, {"cmd": "quit"}. The peers do what their own trainers do: autocast, their
own loss, clipping to a norm of 1 (the default of both), torch.optim.AdamW, here fused; lilllm runs
its loop. Needs only what the contestant needs.
"""

import argparse
import itertools
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

Answer = dict[str, Any]
MODES = ("fp32", "bf16", "fp32_compile", "bf16_compile")


def messages() -> Iterator[Answer]:
    """What is asked, until there is nothing more to do."""
    for line in sys.stdin:
        message = json.loads(line)
        if message["cmd"] == "quit":
            return
        yield message


def answer(out: Any, **fields: Any) -> None:
    """Answer a message, with the peak memory of this process."""
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else rss * 1024
    print(
        json.dumps({"memory_bytes": memory, "rss_mb": rss / 1024, **fields}), file=out, flush=True
    )


def clocks() -> tuple[float, float]:
    """Wall clock and processor time of this process, in seconds."""
    return time.perf_counter(), time.process_time()


def since(began: tuple[float, float]) -> tuple[float, float]:
    """Seconds of both clocks since `began`."""
    now = clocks()
    return now[0] - began[0], now[1] - began[1]


def speed(tokens: int, seconds: float, cpu_seconds: float) -> dict[str, float]:
    """Speed by both clocks; with one thread the second is right on a busy machine too."""
    return {"tokens_per_s": tokens / seconds, "tokens_per_cpu_s": tokens / cpu_seconds}


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


# ---- peers ------------------------------------------------------------------------------------


def transformers_model(m: Answer, seq: int) -> tuple[Any, Callable[[Any, Any], Any]]:
    """transformers' Llama; its loss shifts the labels itself."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=m["vocab_size"],
        hidden_size=m["d_model"],
        intermediate_size=m["d_ff"],
        num_hidden_layers=m["n_layers"],
        num_attention_heads=m["n_heads"],
        num_key_value_heads=m["n_kv_heads"],
        max_position_embeddings=seq,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": m["rope_theta"]},
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
        use_cache=False,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config), lambda net, x: net(input_ids=x[:, :-1], labels=x[:, :-1]).loss


def litgpt_model(m: Answer, seq: int) -> tuple[Any, Callable[[Any, Any], Any]]:
    """litgpt's GPT with its chunked loss, as in its pretraining; it cannot tie the output."""
    from litgpt import GPT, Config
    from litgpt.utils import chunked_cross_entropy

    config = Config(
        name="bench",
        block_size=seq,
        vocab_size=m["vocab_size"],
        padded_vocab_size=m["vocab_size"],
        n_layer=m["n_layers"],
        n_head=m["n_heads"],
        n_embd=m["d_model"],
        head_size=m["d_model"] // m["n_heads"],
        n_query_groups=m["n_kv_heads"],
        rotary_percentage=1.0,
        parallel_residual=False,
        bias=False,
        norm_class_name="RMSNorm",
        norm_eps=1e-5,
        mlp_class_name="LLaMAMLP",
        intermediate_size=m["d_ff"],
        rope_base=int(m["rope_theta"]),
    )
    model = GPT(config)
    model.max_seq_length = seq
    return model, lambda net, x: chunked_cross_entropy(
        net(x[:, :-1].contiguous()), x[:, 1:].contiguous()
    )


def peer(name: str, m: Answer, device: str, out: Any) -> None:
    """Plain training steps of a peer's model."""
    family, _, mode = name.partition("_")
    if device == "cuda":
        torch.set_float32_matmul_precision("high")
    torch.manual_seed(0)
    model, loss_of = (transformers_model if family == "hf" else litgpt_model)(m, m["max_seq_len"])
    model.to(device).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )
    net = torch.compile(model, dynamic=False) if mode.endswith("compile") else model

    def steps(batch: int, seq: int, count: int) -> tuple[float, float]:
        began = clocks()
        for _ in range(count):
            x = torch.randint(0, m["vocab_size"], (batch, seq + 1)).to(device, non_blocking=True)
            with torch.autocast(device, dtype=torch.bfloat16, enabled=mode.startswith("bf16")):
                loss = loss_of(net, x)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        synchronize(device)
        return since(began)

    for message in messages():
        batch, seq = message["batch"], message["seq"]
        if message["cmd"] == "warm":
            first, second = steps(batch, seq, 1), steps(batch, seq, 1)
            answer(out, ok=True, first_s=first[0], first_cpu_s=first[1], second_s=second[0])
        else:
            answer(
                out, **speed(batch * seq * message["steps"], *steps(batch, seq, message["steps"]))
            )


def gemm(device: str, out: Any) -> None:
    """GFLOP/s of torch's products of 2048 x 2048 (8192 on a GPU) matrices.

    With one thread the clock is processor time, which other work does not disturb.
    """
    size = 2048 if device == "cpu" else 8192
    one_thread = device == "cpu" and torch.get_num_threads() == 1
    for _ in messages():
        found = {}
        for dtype in (torch.float32, torch.bfloat16):
            a = torch.randn(size, size, device=device).to(dtype)
            times = []
            for _ in range(9):
                synchronize(device)
                began = clocks()
                a @ a
                synchronize(device)
                times.append(since(began)[one_thread])
            found[str(dtype).rpartition(".")[2]] = 2 * size**3 / statistics.median(times) / 1e9
        answer(out, gflops=found)


# ---- lilllm -----------------------------------------------------------------------------------


def lilllm(name: str, m: Answer, device: str, out: Any) -> None:
    """The real loop: after each step it either goes on or waits for the next message."""
    from lilllm.events import StepDone, silent
    from lilllm.stages.bench_train import Enough, train_random_tokens
    from lilllm.training.hardware import keep_freed_memory, resolve_machine

    keep_freed_memory()
    asked = messages()
    message = next(asked, None)

    class Driver:
        """Counts the steps of one shape."""

        def __init__(self) -> None:
            self.ends = [clocks()]

        def __call__(self, event: StepDone) -> None:
            nonlocal message
            self.ends.append(clocks())
            assert message is not None
            shape = message["batch"], message["seq"]
            if len(self.ends) - 1 < (2 if message["cmd"] == "warm" else message["steps"]):
                return
            if message["cmd"] == "warm":
                start, first, second = self.ends
                answer(
                    out,
                    ok=True,
                    first_s=first[0] - start[0],
                    first_cpu_s=first[1] - start[1],
                    second_s=second[0] - first[0],
                    loss=event.loss,
                )
            else:
                tokens = shape[0] * shape[1] * message["steps"]
                took = [end - start for start, end in zip(self.ends[0], self.ends[-1], strict=True)]
                answer(out, **speed(tokens, *took), loss=event.loss)
            message = next(asked, None)
            if message is None or (message["batch"], message["seq"]) != shape:
                raise Enough
            self.ends = [clocks()]

    while message is not None:
        config = settings(name, m, device, message["batch"], message["seq"])
        train_random_tokens(config, resolve_machine(config), silent, Driver(), steps=10**6)


def settings(name: str, m: Answer, device: str, batch: int, seq: int) -> Any:
    """lilllm's config for a model, a batch of `batch` sequences and a mode."""
    from lilllm.config import load_config

    mode = name.partition("_")[2]
    return load_config(
        None,
        [
            *(f"model.{key}={value}" for key, value in m.items() if key != "max_seq_len"),
            f"model.max_seq_len={seq}",
            "model.qk_norm=false",
            "pretrain.optimizer=adamw",
            f"pretrain.micro_batch_size={batch}",
            f"pretrain.batch_tokens={batch * seq}",
            f"pretrain.compile={str(mode.endswith('compile')).lower()}",
            f"precision={mode[:4]}",
            f"device={device}",
        ],
    )


def profile(name: str, m: Answer, device: str, out: Any) -> None:
    """Where the time of one step goes: torch's profiler around the third step of the loop."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    from lilllm.events import StepDone, silent
    from lilllm.stages.bench_train import Enough, train_random_tokens
    from lilllm.training.hardware import keep_freed_memory, resolve_machine

    keep_freed_memory()
    for message in messages():
        watch = profiler(activities=[ProfilerActivity.CPU])

        def on_step(event: StepDone, watch: Any = watch) -> None:
            if event.step == 2:
                watch.start()
            if event.step == 3:
                watch.stop()
                raise Enough

        config = settings(name, m, device, message["batch"], message["seq"])
        train_random_tokens(config, resolve_machine(config), silent, on_step, steps=4)
        found = sorted(watch.key_averages(), key=lambda e: -e.self_cpu_time_total)
        total = sum(e.self_cpu_time_total for e in found)
        rows = [
            {
                "what": e.key[:60],
                "ms": round(e.self_cpu_time_total / 1e3, 1),
                "percent": round(100 * e.self_cpu_time_total / total, 1),
                "calls": e.count,
            }
            for e in found[:16]
        ]
        answer(out, step_ms=round(total / 1e3, 1), rows=rows)


def loop(m: Answer, device: str, out: Any) -> None:
    """Seconds per step of everything but the step's arithmetic, and seconds of one checkpoint.

    The loop is run with an objective that computes nothing, on packed documents, with its
    progress shown as the commands show it.
    """
    from lilllm.cli.display import Display
    from lilllm.events import StepDone
    from lilllm.stages.bench_train import Enough, save_seconds, train_random_tokens
    from lilllm.training.hardware import resolve_machine
    from lilllm.training.objectives import Loss

    def nothing(model: Any, ids: Any, targets: Any, segments: Any) -> Loss:
        return Loss(model.model.norm.weight[0] * 0.0, (targets >= 0).sum(), {})

    for message in messages():
        ends: list[tuple[float, float]] = []

        def on_step(event: StepDone, ends: Any = ends) -> None:
            ends.append(clocks())
            if event.step == 60:
                raise Enough

        config = settings("loop_bf16", m, device, message["batch"], message["seq"])
        machine = resolve_machine(config)
        with Display() as display:
            train_random_tokens(config, machine, display, on_step, 60, objective=nothing)
        pairs = list(itertools.pairwise(ends[9:]))
        answer(
            out,
            step_s=statistics.median(b[0] - a[0] for a, b in pairs),
            step_cpu_s=statistics.median(b[1] - a[1] for a, b in pairs),
            save_s=save_seconds(config, machine),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("model", type=json.loads)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    out = os.fdopen(os.dup(1), "w")  # what a library prints must not be taken for an answer
    os.dup2(2, 1)
    if "BENCH_THREADS" in os.environ:
        torch.set_num_threads(int(os.environ["BENCH_THREADS"]))
    if options.name == "gemm":
        gemm(options.device, out)
    elif options.name == "loop":
        loop(options.model, options.device, out)
    elif options.name.startswith("profile"):
        profile(options.name, options.model, options.device, out)
    elif options.name.startswith("lilllm"):
        lilllm(options.name, options.model, options.device, out)
    else:
        peer(options.name, options.model, options.device, out)


if __name__ == "__main__":
    main()
