"""Where few positions are targets, as answers to prompts are: their loss and log-probabilities.

The logits of other positions are never computed: most of them are prompts.
"""

from functools import partial

import torch.nn.functional as F
from torch import Tensor

from lilllm.data.batches import IGNORE
from lilllm.model.transformer import Transformer
from lilllm.training.objectives.cross_entropy import summed_cross_entropy
from lilllm.training.objectives.loss import Loss, Objective

ROUND_TO = 512
"""Positions that are scored are filled up to a multiple of this. Of as many sizes as batches have
targets, the allocator finds no freed block that fits, and the process grows with every step."""


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


def token_logprobs(model: Transformer, ids: Tensor, targets: Tensor) -> Tensor:
    """Log-probability in nats of each target, and 0 where there is none: [B, T], as all three are.

    Summed over a row it is that of an answer.
    """
    hidden, wanted = model.hidden(ids).flatten(0, 1), targets.flatten()
    places = (wanted != IGNORE).nonzero()[:, 0]  # [targets]
    filling = -len(places) % ROUND_TO
    wanted = F.pad(wanted[places], (0, filling), value=IGNORE)
    places = F.pad(places, (0, filling))
    scores = model.logits(hidden[places]).float()  # [targets + filling, V]
    nats = F.cross_entropy(scores, wanted, ignore_index=IGNORE, reduction="none")
    return nats.new_zeros(targets.numel()).index_add(0, places, -nats).view_as(targets)
