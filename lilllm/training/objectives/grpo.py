"""Group-relative policy optimisation: answers better than their group's mean become likelier.

Source: Shao et al. 2024 (DeepSeekMath), arXiv:2402.03300, section 4.1. Choices:

- Every answer is used for one update only, by the model that gave it, so the ratio to the old
  policy is 1 and its clipping never acts; the gradient is that of the policy.
- Each answer's sum is divided by a constant, not by its own length, which would favour long wrong
  answers and short right ones (Liu et al. 2025, "Dr. GRPO", arXiv:2503.20783).
- Whether advantages are divided by their group's standard deviation, as in DeepSeekMath, or not,
  as in Dr. GRPO, is `group_advantages`' argument.
- The KL divergence to the reference is estimated per token by k3 = r - 1 - log r with
  r = p_reference / p_model (Schulman 2020, "Approximating KL divergence"): unbiased and never
  negative.
"""

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lilllm.data.batches import IGNORE
from lilllm.model.transformer import Transformer
from lilllm.training.objectives.answers import token_logprobs
from lilllm.training.objectives.loss import Loss, Objective

Floats = NDArray[np.float32]
STD_FLOOR = 1e-4
"""Added to a group's standard deviation, so that equal rewards give no advantage."""


def grpo_loss(kl_weight: float, answer_tokens: int) -> Objective:
    """The objective; its unit is the answer.

    It takes ids and targets [B, T] and the reference's log-probabilities of the targets [B, T],
    then per answer [B] its advantage, its reward, and 1 where it passed every check.

    Args:
        kl_weight: of the divergence from the reference.
        answer_tokens: most tokens of an answer: the constant that each one's sum is divided by.
    """
    return partial(_grpo_loss, kl_weight, answer_tokens)


def _grpo_loss(
    kl_weight: float,
    answer_tokens: int,
    model: Transformer,
    ids: Tensor,
    targets: Tensor,
    reference: Tensor,
    advantages: Tensor,
    rewards: Tensor,
    passed: Tensor,
) -> Loss:
    """In evaluation the loss is KL weight * KL - reward: what training lowers, without a group."""
    answered = targets != IGNORE  # [B, T]
    logprobs = token_logprobs(model, ids, targets)
    lengths = answered.sum(dim=1)
    ratio = reference - logprobs
    k3 = (ratio.exp() - 1 - ratio) * answered
    policy = (logprobs - logprobs.detach()).exp() * advantages[:, None] * answered
    if model.training:
        total = (kl_weight * k3 - policy).sum() / answer_tokens
    else:
        total = kl_weight * k3.sum() / answer_tokens - rewards.sum()
    measures = {
        "reward": rewards.sum(),
        "success": passed.sum(),
        "kl_per_token": (k3.sum(dim=1) / lengths.clamp(min=1)).sum(),
        "answer_tokens": lengths.sum(),
    }
    return Loss(total, torch.tensor(len(ids), device=ids.device), measures)


def group_advantages(rewards: Floats, size: int, divide_by_std: bool) -> Floats:
    """How much better each answer is than the mean of its group of `size` neighbours."""
    groups = rewards.reshape(-1, size)
    advantages = groups - groups.mean(axis=1, keepdims=True)
    if divide_by_std:
        advantages = advantages / (groups.std(axis=1, keepdims=True) + STD_FLOOR)
    flat: Floats = advantages.astype(np.float32).ravel()
    return flat
