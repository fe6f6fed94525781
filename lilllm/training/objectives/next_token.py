"""Next-token prediction: the objective of pretraining and, with masked targets, of SFT."""

import torch.nn.functional as F
from torch import Tensor

from lilllm.model.transformer import Transformer


def next_token_loss(
    model: Transformer, ids: Tensor, targets: Tensor, segments: Tensor | None
) -> Tensor:
    """Cross-entropy in nats, summed over the tokens that are targets.

    Args:
        model: gives logits for ids.
        ids: [B, T].
        targets: [B, T]; negative where there is no target.
        segments: [B, T] or None; see `Transformer.forward`.

    Returns:
        the sum, a scalar in fp32. Its count is the number of non-negative targets.
    """
    logits = model(ids, segments)  # [B, T, V]
    return F.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=-100, reduction="sum"
    )
