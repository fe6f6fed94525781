"""C where torch is too slow, C++ where it wastes memory: sources, and how they become libraries."""

from lilllm.kernels.build import load, prebuild

__all__ = ["load", "prebuild"]
