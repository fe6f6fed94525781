"""What a batch's loss is: each objective maps a batch to (sum of losses, count of its unit)."""

from lilllm.training.objectives.loss import Loss, Objective

__all__ = ["Loss", "Objective"]
