"""Next-token prediction: the objective of pretraining and, with masked targets, of SFT."""

import torch.nn.functional as F
from torch import Tensor

from lilllm.data.batches import IGNORE
from lilllm.model.transformer import Transformer
from lilllm.training.objectives.loss import Loss


def next_token_loss(
    model: Transformer, ids: Tensor, targets: Tensor, segments: Tensor | None
) -> Loss:
    """Cross-entropy in nats, summed over the tokens that are targets.

    Args:
        model: gives logits for ids.
        ids: [B, T].
        targets: [B, T]; IGNORE where there is no target.
        segments: [B, T] or None; see `Transformer.forward`.

    Returns:
        the sum in fp32; its unit is the token.
    """
    logits = model(ids, segments)  # [B, T, V]
    total = F.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORE, reduction="sum"
    )
    return Loss(total, (targets != IGNORE).sum(), {})
