"""The mean loss of a model over a fixed sample of windows, the same at every step of a run."""

from collections.abc import Callable

import numpy as np
import torch

from lilllm.data.batches import IGNORE, Windows, sample_rows
from lilllm.model.transformer import Transformer
from lilllm.training.distributed import World
from lilllm.training.hardware import Machine
from lilllm.training.loop import to_device
from lilllm.training.run import Objective


def mean_loss(
    model: Transformer,
    objective: Objective,
    windows: Windows,
    max_tokens: int,
    micro_batch_size: int,
    machine: Machine,
    world: World,
    poll: Callable[[], None],
) -> float | None:
    """Mean loss per target in nats, or None when there is nothing to score.

    Args:
        model: in evaluation mode.
        objective: gives the sum over a batch's targets.
        windows: of the validation split.
        max_tokens: positions to score at most.
        micro_batch_size: sequences per forward pass.
        machine: where the batch goes.
        world: the processes, which share the samples and take equally many forward passes.
        poll: called before each forward pass; what it raises ends the pass.
    """
    wanted = min(len(windows), max(1, max_tokens // windows.length))
    if not wanted:
        return None
    rows = np.sort(sample_rows(0, wanted, len(windows), seed=0))
    sums = torch.zeros(2, dtype=torch.float64)  # of losses, of targets
    for start in range(0, wanted, micro_batch_size * world.size):
        poll()
        start += world.rank * micro_batch_size
        own = rows[start : start + micro_batch_size]
        batch = windows.read(own if len(own) else rows[:1])
        if not len(own):  # the others have the last samples; nothing of this pass counts
            batch = batch._replace(targets=np.full_like(batch.targets, IGNORE))
        sums[0] += objective(model, *to_device(batch, machine.device)).item()
        sums[1] += int((batch.targets >= 0).sum())
    total, count = world.sum_on_cpu(sums).tolist()
    return total / count if count else None
