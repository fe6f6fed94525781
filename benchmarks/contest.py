"""Contestants that work in turns: each its own process, asked in JSON lines, one at a time.

A noisy neighbour so hits all of them alike; figures are medians over the rounds, and ratios are
medians of same-round ratios.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WORKER = Path(__file__).with_name("train_worker.py")
KEEP_FREED = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 34),
    "MALLOC_TOP_PAD_": str(1 << 28),
}
"""glibc keeps freed memory: what makes the peers faster, and lilllm sets by itself."""


def python_of(name: str) -> str:
    """The interpreter that has a contestant's packages: $PEERS, $PEERS_LITGPT or this one."""
    peers = os.environ.get("PEERS", "")
    if name.startswith("litgpt"):
        folder = os.environ.get("PEERS_LITGPT", peers and f"{peers}_litgpt")
    else:
        folder = peers
    own = not name.startswith(("hf", "litgpt")) or not folder
    return sys.executable if own else f"{folder}/bin/python"


class Gone(RuntimeError):
    """A contestant has ended or told an error."""


@dataclass
class Contestant:
    """A running worker and what it has achieved.

    name: as `train_worker.py` takes it; a suffix `_malloc` sets glibc's variables.
    """

    name: str
    model: dict[str, Any]
    device: str = "cpu"
    threads: int = 0
    speeds: list[float] = field(default_factory=list)
    cpu_speeds: list[float] = field(default_factory=list)
    warm: dict[str, Any] = field(default_factory=dict)
    memory: int = 0

    def __post_init__(self) -> None:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        environment["PYTHONPATH"] = str(WORKER.parents[1])
        if self.threads:
            names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "BENCH_THREADS")
            environment |= dict.fromkeys(names, str(self.threads))
        if self.name.endswith("_malloc"):
            environment |= KEEP_FREED
        self.log = tempfile.NamedTemporaryFile("w+", suffix=".log")  # noqa: SIM115 - for its life
        command = [python_of(self.name), str(WORKER), self.name.removesuffix("_malloc")]
        try:
            self.process = subprocess.Popen(
                [*command, json.dumps(self.model), "--device", self.device],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.log,
                text=True,
                env=environment,
            )
        except OSError as err:
            raise Gone(str(err)) from err

    def ask(self, **message: Any) -> dict[str, Any]:
        """Send a message and wait for the answer.

        Raises:
            Gone: the worker has ended.
        """
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Gone(self._last_words()) from None
        line = self.process.stdout.readline()
        if not line:
            raise Gone(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        self.memory = max(self.memory, answer["memory_bytes"])
        return answer

    def _last_words(self) -> str:
        self.process.wait()
        self.log.seek(0)
        lines = self.log.read().strip().splitlines()
        return lines[-1][:200] if lines else f"exit code {self.process.returncode}"

    def close(self) -> None:
        """Ask it to end."""
        if self.process.poll() is None and self.process.stdin is not None:
            self.process.stdin.close()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.log.close()


def start(names: list[str], model: dict[str, Any], device: str, threads: int) -> dict[str, Any]:
    """Running contestants by name; those that cannot start are told and left out."""
    running: dict[str, Any] = {}
    for name in names:
        try:
            running[name] = Contestant(name, model, device, threads)
        except Gone as err:
            print(f"{name} is left out: {err}", file=sys.stderr)
    return running


def compete(
    running: dict[str, Contestant], batch: int, seq: int, rounds: int, steps: int
) -> dict[str, Any]:
    """Let all contestants train in turns on one shape; those that fail leave.

    Returns:
        for each name its speed (median, smallest, largest), the seconds of its first step, its
        peak memory and the speeds of the rounds.
    """
    for name, contestant in list(running.items()):
        contestant.speeds, contestant.cpu_speeds = [], []
        try:
            contestant.warm = contestant.ask(cmd="warm", batch=batch, seq=seq)
            print(f"{batch}x{seq} {name}: warm", file=sys.stderr)
        except Gone as err:
            print(f"{name} is left out: {err}", file=sys.stderr)
            del running[name]
    for _ in range(rounds):
        for name, contestant in list(running.items()):
            try:
                answer = contestant.ask(cmd="run", batch=batch, seq=seq, steps=steps)
            except Gone as err:
                print(f"{name} is left out: {err}", file=sys.stderr)
                del running[name]
                continue
            contestant.speeds.append(answer["tokens_per_s"])
            contestant.cpu_speeds.append(answer["tokens_per_cpu_s"])
    return {
        name: {
            "tokens_per_s": statistics.median(c.speeds),
            "min": min(c.speeds),
            "max": max(c.speeds),
            "tokens_per_cpu_s": statistics.median(c.cpu_speeds),
            "first_step_s": c.warm["first_s"],
            "first_step_cpu_s": c.warm["first_cpu_s"],
            "memory_bytes": c.memory,
            "rounds": c.speeds,
            "cpu_rounds": c.cpu_speeds,
        }
        for name, c in running.items()
    }


def add_ratios(
    results: dict[str, Any], flops: float, gflops: dict[str, float], clock: str = "wall"
) -> str:
    """Add each contestant's ratio to the fastest peer, and its share of the matrix peak.

    Args:
        results: of `compete`.
        flops: of a token.
        gflops: the machine's peak by type.
        clock: `cpu` takes processor time for the ratios, which a busy machine does not disturb;
            only for workers with one thread.

    Returns:
        the name of the fastest peer.
    """
    rounds = "rounds" if clock == "wall" else "cpu_rounds"
    peers = [name for name in results if not name.startswith("lilllm")] or list(results)
    best = max(peers, key=lambda name: statistics.median(results[name][rounds]))
    for name, found in results.items():
        pairs = zip(found[rounds], results[best][rounds], strict=True)
        found["ratio_to_fastest_peer"] = statistics.median(a / b for a, b in pairs)
        found["memory_to_fastest_peer"] = found["memory_bytes"] / results[best]["memory_bytes"]
        peak = gflops["float32" if "fp32" in name else "bfloat16"] * 1e9
        found["mfu"] = statistics.median(found[rounds]) * flops / peak
    return best


def table(results: dict[str, Any], best: str) -> str:
    """A markdown table of one shape."""
    lines = [
        f"| contestant | tokens/s | min - max | per CPU s | x {best} | % of peak "
        "| first step, s | GB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, r in sorted(results.items(), key=lambda item: item[1]["tokens_per_s"]):
        lines.append(
            f"| {name} | {r['tokens_per_s']:,.0f} | {r['min']:,.0f} - {r['max']:,.0f} "
            f"| {r['tokens_per_cpu_s']:,.0f} "
            f"| {r['ratio_to_fastest_peer']:.2f} | {100 * r['mfu']:.0f} | {r['first_step_s']:.0f} "
            f"| {r['memory_bytes'] / 1e9:.2f} |"
        )
    return "\n".join(lines)
