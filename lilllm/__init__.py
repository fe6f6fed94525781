"""lilllm: a command-line toolkit for the whole life of a little language model."""

__version__ = "0.1.0"
