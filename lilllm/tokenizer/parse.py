"""From the text of a `tokenizer.json`, which strangers may have written, to a tokenizer that works.

The library that parses it is Rust: on some damage it raises, on some it panics, and some it
accepts although later parts of this package would suffer.
"""

import json
from typing import Any

import tokenizers

from lilllm.errors import CheckpointError

LARGEST_BYTES = 256 * 2**20
"""No tokenizer.json is larger; the largest known ones have about 35 MB."""


def parse_tokenizer(text: str) -> tokenizers.Tokenizer:
    """Parse a `tokenizer.json` and try it once; saved truncation and padding are dropped.

    Raises:
        CheckpointError: it is not JSON, no tokenizer, or one that does not work.
    """
    if len(text) > LARGEST_BYTES:
        raise CheckpointError(f"tokenizer.json: {len(text):,} characters are too many")
    try:
        parsed: Any = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise CheckpointError(f"tokenizer.json: not valid JSON ({err})") from err
    if not isinstance(parsed, dict) or not isinstance(parsed.get("model"), dict):
        raise CheckpointError("tokenizer.json: no tokenizer: the key 'model' is missing")
    try:
        tokenizer = tokenizers.Tokenizer.from_str(text)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.decode(tokenizer.encode("a b", add_special_tokens=True).ids)
    except BaseException as err:
        if is_interrupt(err):
            raise
        raise CheckpointError(f"tokenizer.json: not a tokenizer that works ({err})") from err
    return tokenizer


def is_interrupt(err: BaseException) -> bool:
    """Whether an exception is about the process: a panic of the Rust library is not."""
    return not isinstance(err, Exception) and type(err).__name__ != "PanicException"


def check_ids(tokenizer: tokenizers.Tokenizer) -> int:
    """The vocabulary's size: one more than its largest id.

    Raises:
        CheckpointError: two tokens share an id, or ids are so far apart that an embedding with
            a row for each would be mostly empty.
    """
    ids = tokenizer.get_vocab(True).values()
    if not ids:
        raise CheckpointError("tokenizer.json: the vocabulary is empty")
    size = max(ids) + 1
    if len(set(ids)) != len(ids):
        raise CheckpointError("tokenizer.json: two tokens have the same id")
    if size > 2 * len(ids) + 1000:
        raise CheckpointError(f"tokenizer.json: {len(ids):,} tokens with ids up to {size - 1:,}")
    return size
