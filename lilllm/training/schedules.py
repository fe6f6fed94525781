"""Learning-rate schedules: a step's share of the peak learning rate."""

import math

from lilllm.config.schema import OptimizationConfig


def lr_scale(step: int, steps: int, config: OptimizationConfig) -> float:
    """The share of the peak learning rate that a step uses.

    Linear warmup; then cosine, linear, or WSD (Hu et al. 2024, arXiv:2404.06395: hold, then
    decay linearly). The last step's share is exactly `min_lr_ratio`.

    Args:
        step: number of the step, from 0.
        steps: optimizer steps of the whole run.
        config: warmup_steps, schedule, decay_fraction, min_lr_ratio.
    """
    warmup = min(config.warmup_steps, steps - 1)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    floor = config.min_lr_ratio
    begin = warmup
    if config.schedule == "wsd":
        begin = max(warmup, steps - 1 - round(config.decay_fraction * steps))
    if step <= begin and step < steps - 1:
        return 1.0
    progress = (step - begin) / max(1, steps - 1 - begin)
    if steps - 1 <= begin:
        progress = 1.0
    if config.schedule == "cosine":
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))
    return 1 - (1 - floor) * progress
