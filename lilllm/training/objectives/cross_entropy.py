"""Cross-entropy over a vocabulary without the logits of all positions at once.

The scores of a whole batch are the largest tensors of a small model's step. Here each chunk of
positions is scored, and its gradient taken, before the next one, so that they never leave the
cache; the backward pass only hands the gradients on.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lilllm.data.batches import IGNORE
from lilllm.model.compiled import compiled
from lilllm.model.transformer import Transformer

CHUNK_SCORES = 2**23
"""Scores of a chunk: 1,024 positions at a vocabulary of 8,192, 16 MB in bf16."""


FP16_SCALE = 1024.0
"""In fp16 the gradients of unlikely tokens vanish without it; hidden and weight are in fp32."""


def summed_cross_entropy(model: Transformer, hidden: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy in nats, summed over the positions that have a target.

    Args:
        model: gives the scores of a residual stream.
        hidden: the stream [..., D].
        targets: [...]; IGNORE where there is no target.

    Returns:
        a scalar in fp32.

    Source: the idea of Hsu et al. 2024, "Liger Kernel", arXiv:2410.10989, section 3.2.
    """
    hidden, targets = hidden.flatten(0, -2), targets.flatten()
    if not torch.is_grad_enabled():
        parts = zip(*_chunks(model, hidden, targets), strict=True)
        return torch.stack([_loss(model, *part) for part in parts]).sum()
    return _Chunked.apply(hidden, model.output_weight, model, targets)  # type: ignore[no-any-return, no-untyped-call]


class _Chunked(torch.autograd.Function):
    """The loss, with its gradients computed on the way."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, model: Transformer, targets: Tensor
    ) -> Tensor:
        """From hidden [N, D] and the output matrix [V, D] that `model` has to the sum."""
        loss = compiled(_loss) if model.compiled else _loss
        total = hidden.new_zeros((), dtype=torch.float32)
        fp16 = torch.get_autocast_dtype(hidden.device.type) == torch.float16
        scale = FP16_SCALE if fp16 and torch.is_autocast_enabled(hidden.device.type) else 1.0
        gradients, weight_gradient = [], None
        for part, wanted in zip(*_chunks(model, hidden, targets), strict=True):
            with torch.enable_grad():
                leaf = part.detach().requires_grad_()
                part_loss = loss(model, leaf, wanted)
                scaled = part_loss * scale
            inputs = (leaf, weight) if weight.requires_grad else (leaf,)
            found = torch.autograd.grad(scaled, inputs)
            if scale != 1.0:
                found = tuple(gradient.div_(scale) for gradient in found)
            gradients.append(found[0])
            if weight_gradient is None:
                weight_gradient = found[1] if weight.requires_grad else None
            else:
                weight_gradient += found[1]
            total += part_loss.detach()
        ctx.gradients = torch.cat(gradients), weight_gradient
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        """The gradients, times that of the sum."""
        of_hidden, of_weight = ctx.gradients
        return grad * of_hidden, None if of_weight is None else grad * of_weight, None, None


def _loss(model: Transformer, hidden: Tensor, targets: Tensor) -> Tensor:
    scores = model.logits(hidden).float()  # [N, V]
    return F.cross_entropy(scores, targets, ignore_index=IGNORE, reduction="sum")


def _chunks(model: Transformer, hidden: Tensor, targets: Tensor) -> tuple[Any, Any]:
    size = max(1, CHUNK_SCORES // model.shape.vocab_size)
    return torch.split(hidden, size), torch.split(targets, size)
