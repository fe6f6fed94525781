"""From the config's `model` section and a vocabulary to the sizes of a transformer."""

from pathlib import Path

from lilllm.config import Config
from lilllm.config.schema import ModelConfig
from lilllm.errors import ConfigError
from lilllm.model.transformer import Shape
from lilllm.tokenizer import Tokenizer


def planned_vocab_size(config: Config) -> int:
    """Rows of the embedding before anything is built, an estimate unless a tokenizer is given.

    Raises:
        CheckpointError: the given tokenizer cannot be read.
    """
    if config.model.vocab_size is None and config.tokenizer.path is not None:
        return Tokenizer.load(Path(config.tokenizer.path)).vocab_size
    return config.model.vocab_size or config.tokenizer.vocab_size


def resolve_shape(config: ModelConfig, vocab_size: int) -> Shape:
    """The shape of a model for a tokenizer of `vocab_size` tokens.

    Raises:
        ConfigError: `model.vocab_size` is smaller than the tokenizer's.
    """
    rows = config.vocab_size or vocab_size
    if rows < vocab_size:
        raise ConfigError(
            f"model.vocab_size={rows} is smaller than the tokenizer's {vocab_size} tokens",
            "leave model.vocab_size out to take the tokenizer's",
        )
    sizes = config.model_dump(exclude={"init_std", "zero_init"})
    return Shape(**{**sizes, "vocab_size": rows})
