"""Byte-level BPE: the special tokens of our tokenizers, training, and how bytes are spelled.

Tokens are ids 0..15 special, 256 bytes, then merges in the order in which they were learned, so
any string has ids and no id is ever unknown. Folders and chat templates are `tokenizer.py`.
"""

from collections.abc import Iterable
from functools import cache

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

END_OF_TEXT = "<|endoftext|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
PADDING = "<|pad|>"

SPECIAL_TOKENS: tuple[str, ...] = (
    END_OF_TEXT,
    TURN_START,
    TURN_END,
    PADDING,
    *(f"<|reserved_{index}|>" for index in range(12)),
)
"""Ids 0..15 of every tokenizer trained here, in this order."""

SMALLEST_VOCABULARY = len(SPECIAL_TOKENS) + 256 + 1


def train_bpe(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Learn a byte-level BPE vocabulary with GPT-2's pre-tokenizer.

    The same texts in the same order give the same ids. Pairs seen only once are not merged, so
    a small corpus ends below `vocab_size`.

    Args:
        texts: documents, read once.
        vocab_size: tokens at most, special tokens and bytes included.

    Raises:
        ValueError: `vocab_size` leaves no room for a merge.

    Source: Sennrich et al. 2016, arXiv:1508.07909; on bytes: Radford et al. 2019 (GPT-2).
    """
    if vocab_size < SMALLEST_VOCABULARY:
        raise ValueError(f"vocab_size={vocab_size} is less than {SMALLEST_VOCABULARY}")
    tokenizer = byte_level(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END_OF_TEXT} $A",
        pair=f"{END_OF_TEXT} $A {END_OF_TEXT} $B:1",
        special_tokens=[(END_OF_TEXT, tokenizer.token_to_id(END_OF_TEXT))],
    )
    return tokenizer


def byte_level(model: models.Model) -> Tokenizer:
    """A tokenizer around `model` that splits as GPT-2 does and spells bytes as it does."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


@cache
def byte_of_character() -> dict[str, int]:
    """The byte that each character of a byte-level token stands for.

    Printable Latin-1 characters stand for themselves; the other 68 bytes, in order, are the
    characters from U+0100 on (a space is U+0120).
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {
        chr(0x100 + index): byte for index, byte in enumerate(others)
    }


def spelled_bytes(token: str) -> bytes | None:
    """The bytes that a byte-level token spells; None when it has a character outside the code."""
    table = byte_of_character()
    try:
        return bytes(table[character] for character in token)
    except KeyError:
        return None
