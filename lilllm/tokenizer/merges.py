"""Merges of a byte-level BPE in the form that tiktoken wants, when its result is the same.

tiktoken merges any neighbours whose concatenation is a token; the `tokenizers` library only
those pairs that a merge names. For trained merges the two agree, and here that is checked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lilllm.tokenizer.pieces import byte_characters


@dataclass(frozen=True, slots=True)
class Merges:
    """Byte sequences by rank. ids: the token id of each rank. added: non-special added tokens."""

    ranks: dict[bytes, int]
    ids: list[int]
    added: tuple[str, ...]


def read_merges(model: Mapping[str, Any]) -> Merges | None:
    """The merges of a parsed tokenizer.json; None when they need the library.

    That is every tokenizer other than a plain byte-level BPE with GPT-2's split, and one whose
    merges could give other tokens in tiktoken.
    """
    bpe = model.get("model") or {}
    if not _is_plain(model, bpe):
        return None
    vocabulary: dict[str, int] = bpe["vocab"]
    characters = byte_characters()
    if not all(char in vocabulary for char in characters):
        return None
    pairs = [tuple(m.split(" ", 1)) if isinstance(m, str) else tuple(m) for m in bpe["merges"]]
    tokens = sorted(characters, key=vocabulary.__getitem__)
    rank_of = {token: rank for rank, token in enumerate(tokens)}
    parents: list[tuple[int, int]] = []
    for left, right in pairs:
        token = left + right
        if left not in rank_of or right not in rank_of or token in rank_of:
            return None
        if token not in vocabulary:
            return None
        rank_of[token] = len(tokens)
        parents.append((rank_of[left], rank_of[right]))
        tokens.append(token)
    if bpe.get("ignore_merges") and len(tokens) != len(vocabulary) - _special_in(model, vocabulary):
        return None
    if not _order_free(parents):
        return None
    ranks = {bytes(characters[c] for c in token): rank for token, rank in rank_of.items()}
    added = tuple(t["content"] for t in model.get("added_tokens") or () if not t["special"])
    return Merges(ranks, [vocabulary[token] for token in tokens], added)


def _is_plain(model: Mapping[str, Any], bpe: Mapping[str, Any]) -> bool:
    split = model.get("pre_tokenizer") or {}
    if split.get("type") == "Sequence" and len(split.get("pretokenizers") or ()) == 1:
        split = split["pretokenizers"][0]
    return (
        bpe.get("type") == "BPE"
        and not any(
            bpe.get(key)
            for key in (
                "dropout",
                "unk_token",
                "continuing_subword_prefix",
                "end_of_word_suffix",
                "byte_fallback",
            )
        )
        and model.get("normalizer") is None
        and split.get("type") == "ByteLevel"
        and split.get("add_prefix_space") is False
        and split.get("use_regex", True) is True
    )


def _special_in(model: Mapping[str, Any], vocabulary: Mapping[str, int]) -> int:
    return sum(t["content"] in vocabulary for t in model.get("added_tokens") or ())


def _order_free(parents: list[tuple[int, int]]) -> bool:
    """Whether every merged token is reached through its own merge, and so through no other.

    Take a merge (a, b). On the bytes of a and b alone, the earlier merges must arrive at exactly
    a and b: none may join a part at a's right edge with one at b's left edge. Then any two
    neighbours that spell a token are the pair that its merge names, and tiktoken's rule and the
    library's coincide.
    """
    rank_of_pair = {pair: 256 + index for index, pair in enumerate(parents)}
    for index, (left, right) in enumerate(parents):
        rank = 256 + index
        x, x_end = left, rank
        while True:  # x: right edge of `left`, a token of its own until merge x_end takes it
            y, y_end = right, rank
            while True:  # y: left edge of `right`
                crossing = rank_of_pair.get((x, y), rank)
                if max(_birth(x), _birth(y)) < crossing < x_end and crossing <= y_end:
                    if crossing < rank:
                        return False
                if y < 256:
                    break
                y, y_end = parents[y - 256][0], y
            if x < 256:
                break
            x, x_end = parents[x - 256][1], x
    return True


def _birth(rank: int) -> int:
    """The merge that makes a token; bytes are there from the beginning."""
    return rank if rank >= 256 else -1
