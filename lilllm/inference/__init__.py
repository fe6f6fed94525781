"""Text from a model: cache, sampling, and the engine that decodes."""

from lilllm.inference.engine import Engine, Generation, Sample
from lilllm.inference.request import Delta, FinishReason, Request, TokenScore
from lilllm.inference.stopping import TextDecoder

__all__ = [
    "Delta",
    "Engine",
    "FinishReason",
    "Generation",
    "Request",
    "Sample",
    "TextDecoder",
    "TokenScore",
]
