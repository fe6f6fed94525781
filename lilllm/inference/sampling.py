"""From logits to the next token: small functions on logits [B, V], applied one after another.

Each returns new logits; a token that may not be taken has -inf. Random numbers come from outside,
one per sample and token, so a sample does not depend on which others share its batch. Nothing
here waits for the device.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lilllm.config.schema import GenerateConfig

LIKELY = 1e-3
"""Probability of the tokens that are sorted first when a nucleus is sought."""


class Sampler(NamedTuple):
    """How a token is chosen: the part of `generate` that acts on logits."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float

    @classmethod
    def of(cls, options: GenerateConfig) -> "Sampler":
        """The sampler that a config asks for."""
        return cls(*(getattr(options, name) for name in cls._fields))

    @property
    def looks_back(self) -> bool:
        """Whether earlier tokens matter."""
        penalties = self.repetition_penalty, self.presence_penalty, self.frequency_penalty
        return penalties != (1, 0, 0)


class History:
    """How often each token came, of one text.

    Args:
        prompt_ids: tokens of the prompt.
        vocab_size: V.
        device: where logits are.

    Attributes:
        in_prompt: bool [V], tokens of the prompt.
        counts: fp32 [V], how often each is among the new tokens.
    """

    def __init__(self, prompt_ids: Sequence[int], vocab_size: int, device: torch.device) -> None:
        self.in_prompt = torch.zeros(vocab_size, dtype=torch.bool, device=device)
        self.in_prompt[torch.tensor(prompt_ids, device=device)] = True
        self.counts = torch.zeros(vocab_size, device=device)

    def add(self, token: Tensor) -> None:
        """Count a new token, an id of shape [1]."""
        self.counts.index_add_(0, token, torch.ones_like(token, dtype=torch.float32))


COLDEST = 1e-4
"""The temperature that smaller ones are taken for: quotients of such do not fit into fp32."""


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Divide by a temperature above 0: below 1 sharpens, above 1 flattens."""
    return logits / max(temperature, COLDEST)


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Keep the k most likely tokens, and those as likely as the last of them; 0 keeps all.

    Source: Fan et al. 2018, arXiv:1805.04833.
    """
    if not 0 < k < logits.shape[-1]:
        return logits
    threshold = logits.topk(k, dim=-1).values[:, -1:]
    return logits.masked_fill(logits < threshold, -torch.inf)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the smallest set of most likely tokens whose probabilities sum to at least p.

    Source: Holtzman et al. 2019, arXiv:1904.09751.
    """
    if p >= 1:
        return logits
    if logits.device.type == "cpu":  # sorting the whole vocabulary would take longer than a step
        return torch.stack([_keep_top_p_of_row(row, p) for row in logits])
    ascending, order = logits.sort(dim=-1)
    dropped = ascending.softmax(dim=-1).cumsum(dim=-1) <= 1 - p
    dropped[:, -1] = False  # the most likely token always stays
    return logits.masked_fill(dropped.scatter(1, order, dropped), -torch.inf)


def _keep_top_p_of_row(logits: Tensor, p: float) -> Tensor:
    """The same for logits [V], sorting only tokens that may be in the set.

    Tokens less likely than (1 - p) / V have less than 1 - p together, so the set is among the
    others; mostly it is among the few that are likelier than `LIKELY`.
    """
    probabilities = logits.softmax(dim=-1)
    for least in (LIKELY, (1 - p) / len(logits)):
        candidates = (probabilities > least).nonzero()[:, 0]
        descending, order = probabilities[candidates].sort(descending=True, stable=True)
        before = descending.cumsum(dim=-1) - descending
        if float(descending.sum()) >= p:
            break
    kept = torch.full_like(logits, -torch.inf)
    chosen = candidates[order[(before < p).nonzero()[:, 0]]]
    kept[chosen] = logits[chosen]
    return kept


def keep_min_p(logits: Tensor, p: float) -> Tensor:
    """Keep tokens at least p times as likely as the likeliest one; 0 keeps all.

    Source: Nguyen et al. 2024, arXiv:2407.01082.
    """
    if p <= 0:
        return logits
    probabilities = logits.softmax(dim=-1)
    threshold = p * probabilities.amax(dim=-1, keepdim=True)
    return logits.masked_fill(probabilities < threshold, -torch.inf)


def penalize_repetition(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Divide positive logits of tokens in `seen` (bool [B, V]) by a penalty, multiply negative.

    Source: Keskar et al. 2019, arXiv:1909.05858, section 4.1.
    """
    if penalty == 1:
        return logits
    penalized = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(seen, penalized, logits)


def penalize_counts(logits: Tensor, counts: Tensor, presence: float, frequency: float) -> Tensor:
    """Subtract `presence` from tokens with a count [B, V], and `frequency` for each one counted.

    Source: OpenAI's API reference, "frequency and presence penalties".
    """
    if presence == frequency == 0:
        return logits
    return logits - presence * (counts > 0) - frequency * counts


def pick(logits: Tensor, uniforms: Tensor) -> Tensor:
    """Draw token ids [B] by inverting the cumulative distribution.

    Args:
        logits: [B, V].
        uniforms: [B], one number in [0, 1) per sample.
    """
    cumulative = logits.softmax(dim=-1).cumsum(dim=-1)  # [B, V]
    total = cumulative[:, -1:]
    chosen = torch.searchsorted(cumulative, uniforms[:, None] * total, right=True)
    last = (cumulative < total).sum(dim=-1, keepdim=True)  # the last token of any probability
    return chosen.minimum(last)[:, 0]


def next_tokens(
    logits: Tensor,
    sampler: Sampler,
    histories: Sequence[History],
    draws: Sequence[random.Random],
) -> Tensor:
    """The next token id of each sample, [B].

    Args:
        logits: fp32 [B, V] of the last position.
        sampler: temperature 0 takes the most likely token, the lowest id among equals.
        histories: one per sample; read only where the sampler looks back.
        draws: one random generator per sample.
    """
    if sampler.looks_back:
        counts = torch.stack([history.counts for history in histories])
        seen = torch.stack([history.in_prompt for history in histories]) | (counts > 0)
        logits = penalize_repetition(logits, seen, sampler.repetition_penalty)
        penalties = sampler.presence_penalty, sampler.frequency_penalty
        logits = penalize_counts(logits, counts, *penalties)
    if sampler.temperature == 0:
        return logits.argmax(dim=-1)
    logits = apply_temperature(logits, sampler.temperature)
    logits = keep_top_p(keep_top_k(logits, sampler.top_k), sampler.top_p)
    logits = keep_min_p(logits, sampler.min_p)
    uniforms = torch.tensor([draw.random() for draw in draws], device=logits.device)
    return pick(logits, uniforms)


def sample_generator(seed: int, sample: int) -> random.Random:
    """The random numbers of one sample, the same on every machine and in every batch."""
    return random.Random(f"lilllm/{seed}/{sample}")
