"""From logits to the next token: small functions on logits [B, V], applied one after another.

Each returns new logits; a token that may not be taken has -inf. Random numbers come from outside,
one per sample and token, so a sample does not depend on which others share its batch.
"""

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from lilllm.config.schema import GenerateConfig


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Divide by a temperature above 0: below 1 sharpens, above 1 flattens."""
    return logits / temperature


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
    ascending, order = logits.sort(dim=-1)
    dropped = ascending.softmax(dim=-1).cumsum(dim=-1) <= 1 - p
    dropped[:, -1] = False  # the most likely token always stays
    return logits.masked_fill(dropped.scatter(1, order, dropped), -torch.inf)


def penalize_repetition(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Divide positive logits of tokens in `seen` (bool [B, V]) by a penalty, multiply negative.

    Source: Keskar et al. 2019, arXiv:1909.05858, section 4.1.
    """
    if penalty == 1:
        return logits
    penalized = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(seen, penalized, logits)


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
    logits: Tensor, options: GenerateConfig, seen: Tensor | None, draws: Sequence[random.Random]
) -> Tensor:
    """The next token id of each sample, [B].

    Args:
        logits: [B, V] of the last position.
        options: temperature 0 takes the most likely token, the lowest id among equals.
        seen: bool [B, V], the tokens that `repetition_penalty` applies to; None where it is 1.
        draws: one random generator per sample.
    """
    logits = logits.float()
    if seen is not None:
        logits = penalize_repetition(logits, seen, options.repetition_penalty)
    if options.temperature == 0:
        return logits.argmax(dim=-1)
    logits = apply_temperature(logits, options.temperature)
    logits = keep_top_p(keep_top_k(logits, options.top_k), options.top_p)
    uniforms = torch.tensor([draw.random() for draw in draws], device=logits.device)
    return pick(logits, uniforms)


def sample_generator(seed: int, sample: int) -> random.Random:
    """The random numbers of one sample, the same on every machine and in every batch."""
    return random.Random(f"lilllm/{seed}/{sample}")
