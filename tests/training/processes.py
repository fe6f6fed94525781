"""Tiny trainings in several processes: started from tests, and what runs in each of them."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from lilllm.data.batches import PackedWindows
from lilllm.errors import LilllmError
from lilllm.model.transformer import Transformer
from lilllm.training.distributed import join
from lilllm.training.loop import train
from lilllm.training.objectives.next_token import next_token_loss
from lilllm.training.state import newest_valid
from tests.training.test_loop import SHAPE, Events, config, losses, make_run

GROUP_READY = "LILLLM_TEST_GROUP_READY"
ROOT = Path(__file__).parents[2]


@dataclass
class Recorded:
    """What a process saw: a hash of each sample by step, and its end."""

    samples: dict[int, list[str]] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    error: str = ""


def masked_windows() -> PackedWindows:
    """Samples with very different numbers of targets."""
    rng = np.random.default_rng(0)
    ends = np.cumsum(rng.integers(3, 20, 90))
    tokens = rng.integers(1, 64, ends[-1])
    tokens[1::2] = tokens[::2][: len(tokens[1::2])] // 2  # something to learn
    mask = (rng.random(ends[-1]) < np.repeat(rng.random(90), np.diff(ends, prepend=0))) * 1
    return PackedWindows(
        lambda a, b: tokens[a:b],
        ends,
        16,
        before_id=None,
        read_mask=lambda a, b: mask[a:b],
        segmented=True,
    )


def part(
    folder: Path,
    *overrides: str,
    steps: int = 20,
    stop_after: int = 0,
    stop_rank: int = 0,
    sample_every: int = 0,
) -> Recorded:
    """Begin or continue a training, in this process and its companions.

    Args:
        folder: of the stage.
        overrides: of the config.
        steps: of the whole run.
        stop_after: the step after which a SIGTERM reaches one process; 0: none.
        stop_rank: which process.
        sample_every: steps between computations of the first process alone.
    """
    world = join()
    latest = newest_valid(folder, lambda event: None)
    model = Transformer(SHAPE, seed=1)
    if latest is not None:
        model.load_state_dict(load_file(latest / "model.safetensors"))
    events: Events
    run, events = make_run(
        folder,
        steps,
        config("pretrain.batch_tokens=128", *overrides),
        model=model,
        world=world,
        windows=masked_windows(),
    )
    recorded = Recorded()

    def sample() -> list[tuple[str, str]]:
        with torch.inference_mode():
            logits = model(torch.arange(1, 9)[None])
        return [("1 .. 8", f"{logits.sum().item():.2f}")]

    run.hooks = replace(run.hooks, sample=sample)
    run.sample_every = sample_every
    read = run.windows.read

    def watched(rows: Any) -> Any:
        batch = read(rows)
        here = recorded.samples.setdefault(run.counters.step, [])
        for ids, targets in zip(batch.ids, batch.targets, strict=True):
            here.append(hashlib.sha256(ids.tobytes() + targets.tobytes()).hexdigest()[:12])
        if run.counters.step + 1 == stop_after and world.rank == stop_rank:
            os.kill(os.getpid(), signal.SIGTERM)
        return batch

    run.windows.read = watched  # type: ignore[method-assign]
    run.objective = next_token_loss
    try:
        train(run, latest)
    except LilllmError as err:
        recorded.error = f"{type(err).__name__}: {err}"
    recorded.losses = losses(events)
    return recorded


def start(
    parts: list[dict[str, Any]], processes: int = 2, group_ready: bool = False
) -> list[list[Recorded]]:
    """Run parts one after the other in several processes; what each process saw of each part."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    running = []
    for rank in range(processes):
        environment = {
            **os.environ,
            **{"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)},
            **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
            **{"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            "TORCH_CPP_LOG_LEVEL": "ERROR",
            **({GROUP_READY: "1"} if group_ready else {}),
        }
        running.append(
            subprocess.Popen(
                [sys.executable, __file__, json.dumps(parts)],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    answers = []
    for process in running:
        out, said = process.communicate(timeout=240)
        assert process.returncode == 0, said
        answers.append(
            [
                Recorded({int(k): v for k, v in a["samples"].items()}, a["losses"], a["error"])
                for a in json.loads(out.splitlines()[-1])
            ]
        )
    return [list(each) for each in zip(*answers, strict=True)]


if __name__ == "__main__":
    if os.environ.pop(GROUP_READY, None):  # as Ray Train does
        torch.distributed.init_process_group("gloo")
        del os.environ["WORLD_SIZE"], os.environ["RANK"]
    torch.set_num_threads(1)
    done = [
        part(Path(given.pop("folder")), *given.pop("overrides", []), **given)
        for given in json.loads(sys.argv[1])
    ]
    sys.stdout.write(json.dumps([vars(each) for each in done]) + "\n")
