"""Next-token prediction where few positions are targets: the objective of supervised finetuning."""

from functools import partial

import torch.nn.functional as F
from torch import Tensor

from lilllm.data.batches import IGNORE
from lilllm.model.transformer import Transformer
from lilllm.training.objectives.cross_entropy import summed_cross_entropy
from lilllm.training.objectives.loss import Loss, Objective


def answer_loss(label_smoothing: float = 0.0) -> Objective:
    """Cross-entropy over the targets alone.

    Args:
        label_smoothing: share of each target spread evenly over the vocabulary, in training only
            (Szegedy et al. 2016, arXiv:1512.00567, section 7).
    """
    return partial(_answer_loss, label_smoothing)


def _answer_loss(
    label_smoothing: float,
    model: Transformer,
    ids: Tensor,
    targets: Tensor,
    segments: Tensor | None,
) -> Loss:
    """The logits of other positions than [targets] are never computed: most of them are prompts."""
    learnt = targets != IGNORE  # [B, T]
    smoothing = label_smoothing if model.training else 0.0
    hidden, wanted = model.hidden(ids, segments), targets
    if not model.compiled:  # a graph wants shapes that do not depend on the data
        hidden, wanted = hidden[learnt], targets[learnt]  # [targets, D]
    if not smoothing:
        return Loss(summed_cross_entropy(model, hidden, wanted), learnt.sum(), {})
    total = F.cross_entropy(
        model.logits(hidden).float().flatten(0, -2),
        wanted.flatten(),
        ignore_index=IGNORE,
        reduction="sum",
        label_smoothing=smoothing,
    )
    return Loss(total, learnt.sum(), {})
