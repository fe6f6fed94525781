"""Load on `lilllm serve`: many clients streaming at once, then many requests in a row.

Each answer is compared with what the engine says to the same prompt and seed alone, and the
server's memory is read while it runs. A tiny untrained model, because the server is measured.

    python benchmarks/serve_load.py
"""

import contextlib
import http.client
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import describe
from lilllm.config.schema import GenerateConfig
from lilllm.events import silent
from lilllm.inference import Engine
from lilllm.stages.find_checkpoint import find_checkpoint, load_checkpoint
from lilllm.stages.generate import make_engine
from tests.stages.tiny_run import write_checkpoint

RESULT = Path(__file__).with_name("results") / "serve-load.json"
PROMPTS = ["The cat", "Once upon a time", "A dog came by and said", "Grüße! 🐈"]
NEW_TOKENS = 40
WARM_UP = 100


@dataclass
class Server:
    """`lilllm serve` in a process of its own."""

    process: subprocess.Popen[str]
    port: int

    @property
    def memory_bytes(self) -> int:
        """Resident memory."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def stop(self) -> int:
        """Its exit code after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextlib.contextmanager
def serving(checkpoint: Path, *options: str) -> Iterator[Server]:
    """Start a server on a free port and kill it at the end, should it still run."""
    command = [sys.executable, "-m", "lilllm", "serve", str(checkpoint), "--port", "0", *options]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                break
        else:
            raise RuntimeError("".join(lines))
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield Server(process, int(found.group(1)))
    finally:
        process.kill()
        process.wait()


@dataclass
class Tally:
    """What the clients found."""

    errors: list[str] = field(default_factory=list)
    mixed: int = 0
    tokens: int = 0
    first_s: list[float] = field(default_factory=list)
    whole_s: list[float] = field(default_factory=list)


def ask(server: Server, prompt: str, seed: int, tally: Tally) -> str:
    """One streamed completion."""
    body = {"prompt": prompt, "seed": seed, "max_tokens": NEW_TOKENS, "stream": True}
    body["stream_options"] = {"include_usage": True}
    start = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    connection.request("POST", "/v1/completions", json.dumps(body))
    response = connection.getresponse()
    text, first = "", 0.0
    for raw in response:
        if not raw.startswith(b"data: {"):
            continue
        event: dict[str, Any] = json.loads(raw[6:])
        if "error" in event:
            tally.errors.append(event["error"]["message"])
        for choice in event.get("choices", []):
            first = first or time.perf_counter()
            text += choice["text"]
        if event.get("usage"):
            tally.tokens += event["usage"]["completion_tokens"]
    connection.close()
    if response.status != 200:
        tally.errors.append(f"status {response.status}")
    tally.first_s.append(first - start)
    tally.whole_s.append(time.perf_counter() - start)
    return text


def alone(engine: Engine, tokenizer: Any, options: GenerateConfig, seed: int) -> str:
    """What the engine says when nobody else asks."""
    ids = tokenizer.encode_prompt(PROMPTS[seed % len(PROMPTS)])
    return engine.generate(ids, options, seed=seed).samples[0].text


def measure(folder: Path, clients: int, in_a_row: int) -> dict[str, Any]:
    """Run the load against a fresh server; nothing is asserted here."""
    checkpoint = write_checkpoint(folder / "runs/tiny/pretrain/step-00000001")
    loaded = load_checkpoint(find_checkpoint(checkpoint, silent))
    options = loaded.generate.model_copy(update={"max_new_tokens": NEW_TOKENS})
    engine = make_engine(loaded)
    expected = [alone(engine, loaded.tokenizer, options, seed) for seed in range(max(clients, 64))]
    together, row = Tally(), Tally()

    def client(seed: int, tally: Tally) -> None:
        try:
            text = ask(server, PROMPTS[seed % len(PROMPTS)], seed, tally)
        except (OSError, http.client.HTTPException, ValueError) as err:
            tally.errors.append(repr(err))
        else:
            tally.mixed += text != expected[seed]

    with serving(checkpoint, f"serve.max_running={clients}") as server:
        threads = [threading.Thread(target=client, args=(s, together)) for s in range(clients)]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        together_s = time.perf_counter() - start
        memory = []
        start = time.perf_counter()
        for number in range(in_a_row):
            client(number % len(expected), row)
            if number >= min(WARM_UP, in_a_row // 2):
                memory.append(server.memory_bytes)
        row_s = time.perf_counter() - start
        code = server.stop()
    return {
        "clients": clients,
        "requests_in_a_row": in_a_row,
        "errors": together.errors + row.errors,
        "answers_unlike_alone": together.mixed + row.mixed,
        "together_tokens_per_s": together.tokens / together_s,
        "together_first_token_s_median": statistics.median(together.first_s),
        "together_first_token_s_max": max(together.first_s),
        "row_requests_per_s": in_a_row / row_s,
        "row_whole_ms_median": 1000 * statistics.median(row.whole_s),
        "memory_bytes_after_warm_up": memory[0],
        "memory_bytes_at_end": memory[-1],
        "memory_growth_bytes": memory[-1] - memory[0],
        "exit_code_after_sigterm": code,
    }


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), clients=64, in_a_row=2000)
    write(result)
    print(json.dumps(result, indent=2))


def write(result: dict[str, Any]) -> None:
    """Keep a result, with the machine it comes from."""
    used = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    model = "tiny: 2 layers of width 32, untrained"
    fields = {"model": model, "cores_for_server_and_clients": used, **result}
    machine = describe("starlette", "uvicorn")
    RESULT.write_text(json.dumps({**machine, **fields}, indent=2) + "\n")


if __name__ == "__main__":
    main()
