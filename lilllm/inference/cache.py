"""Keys and values of earlier positions, in slots: one per running text, memory allocated rarely.

A slot that became free keeps its positions until another text needs it, so that a conversation's
next turn finds its history. Who runs in which slot is decided in `engine.py`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lilllm.model import Shape

ROUND_TO = 64  # positions; the cache grows in such pieces
WORTH_COPYING = 8  # positions; fewer are as quickly computed again


class SlotCache:
    """Keys and values [slots, G, positions, K] of every layer, and whose they are.

    Args:
        shape: the model's sizes.
        dtype: of keys and values.
        device: where they are kept.

    Attributes:
        held: of each slot, the token ids whose positions it holds.
    """

    def __init__(self, shape: Shape, dtype: torch.dtype, device: torch.device) -> None:
        self.shape = shape
        size = (0, shape.n_kv_heads, 0, shape.head_dim)
        self.keys, self.values = (
            [torch.empty(size, dtype=dtype, device=device) for _ in range(shape.n_layers)]
            for _ in range(2)
        )
        self.held: list[list[int]] = []
        self.free: list[int] = []  # the one used longest ago first

    @property
    def positions(self) -> int:
        """Positions that a slot has room for."""
        return self.keys[0].shape[2]

    def reserve(self, slots: int, positions: int) -> None:
        """Make room for at least so many slots and positions; what is held stays."""
        have = len(self.held), self.positions
        wanted = max(slots, have[0]), max(positions, have[1])
        if wanted == have:
            return

        def grown(old: Tensor) -> Tensor:
            # zeros, because what is masked is multiplied by 0 and must not be NaN
            new = old.new_zeros(wanted[0], old.shape[1], wanted[1], old.shape[3])
            new[: have[0], :, : have[1]] = old
            return new

        # All before any is kept: layers of different lengths would be read out of bounds.
        keys, values = [grown(old) for old in self.keys], [grown(old) for old in self.values]
        self.keys[:], self.values[:] = keys, values
        self.free[:0] = range(have[0], wanted[0])
        self.held += [[] for _ in range(have[0], wanted[0])]

    def lease(self, ids: Sequence[int]) -> tuple[int, int]:
        """A free slot for a text that begins with `ids`, and how many of these it holds already.

        The slot with the longest common beginning is continued if it is free and not much is lost
        of it, else that beginning is copied from it.
        """
        common = [_common(held, ids) for held in self.held]
        source = max(range(len(common)), key=common.__getitem__)
        kept = common[source]
        if source in self.free and 2 * kept >= len(self.held[source]) > 0:
            slot = source
        else:  # what another text holds is worth keeping as long as there is an empty slot
            slot = min((free for free in self.free if not self.held[free]), default=self.free[0])
        if slot != source:
            kept = kept if kept >= WORTH_COPYING else 0
            for tensor in (*self.keys, *self.values):
                tensor[slot, :, :kept] = tensor[source, :, :kept]
        self.free.remove(slot)
        self.held[slot] = list(ids[:kept])
        return slot, kept

    def release(self, slot: int) -> None:
        """Let a slot be used by others; what it holds stays until then."""
        self.free.append(slot)


def _common(held: Sequence[int], ids: Sequence[int]) -> int:
    """How many tokens two texts begin with in common."""
    count = 0
    for one, other in zip(held, ids, strict=False):
        if one != other:
            break
        count += 1
    return count
