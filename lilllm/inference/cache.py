"""Keys and values of earlier positions, in memory that is allocated once.

Every sample of a batch has the same number of positions; choosing tokens is `engine.py`'s.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lilllm.model import Shape


class KVCache:
    """A `Cache` of fixed capacity.

    Args:
        shape: the model's sizes.
        batch: samples B.
        capacity: positions it can hold per sample.
        dtype: of keys and values.
        device: where they are kept.
    """

    def __init__(
        self,
        shape: Shape,
        batch: int,
        capacity: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        size = (batch, shape.n_kv_heads, capacity, shape.head_dim)  # [B, G, capacity, K]
        self.keys = [torch.empty(size, dtype=dtype, device=device) for _ in range(shape.n_layers)]
        self.values = [torch.empty(size, dtype=dtype, device=device) for _ in range(shape.n_layers)]
        self._length = 0

    @property
    def length(self) -> int:
        """Positions already stored."""
        return self._length

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store k, v [B, G, T, K] of new positions; return all of them [B, G, S, K].

        The last layer's call ends the forward pass, so it moves `length` on.
        """
        end = self._length + k.shape[2]
        keys, values = self.keys[layer], self.values[layer]
        if end > keys.shape[2]:
            raise ValueError(f"{end} positions do not fit into a cache of {keys.shape[2]}")
        keys[:, :, self._length : end] = k
        values[:, :, self._length : end] = v
        if layer == len(self.keys) - 1:
            self._length = end
        return keys[:, :, :end], values[:, :, :end]

    def select(self, rows: Sequence[int]) -> None:
        """Make sample `i` of the batch a copy of what sample `rows[i]` was.

        Repeating a row forks it, leaving one out drops it.
        """
        for tensors in (self.keys, self.values):
            for layer, tensor in enumerate(tensors):
                tensors[layer] = tensor[list(rows)]
