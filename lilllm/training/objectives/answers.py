"""Next-token prediction where few positions are targets: the objective of supervised finetuning."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from lilllm.data.batches import IGNORE
from lilllm.model.transformer import Transformer
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
    hidden = model.hidden(ids, segments)
    if torch.compiler.is_compiling():  # a graph wants shapes that do not depend on the data
        chosen, wanted = hidden.flatten(0, 1), targets.flatten()
    else:
        chosen, wanted = hidden[learnt], targets[learnt]
    logits = model.logits(chosen).float()  # [targets, V]
    total = F.cross_entropy(
        logits, wanted, ignore_index=IGNORE, reduction="sum", label_smoothing=smoothing
    )
    return Loss(total, learnt.sum(), {})
