"""C where torch is too slow: the sources, and how they become libraries."""

from lilllm.kernels.build import load, prebuild

__all__ = ["load", "prebuild"]
