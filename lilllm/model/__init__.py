"""The one transformer module and the folders that keep it."""

from lilllm.model.checkpoint import (
    is_checkpoint,
    load_generation,
    load_model,
    load_shape,
    load_stop_ids,
    load_weights,
    save_model,
    verify,
)
from lilllm.model.transformer import (
    Shape,
    Transformer,
    count_parameters,
    flops_per_token,
    init_weights,
)

__all__ = [
    "Shape",
    "Transformer",
    "count_parameters",
    "flops_per_token",
    "init_weights",
    "is_checkpoint",
    "load_generation",
    "load_model",
    "load_shape",
    "load_stop_ids",
    "load_weights",
    "save_model",
    "verify",
]
