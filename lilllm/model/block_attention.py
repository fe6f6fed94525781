"""Causal attention on a CPU as plain matrix products over blocks, forward and backward.

torch's own CPU kernel leaves most of the bf16 units idle where heads are narrow. Here the scores
of a block of queries and a block of keys are one batched product, so the units are busy; blocks
above the diagonal are left out, and memory stays linear in the length, because the backward pass
computes the scores again. In bf16 the same is done by the C of `native_attention.py` where there
is a compiler and the processor has units for it. Which attention runs on which device is decided
in `attention.py`. Shapes: B batch, T positions, H query heads, G key/value heads, R = H/G, K head
width, N = B G.
"""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lilllm.model.native_attention import is_faster, native_attention

BLOCK = 128
"""Positions of a block: scores of a pair of blocks stay near the cores, and half a block is
wasted above the diagonal."""
MOST_BLOCKS = 8
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
    with torch.autocast(kind, enabled=False):
        out: Tensor
        if dtype == torch.bfloat16 and K % 32 == 0 and is_faster(B * G):
            out, _ = native_attention(q, k, v, None if segments is None else segments.long())
        else:
            if segments is not None:
                segments = segments.repeat_interleave(G, dim=0).float()  # [N, T]
            out = _BlockAttention.apply(q, k, v, segments)  # type: ignore[no-untyped-call]
    return out.view(B, G, T, -1, K).transpose(2, 3).flatten(1, 2)  # [B, H, T, K]


class _BlockAttention(torch.autograd.Function):
    """The two passes over pairs of blocks: i counts blocks of queries, j blocks of keys up to i.

    Probabilities are exp(scores - top) / total, with `top` the row's maximum in the dtype of the
    scores, so that both passes subtract exactly the same.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, segments: Tensor | None) -> Tensor:
        """From q [N, T R, K], scaled, k, v [N, T, K] and segments [N, T] to [N, T R, K]."""
        R = ctx.heads = q.shape[1] // k.shape[1]
        qs, ks, vs = _blocks(q, R), _blocks(k), _blocks(v)
        parts = [None] * len(qs) if segments is None else _blocks(segments)
        outs, tops, totals = [], [], []
        for i, q_i in enumerate(qs):
            scores = [torch.bmm(q_i, k_j.mT) for k_j in ks[: i + 1]]  # each [N, block R, block]
            scores = [_hide(s, R, i == j, parts[i], parts[j]) for j, s in enumerate(scores)]
            top = scores[0].amax(-1, keepdim=True)
            for s in scores[1:]:
                top = torch.maximum(top, s.amax(-1, keepdim=True))
            weights = [(s - top).exp() for s in scores]
            total = _sum([w.sum(-1, keepdim=True) for w in weights])
            mixed = _sum([torch.bmm(w, v_j) for w, v_j in zip(weights, vs, strict=False)])
            outs.append((mixed / total).to(q.dtype))
            tops.append(top)
            totals.append(total)
        ctx.save_for_backward(*qs, *ks, *vs, *outs, *tops, *totals, *parts)
        return torch.cat(outs, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """From grad [N, T R, K] to the gradients of q, k and v.

        Scores are [N, keys, queries] here: two of the three products that read them then find
        them as they lie in memory.
        """
        R, saved = ctx.heads, ctx.saved_tensors
        n = len(saved) // 7
        qs, ks, vs, outs, tops, totals, parts = (saved[at * n : at * n + n] for at in range(7))
        grads = [
            (g / total).to(grad.dtype) for g, total in zip(_blocks(grad, R), totals, strict=True)
        ]
        # What the derivative of softmax subtracts in each row: the mean of its other factor.
        means = [(g * out).sum(-1, keepdim=True).mT for g, out in zip(grads, outs, strict=True)]
        of_q: list[list[Tensor]] = [[] for _ in range(n)]
        of_k: list[list[Tensor]] = [[] for _ in range(n)]
        of_v: list[list[Tensor]] = [[] for _ in range(n)]
        for i, (q_i, grad_i) in enumerate(zip(qs, grads, strict=True)):
            for j in range(i + 1):
                scores = torch.bmm(ks[j], q_i.mT)  # [N, block, block R]
                scores = _hide(scores.mT, R, i == j, parts[i], parts[j]).mT
                weights = (scores - tops[i].mT).exp()
                pull = (torch.bmm(vs[j], grad_i.mT) - means[i]) * weights
                of_v[j].append(torch.bmm(weights, grad_i))
                of_k[j].append(torch.bmm(pull, q_i))
                of_q[i].append(torch.bmm(pull.mT, ks[j]))
        q_grad, k_grad, v_grad = (
            torch.cat([_sum(each).to(grad.dtype) for each in of], 1) for of in (of_q, of_k, of_v)
        )
        return q_grad, k_grad, v_grad, None


def _blocks(x: Tensor, heads: int = 1) -> list[Tensor]:
    """Cut [N, T heads, ...] into contiguous blocks of positions."""
    size = max(BLOCK, -(-x.shape[1] // heads // MOST_BLOCKS))
    return [part.contiguous() for part in torch.split(x, size * heads, dim=1)]


def _sum(parts: list[Tensor]) -> Tensor:
    """The sum in fp32 at least."""
    wide = torch.promote_types(parts[0].dtype, torch.float32)
    total = parts[0].to(wide)
    for part in parts[1:]:
        total = total + part
    return total


def _hide(
    scores: Tensor, heads: int, diagonal: bool, of_rows: Tensor | None, of_keys: Tensor | None
) -> Tensor:
    """Scores [N, block R, block] with -inf where a key is later or of another segment."""
    unseen = None
    if diagonal:  # row r is of position r // heads; numbers of fp32 are fast to compare
        numbers = partial(torch.arange, dtype=torch.float32, device=scores.device)
        unseen = numbers(scores.shape[1])[:, None] < numbers(scores.shape[2]) * heads
    if of_rows is not None and of_keys is not None:
        other = of_rows.repeat_interleave(heads, dim=1)[:, :, None] != of_keys[:, None]
        unseen = other if unseen is None else unseen | other
    return scores if unseen is None else scores.masked_fill(unseen, -math.inf)
