"""Next-token prediction: the objective of pretraining."""

from torch import Tensor

from lilllm.data.batches import IGNORE
from lilllm.model.transformer import Transformer
from lilllm.training.objectives.cross_entropy import summed_cross_entropy
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
    total = summed_cross_entropy(model, model.hidden(ids, segments), targets)
    return Loss(total, (targets != IGNORE).sum(), {})
