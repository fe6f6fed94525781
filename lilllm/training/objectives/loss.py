"""What every objective returns, and what the loop may do with it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

Objective = Callable[..., "Loss"]
"""Called with the model and the tensors of a batch, in the order of the batch's fields."""


class Loss(NamedTuple):
    """Sums over one batch, in the objective's own unit: tokens, rows or pairs.

    The loop adds them up over the micro-batches and processes of a step and divides by the count
    of all, so that how a step is cut into batches does not change what is optimised.

    Attributes:
        total: the sum of losses in nats, which is differentiated.
        units: how many of the unit there were.
        measures: other sums over the same unit, shown as means beside the loss.
    """

    total: Tensor
    units: Tensor
    measures: dict[str, Tensor]

    def sums(self) -> Tensor:
        """The sums without their graph: total, units, then the measures in their order."""
        parts = (self.total, self.units, *self.measures.values())
        return torch.stack([part.detach().float() for part in parts])


def move(batch: tuple[Any, ...], device: str) -> tuple[Tensor | None, ...]:
    """The arrays of a batch as tensors on a device; what is None stays so.

    For a GPU they are copied out of pinned memory, which the host does not wait for.
    """
    arrays = (None if part is None else torch.from_numpy(part) for part in batch)
    if device == "cuda":
        arrays = (None if part is None else part.pin_memory() for part in arrays)
    return tuple(None if part is None else part.to(device, non_blocking=True) for part in arrays)
