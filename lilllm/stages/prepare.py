"""Preparation of data: the config's sources and a tokenizer folder in, shards out."""

import os
from functools import partial
from typing import Any

from lilllm.config import Config, layout
from lilllm.config.schema import SourceConfig
from lilllm.data.plan import depends_on_seed, describe_inputs
from lilllm.data.prepare import Prepared, Vocabulary, prepare
from lilllm.data.shards import FORMAT
from lilllm.errors import ConfigError
from lilllm.events import Report
from lilllm.files import sha256_json
from lilllm.tokenizer import Tokenizer, load_encoder


def run(config: Config, report: Report, fresh: bool = False) -> Prepared:
    """Fill the run's data folder; what an earlier call has done is not done again.

    With `fresh` it is all done again, and replaces what is there once it is complete.

    Raises:
        ConfigError: `data.path` names prepared data to use, or there are no sources.
        CheckpointError: the tokenizer folder is missing or damaged.
        DataError: a source cannot be read, or nothing is left of it.
        RunError: the disk is full or the folder cannot be written.
    """
    if config.data.path is not None:
        raise ConfigError(
            f"data.path={config.data.path} names prepared data to use, so none is prepared",
            "leave data.path out to prepare data.sources",
        )
    if not config.data.sources:
        raise ConfigError(
            "data.sources is empty, so there is nothing to prepare",
            "for example data.sources=[builtin:stories], or the path of a text file",
        )
    places = layout(config)
    vocabulary = describe_vocabulary(Tokenizer.load(places.tokenizer), str(places.tokenizer))
    processes = config.data.processes
    return prepare(
        places.data,
        config.data,
        vocabulary,
        processes if isinstance(processes, int) else _cores(),
        config.seed,
        report,
        fresh=fresh,
    )


def describe_vocabulary(tokenizer: Tokenizer, folder: str) -> Vocabulary:
    """What preparation must know of the tokenizer in a folder."""
    return Vocabulary(
        encoder=partial(load_encoder, folder),
        hash=tokenizer.hash,
        vocab_size=tokenizer.vocab_size,
        end_id=tokenizer.end_id,
    )


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def inputs_hash(config: Config) -> str:
    """What the shards depend on: sources with the sizes and times of files, options, tokenizer."""
    data = config.data
    return sha256_json(
        {
            "format": FORMAT,
            "options": data.model_dump(mode="json", exclude={"path", "processes"}),
            "sources": describe_inputs([*data.sources, *data.val_sources]),
            "seed": config.seed if depends_on_seed(data) else None,
            "tokenizer": Tokenizer.load(layout(config).tokenizer).hash,
        }
    )


def source_identity(source: SourceConfig) -> Any:
    """A source with the sizes and times of its files: JSON that changes when its content may."""
    return describe_inputs([source])[0]
