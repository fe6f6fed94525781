"""Direct preference optimisation: the better answer gains on the worse one, over a reference."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from lilllm.data.batches import IGNORE
from lilllm.model.transformer import Transformer
from lilllm.training.objectives.answers import token_logprobs
from lilllm.training.objectives.loss import Loss, Objective


def dpo_loss(
    beta: float,
    label_smoothing: float = 0.0,
    likelihood_weight: float = 0.0,
    length_weight: float = 0.0,
) -> Objective:
    """-log sigmoid(reward of the better answer - reward of the worse one).

    An answer's reward is beta x (its log-probability - the reference's) + length_weight x tokens.

    Args:
        beta: how far the model may move away from the reference: the smaller, the farther.
        label_smoothing: share of pairs whose verdict is taken to be wrong.
        likelihood_weight: weight of the better answer's negative log-likelihood, in nats per
            token, without which both answers may become less likely.
        length_weight: what a token of an answer is worth by itself. It is not learnt, and what it
            explains of the verdicts the model has no need to learn.

    Source: Rafailov et al. 2023, arXiv:2305.18290, equation 7; the smoothing is equation 3 of
    Mitchell 2023, "A note on DPO with noisy preferences"; the likelihood Pang et al. 2024,
    arXiv:2404.19733; the length Park et al. 2024, arXiv:2403.19159.
    """
    return partial(_dpo_loss, beta, label_smoothing, likelihood_weight, length_weight)


def _dpo_loss(
    beta: float,
    smoothing: float,
    likelihood_weight: float,
    length_weight: float,
    model: Transformer,
    ids: Tensor,
    targets: Tensor,
    reference: Tensor,
) -> Loss:
    """Ids and targets are [B, 2, T] and the reference [B, 2], better answers first."""
    log_probabilities = token_logprobs(model, ids.flatten(0, 1), targets.flatten(0, 1))
    of_answers = log_probabilities.sum(dim=1).view(-1, 2)  # [B, 2]
    tokens = (targets != IGNORE).sum(dim=2)  # [B, 2]
    rewards = beta * (of_answers - reference) + length_weight * tokens
    margins = rewards[:, 0] - rewards[:, 1]
    losses = -F.logsigmoid(margins)
    if smoothing:
        losses = (1 - smoothing) * losses - smoothing * F.logsigmoid(-margins)
    if likelihood_weight:
        losses = losses - likelihood_weight * of_answers[:, 0] / tokens[:, 0]
    measures = {
        "reward_accuracy": (margins > 0).sum(),
        "reward_margin": margins.sum(),
        "chosen_reward": rewards[:, 0].sum(),
        "rejected_reward": rewards[:, 1].sum(),
    }
    return Loss(losses.sum(), torch.tensor(len(margins), device=ids.device), measures)
