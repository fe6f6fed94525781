"""Classification: cross-entropy over classes, read from a text's last token."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lilllm.model.transformer import Transformer
from lilllm.training.objectives.loss import Loss


def label_loss(model: Transformer, ids: Tensor, last: Tensor, labels: Tensor) -> Loss:
    """Cross-entropy in nats, summed over rows.

    Args:
        model: has a classification head.
        ids: [B, T], filled up on the right.
        last: the position of each text's last token [B].
        labels: the class of each text [B].

    Returns:
        the sum; its unit is the row. Measures: accuracy.
    """
    scores = model.classify(ids, last).float()  # [B, classes]
    right = (scores.argmax(-1) == labels).sum()
    total = F.cross_entropy(scores, labels, reduction="sum")
    return Loss(total, torch.tensor(len(labels), device=ids.device), {"accuracy": right})
