"""Means of an objective over a fixed sample of held-out windows, the same at every step."""

from collections.abc import Callable

import numpy as np
import torch

from lilllm.data.batches import Windows, longest_first, sample_rows
from lilllm.model.transformer import Transformer
from lilllm.training.distributed import World
from lilllm.training.hardware import Machine
from lilllm.training.objectives.loss import Objective, move


def held_out_means(
    model: Transformer,
    objective: Objective,
    windows: Windows,
    max_tokens: int,
    micro_batch_size: int,
    machine: Machine,
    world: World,
    poll: Callable[[], None],
) -> dict[str, float]:
    """The mean loss in nats as `loss`, and the objective's other measures, per unit.

    Args:
        model: in evaluation mode.
        objective: gives the sums over a batch.
        windows: of the validation split.
        max_tokens: positions to score at most.
        micro_batch_size: samples per forward pass.
        machine: where the batch goes.
        world: the processes, which share the samples and take equally many forward passes.
        poll: called before each forward pass; what it raises ends the pass.

    Returns:
        nothing when there is nothing to score.
    """
    wanted = min(len(windows), max(1, max_tokens // windows.length))
    if not wanted:
        return {}
    rows = longest_first(windows, np.sort(sample_rows(0, wanted, len(windows), seed=0)))
    sums = torch.zeros((), dtype=torch.float64)  # of losses, of their unit, of measures
    for start in range(0, wanted, micro_batch_size * world.size):
        poll()
        start += world.rank * micro_batch_size
        own = rows[start : start + micro_batch_size]
        loss = objective(model, *move(windows.read(own if len(own) else rows[:1]), machine.device))
        # where the others have the last samples, nothing of this pass counts
        sums = sums + loss.sums().cpu().double() * bool(len(own))
    total, count, *others = world.sum_on_cpu(sums).tolist()
    if not count:
        return {}
    names = ("loss", *loss.measures)
    return {name: value / count for name, value in zip(names, (total, *others), strict=True)}
