"""The mean loss of a model over a fixed sample of windows, the same at every step of a run."""

from collections.abc import Callable

import numpy as np

from lilllm.data.batches import Windows, sample_rows
from lilllm.model.transformer import Transformer
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
        poll: called before each forward pass; what it raises ends the pass.
    """
    wanted = min(len(windows), max(1, max_tokens // windows.length))
    if not wanted:
        return None
    rows = np.sort(sample_rows(0, wanted, len(windows), seed=0))
    total, count = 0.0, 0
    for start in range(0, wanted, micro_batch_size):
        poll()
        batch = windows.read(rows[start : start + micro_batch_size])
        total += objective(model, *to_device(batch, machine.device)).item()
        count += int((batch.targets >= 0).sum())
    return total / count if count else None
