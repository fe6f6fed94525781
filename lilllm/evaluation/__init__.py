"""How good a model is: one file per kind of measure."""

from lilllm.evaluation.bits_per_byte import bits_per_byte

__all__ = ["bits_per_byte"]
