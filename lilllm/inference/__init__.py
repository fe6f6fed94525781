"""Text from a model: cache, sampling, and the engine that decodes."""

from lilllm.inference.engine import Engine, Generation, Sample
from lilllm.inference.stopping import TextDecoder

__all__ = ["Engine", "Generation", "Sample", "TextDecoder"]
