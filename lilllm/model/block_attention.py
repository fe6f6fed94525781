"""Causal attention on a CPU as plain matrix products over blocks, forward and backward.

torch's own CPU kernel leaves most of the bf16 units idle where heads are narrow. Here the scores
of a block of queries are one batched product, so the units are busy, and memory stays linear in
the length: the backward pass computes the scores again. Which attention runs where is decided in
`attention.py`. Shapes: B batch, T positions, H query heads, G key/value heads, R = H/G, K head
width, N = B G.
"""

import math
from typing import Any

import torch
from torch import Tensor

BLOCK = 128
"""Queries or keys of a block: scores of a block stay near the cores, and half a block is wasted
above the diagonal."""
MOST_BLOCKS = 16
"""Longer sequences have larger blocks instead, so that a compiled graph stays small."""


def block_attention(q: Tensor, k: Tensor, v: Tensor, segments: Tensor | None = None) -> Tensor:
    """Causal attention with grouped key/value heads; differentiable.

    Args:
        q: queries [B, H, T, K].
        k: keys [B, G, T, K].
        v: values [B, G, T, K].
        segments: [B, T]; a query sees keys of its own number only. None: one segment.

    Returns:
        [B, H, T, K]; in autocast's dtype where that is on, else in q's.

    Source: Dao 2023, "FlashAttention-2", arXiv:2307.08691, algorithms 1 and 2. Rows of scores are
    whole here, so there is no running maximum.
    """
    B, H, T, K = q.shape
    G = k.shape[1]
    kind = q.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else q.dtype
    q = (q * K**-0.5).to(dtype).unflatten(1, (G, H // G))  # [B, G, R, T, K]
    q = q.transpose(2, 3).reshape(B * G, -1, K)  # [N, T R, K]: heads of a group, side by side
    k, v = (x.to(dtype).reshape(B * G, T, K) for x in (k, v))
    if segments is not None:
        segments = segments.repeat_interleave(G, dim=0).float()  # [N, T]
    with torch.autocast(kind, enabled=False):
        out: Tensor = _BlockAttention.apply(q, k, v, segments)  # type: ignore[no-untyped-call]
    return out.view(B, G, T, -1, K).transpose(2, 3).flatten(1, 2)  # [B, H, T, K]


class _BlockAttention(torch.autograd.Function):
    """The two passes.

    Probabilities are exp(scores - top) / total, with `top` the row's maximum in the dtype of the
    scores, so that both passes subtract exactly the same.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, segments: Tensor | None) -> Tensor:
        """From q [N, T R, K], scaled, k, v [N, T, K] and segments [N, T] to [N, T R, K]."""
        T, R = k.shape[1], q.shape[1] // k.shape[1]
        outs, tops, totals = [], [], []
        for a, b in _blocks(T):
            scores = torch.bmm(q[:, a * R : b * R], k[:, :b].mT)  # [N, block R, b]
            scores.masked_fill_(_unseen(slice(a, b), slice(0, b), R, segments, q), -math.inf)
            top = scores.amax(-1, keepdim=True)
            weights = scores.sub_(top).exp_()
            total = weights.sum(-1, keepdim=True)
            outs.append(torch.bmm(weights, v[:, :b]).div_(total))
            tops.append(top)
            totals.append(total)
        out, top, total = (torch.cat(parts, 1) for parts in (outs, tops, totals))
        ctx.save_for_backward(q, k, v, segments, out, top, total)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """From grad [N, T R, K] to the gradients of q, k and v."""
        q, k, v, segments, out, top, total = ctx.saved_tensors
        T, R = k.shape[1], q.shape[1] // k.shape[1]
        grad = grad / total
        mean = (grad * out).sum(-1, keepdim=True)  # what softmax's derivative subtracts, per row
        grad_q = torch.zeros_like(q, dtype=torch.promote_types(q.dtype, torch.float32))
        grads_k, grads_v = [], []
        for a, b in _blocks(T):  # of keys; the queries are all that may see them
            rows = slice(a * R, None)
            scores = torch.bmm(q[:, rows], k[:, a:b].mT)  # [N, (T - a) R, block]
            scores.masked_fill_(_unseen(slice(a, T), slice(a, b), R, segments, q), -math.inf)
            weights = scores.sub_(top[:, rows]).exp_()
            pull = torch.bmm(grad[:, rows], v[:, a:b].mT).sub_(mean[:, rows]).mul_(weights)
            grads_v.append(torch.bmm(weights.mT, grad[:, rows]))
            grads_k.append(torch.bmm(pull.mT, q[:, rows]))
            grad_q[:, rows] += torch.bmm(pull, k[:, a:b])
        return grad_q.to(q.dtype), torch.cat(grads_k, 1), torch.cat(grads_v, 1), None


def _blocks(positions: int) -> list[tuple[int, int]]:
    """Where each block begins and ends."""
    size = max(BLOCK, -(-positions // MOST_BLOCKS))
    starts = range(0, positions, size)
    return [(start, min(start + size, positions)) for start in starts]


def _unseen(rows: slice, keys: slice, heads: int, segments: Tensor | None, like: Tensor) -> Tensor:
    """Which scores do not count: True where a key is later, or of another segment.

    Args:
        rows: positions of the queries.
        keys: positions of the keys.
        heads: query heads of a group, each a row of scores: R.
        segments: [N, T] or None.
        like: a tensor on the right device.

    Returns:
        bool [rows R, keys], or [N, rows R, keys] with segments.
    """
    T = max(rows.stop, keys.stop)
    at = torch.arange(T, dtype=torch.float32, device=like.device)  # floats compare fastest
    unseen = at[rows].repeat_interleave(heads)[:, None] < at[keys]
    if segments is None:
        return unseen
    of_rows = segments[:, rows].repeat_interleave(heads, dim=1)
    return unseen | (of_rows[:, :, None] != segments[:, None, keys])
