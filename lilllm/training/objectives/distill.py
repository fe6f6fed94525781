"""Distillation: the student matches a teacher's distribution, mixed with the hard labels.

The teacher's distribution comes as its k likeliest tokens per position; what is left of its
probability is one more outcome, "any other token", so that the student is told how much the
teacher leaves to the rest, too. Source: Hinton et al. 2015, arXiv:1503.02531. Deviation: the
k + 1 outcomes; a renormalised top k would teach too sharp a distribution.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from lilllm.data.batches import IGNORE
from lilllm.model.transformer import Transformer
from lilllm.training.objectives.loss import Loss, Objective

LEAST = 1e-6
"""Below this the probability of "any other token" is rounding; it also bounds its logarithm."""


def distill_loss(weight: float, temperature: float) -> Objective:
    """The objective; it takes ids, targets and segments [B, T] and the teacher's [B, T, k].

    Args:
        weight: of the teacher; the hard labels have the rest.
        temperature: at which the teacher's log-probabilities were taken.
    """
    return partial(_distill_loss, weight, temperature)


def _distill_loss(
    weight: float,
    temperature: float,
    model: Transformer,
    ids: Tensor,
    targets: Tensor,
    segments: Tensor | None,
    top_ids: Tensor,
    top_logprobs: Tensor,
) -> Loss:
    """Weight * T^2 * KL(teacher || student) + (1 - weight) * cross-entropy, per target token."""
    learnt = targets != IGNORE  # [B, T]
    logits = model.logits(model.hidden(ids, segments)[learnt]).float()  # [targets, V]
    hard = F.cross_entropy(logits, targets[learnt], reduction="sum")
    student = (logits / temperature).log_softmax(dim=-1).gather(1, top_ids[learnt].long())
    kl = coarse_kl(top_logprobs[learnt].float(), student).sum()
    total = weight * temperature**2 * kl + (1 - weight) * hard
    return Loss(total, learnt.sum(), {"nll": hard, "kl": kl})


def coarse_kl(teacher: Tensor, student: Tensor) -> Tensor:
    """KL divergence [N] over k tokens and "any other", from log-probabilities [N, k] of both."""
    kl = (teacher.exp() * (teacher - student)).sum(dim=-1)
    left, student_left = (1 - logprobs.exp().sum(dim=-1) for logprobs in (teacher, student))
    left, student_left = left.clamp(min=LEAST), student_left.clamp(min=LEAST)
    return kl + left * (left.log() - student_left.log())


@torch.no_grad()
def top_logprobs(
    teacher: Transformer, ids: Tensor, segments: Tensor | None, k: int, temperature: float
) -> tuple[Tensor, Tensor]:
    """The teacher's k likeliest tokens and their log-probabilities at a temperature, [B, T, k]."""
    logprobs = (teacher(ids, segments).float() / temperature).log_softmax(dim=-1)  # [B, T, V]
    top = logprobs.topk(min(k, logprobs.shape[-1]), dim=-1)
    return top.indices, top.values
