"""How much memory a training step takes, found without taking it.

Weights, gradients and optimizer are arithmetic. Activations are what the model really keeps: one
forward and backward pass runs on fake tensors, which have shapes but no data, while every live
storage is counted. So the figure follows the code, whatever the attention does.
"""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from lilllm.config.schema import OptimizationConfig
from lilllm.model.transformer import Shape, Transformer


@dataclass(frozen=True, slots=True)
class StepMemory:
    """Bytes at the fullest moment of a step, by part.

    weights, gradients: in fp32. optimizer: its moments. activations: everything else that lives
    at that moment, the copies of weights in another precision included.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """Their sum."""
        return self.weights + self.gradients + self.optimizer + self.activations


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all storages that operators make while it is active, and their peak."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0
        self._known: dict[int, Any] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        """Run an operator and count what it made."""
        result = func(*args, **(kwargs or {}))
        for value in torch.utils._pytree.tree_leaves(result):
            if isinstance(value, Tensor):
                self._count(value)
        return result

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self.live += size
        self.peak = max(self.peak, self.live)
        self._known[key] = weakref.ref(storage, lambda _: self._forget(key, size))

    def _forget(self, key: int, size: int) -> None:
        if self._known.pop(key, None) is not None:
            self.live -= size


def micro_batch_rows(config: OptimizationConfig, length: int) -> int:
    """Sequences of a micro-batch: no more than a step has."""
    return min(config.micro_batch_size, max(1, config.batch_tokens // length))


def step_memory(
    shape: Shape,
    config: OptimizationConfig,
    loss: Callable[[Transformer, Tensor, Tensor], Tensor],
) -> StepMemory:
    """Predict the memory of a training step on sequences of full length.

    Args:
        shape: the model's sizes.
        config: which optimizer, and how a step is cut into micro-batches.
        loss: of ids and targets [B, T], as the objective computes it, in its precision.
    """
    rows = micro_batch_rows(config, shape.max_seq_len)
    accumulates = config.batch_tokens > rows * shape.max_seq_len
    with FakeTensorMode(), LiveBytes() as tracker:
        model = Transformer(shape)
        model.recompute = config.activation_checkpointing
        parameters = sum(p.numel() for p in model.parameters())
        matrices = sum(p.numel() for p in model.model.layers.parameters() if p.ndim == 2)
        ids = torch.zeros(rows, shape.max_seq_len, dtype=torch.long)
        before = tracker.live
        for _ in range(1 + accumulates):  # from the second on, all gradients are there already
            tracker.peak = tracker.live
            loss(model, ids, ids).backward()  # type: ignore[no-untyped-call]
    moments = 8 * parameters - (4 * matrices if config.optimizer == "muon" else 0)
    activations = tracker.peak - before - 4 * parameters
    return StepMemory(4 * parameters, 4 * parameters, moments, max(0, activations))
