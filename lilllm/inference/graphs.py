"""The decoding step of a GPU as CUDA graphs: captured once per batch size, then replayed.

A step of a small model is hundreds of short kernels, and starting each from Python takes longer
than running it. A graph starts all of them at once. Not run on a GPU yet; what surrounds the
capture is tested on a CPU.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lilllm.inference.cache import SlotCache

Step = Callable[[Tensor, Tensor, Tensor, int, SlotCache], Tensor]
"""From ids [B], slots [B], positions [B], how many positions to look at, and a cache to logits."""

SIZES = (1, 2, 4, 8, 16, 32)
"""Batch sizes that are captured; others are filled up by repeating their last text."""
WARMUPS = 3  # runs before a capture, in which libraries choose kernels and allocate


@dataclass(frozen=True, slots=True)
class _Captured:
    """One size's graph and the memory that it reads and writes."""

    inputs: Tensor  # ids, slots and positions, [3, size]
    logits: Tensor
    replay: Callable[[], None]


class GraphedStep:
    """Replays a step for any batch that a captured size can hold.

    Args:
        step: what is captured.
        capture: False runs the filled-up step as it is, which a CPU can do.
    """

    def __init__(self, step: Step, *, capture: bool = True) -> None:
        self.step, self.capture = step, capture
        self._captured: dict[int, _Captured] = {}
        self._first: Tensor | None = None  # of the cache that the graphs have addresses of

    def __call__(
        self, ids: Tensor, slots: Sequence[int], positions: Sequence[int], cache: SlotCache
    ) -> Tensor:
        """See `Decoder.decode`; at most `SIZES[-1]` texts."""
        B = len(slots)
        size = next(size for size in SIZES if size >= B)
        rest = torch.tensor([slots, positions], device=ids.device)
        inputs = torch.cat((ids[None], rest))  # [3, B]
        # a repeated text stores the same keys and values in the same place once more
        inputs = inputs[:, [min(row, B - 1) for row in range(size)]]
        if not self.capture:
            return self._run(inputs, cache)[:B]
        if self._first is not cache.keys[0]:  # the cache has grown
            self._captured.clear()
            self._first = cache.keys[0]
        if size not in self._captured:
            self._captured[size] = self._capture(inputs, cache)
        captured = self._captured[size]
        captured.inputs.copy_(inputs)
        captured.replay()
        return captured.logits[:B].clone()

    def _capture(self, inputs: Tensor, cache: SlotCache) -> _Captured:
        """Record the step on memory of its own; running it changes nothing that is not due."""
        kept = inputs.clone()
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARMUPS):
                self._run(kept, cache)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            logits = self._run(kept, cache)
        return _Captured(kept, logits, graph.replay)

    def _run(self, inputs: Tensor, cache: SlotCache) -> Tensor:
        ids, slots, positions = inputs
        return self.step(ids, slots, positions, cache.positions, cache)
