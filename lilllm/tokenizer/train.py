"""Training a byte-level BPE tokenizer; what it is saved with is `tokenizer.py`."""

from collections.abc import Iterable

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors, trainers

from lilllm.tokenizer.special import END_OF_TEXT, SPECIAL_TOKENS

MIN_PAIR_COUNT = 2
"""Pairs seen less often are never merged."""


def train_bpe(texts: Iterable[str], vocab_size: int) -> tokenizers.Tokenizer:
    """Learn merges from texts: 16 special tokens, 256 bytes, then merges.

    The same texts in the same order give the same tokenizer. The split into words is GPT-2's,
    which every engine knows (llama.cpp calls it `gpt-2`); text is not normalised, so every
    Unicode string comes back as it was.

    Args:
        texts: documents; they are read once and not kept.
        vocab_size: tokens wanted; a small corpus gives fewer.

    Source: Sennrich et al. 2016, arXiv:1508.07909; on bytes: Radford et al. 2019, section 2.2.
    """
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=MIN_PAIR_COUNT,
        special_tokens=[
            AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS
        ],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END_OF_TEXT} $A",
        pair=f"{END_OF_TEXT} $A $B:1",
        special_tokens=[(END_OF_TEXT, tokenizer.token_to_id(END_OF_TEXT))],
    )
    return tokenizer
