"""SentencePiece tokenizers (`tokenizer.ggml.model` is `llama`) read out of GGUF fields.

They are read only. llama.cpp joins the two neighbours whose joint token has the best score, until
none is left; here that is a list of merges, best score first.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from tokenizers import Tokenizer as Library
from tokenizers import decoders, models, normalizers

SPACE = "\u2581"
Numbers = np.ndarray[Any, np.dtype[Any]]


def sentencepiece(
    texts: Sequence[str],
    scores: Numbers,
    ordinary: Sequence[int],
    vocabulary: dict[str, int],
    *,
    unknown: str | None,
    prefix: bool,
) -> Library:
    """A tokenizer of the `tokenizers` library with the ids of llama.cpp's.

    Args:
        texts: of all tokens, by id.
        scores: one per token; the higher, the earlier it is made.
        ordinary: ids of the tokens that text can become by joining.
        vocabulary: ids by text.
        unknown: the token for what has no other.
        prefix: a space is put before a text.
    """
    merges = [
        (texts[id][:cut], texts[id][cut:])
        for id in sorted(ordinary, key=lambda id: -float(scores[id]))
        for cut in range(1, len(texts[id]))
        if texts[id][:cut] in vocabulary and texts[id][cut:] in vocabulary
    ]
    library = Library(
        models.BPE(vocabulary, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True)
    )
    spaces = normalizers.Replace(" ", SPACE)
    library.normalizer = (
        normalizers.Sequence([normalizers.Prepend(SPACE), spaces]) if prefix else spaces
    )
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    library.decoder = decoders.Sequence(steps + ([decoders.Strip(" ", 1, 0)] if prefix else []))
    return library
