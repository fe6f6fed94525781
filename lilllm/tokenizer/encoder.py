"""Fast encoding of many documents: tiktoken fed with the merges of a `tokenizer.json`.

Ids are those of `Tokenizer.encode`, always: before tiktoken is used it is shown that it merges
as the tokenizer does, and a text with a character that the two split differently (their Unicode
tables are of different years) goes to the tokenizer itself. So does everything when tiktoken
cannot express the tokenizer. Why this way: docs/decisions/0001-tiktoken-for-encoding.md.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import tiktoken

from lilllm.tokenizer.bpe import byte_of_character, spelled_bytes
from lilllm.tokenizer.parse import is_interrupt
from lilllm.tokenizer.tokenizer import Tokenizer, whole

Ids = np.ndarray[tuple[int], np.dtype[np.unsignedinteger[Any]]]
Encoder = Callable[[list[str]], list[Ids]]
Pair = tuple[bytes, bytes]

PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+"
r"""GPT-2's split (Radford et al. 2019) without its lookahead, which costs half of the time.

All that `\s+(?!\S)` does is to leave the last space of a run to the word behind it; a cut, put
there beforehand, does the same.
"""

BATCH_CHARACTERS = 1 << 20
"""Texts are joined up to this length for one call of tiktoken."""

END, CUT = "\x00", "\x01"  # between joined texts, and before a last space; never inside a text
SPACES = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
LAST_SPACE = re.compile(f"(?<=[{SPACES}])(?=[{SPACES}][^{SPACES}{END}])")
WIDE_SPACES = frozenset("\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000") | frozenset(
    map(chr, range(0x2000, 0x200B))
)
IS_SPACE = np.isin(np.arange(256), list(b"\t\n\v\f\r "))
IS_WORD = ~IS_SPACE & (np.arange(256) != ord(END))


def load_encoder(folder: str) -> Encoder:
    """A function from texts to arrays of ids, without BOS, special tokens as plain text.

    Args:
        folder: of a tokenizer; a string, so that a task for another process can carry it.

    Returns:
        a function whose arrays are uint16, or uint32 when the vocabulary needs it.

    Raises:
        CheckpointError: as `Tokenizer.load`.
    """
    tokenizer = Tokenizer.load(Path(folder))
    dtype = id_dtype(tokenizer.vocab_size)
    merges = expressible_merges(json.loads(tokenizer.text))
    if merges is None:
        return lambda texts: encode_exactly(tokenizer, texts, dtype)
    return _Fast(tokenizer, merges, dtype)


def id_dtype(vocab_size: int) -> np.dtype[np.unsignedinteger[Any]]:
    """The smallest of uint16 and uint32 that holds every id."""
    return np.dtype(np.uint16 if vocab_size <= 2**16 else np.uint32)


def encode_exactly(tokenizer: Tokenizer, texts: Sequence[str], dtype: np.dtype[Any]) -> list[Ids]:
    """The ids of texts by the tokenizer itself."""
    encodings = tokenizer.inner.encode_batch_fast(
        [whole(text) for text in texts], add_special_tokens=False
    )
    return [np.array(encoding.ids, dtype=dtype) for encoding in encodings]


class _Fast:
    """Encodes with tiktoken, texts that it would split differently with the tokenizer."""

    def __init__(self, tokenizer: Tokenizer, merges: list[Pair], dtype: np.dtype[Any]) -> None:
        self._tokenizer = tokenizer
        self._dtype = dtype
        self._same_split = SameSplit(tokenizer.inner.pre_tokenizer)
        vocab = tokenizer.inner.get_vocab(False)
        order = [bytes([byte]) for byte in range(256)] + [left + right for left, right in merges]
        ids = {spelled: id for token, id in vocab.items() if (spelled := spelled_bytes(token))}
        self._end, self._cut = len(order), len(order) + 1
        self._id_of_rank = np.array([*(ids[token] for token in order), 0, 0], dtype=dtype)
        self._tiktoken = tiktoken.Encoding(
            "lilllm",
            pat_str=PATTERN,
            mergeable_ranks={token: rank for rank, token in enumerate(order)},
            special_tokens={END: self._end, CUT: self._cut},
        )

    def __call__(self, texts: list[str]) -> list[Ids]:
        results: list[Ids] = []
        start = size = 0
        for index, text in enumerate(texts):
            if index > start and size + len(text) > BATCH_CHARACTERS:
                results += self._encode(texts[start:index])
                start, size = index, 0
            size += len(text)
        return results + self._encode(texts[start:]) if texts else results

    def _encode(self, texts: Sequence[str]) -> list[Ids]:
        joined = END.join(texts)
        characters = frozenset() if joined.isascii() else frozenset(joined)
        fit = CUT not in joined and joined.count(END) == len(texts) - 1
        if fit and self._same_split(characters):
            try:
                return self._encode_joined(joined, not WIDE_SPACES.isdisjoint(characters))
            except BaseException as err:  # a panic of its regex
                if is_interrupt(err):
                    raise
                return encode_exactly(self._tokenizer, texts, self._dtype)
        if len(texts) == 1:
            return encode_exactly(self._tokenizer, texts, self._dtype)
        half = len(texts) // 2
        return self._encode(texts[:half]) + self._encode(texts[half:])

    def _encode_joined(self, joined: str, wide_spaces: bool) -> list[Ids]:
        cut = cut_before_last_spaces(joined, wide_spaces)
        ranks = self._tiktoken.encode_to_numpy(cut, allowed_special="all")
        if len(cut) != len(joined):
            ranks = ranks[ranks != self._cut]
        ids = self._id_of_rank[ranks]
        ends = np.flatnonzero(ranks == self._end).tolist()
        starts = [0, *(end + 1 for end in ends)]
        return [ids[start:end] for start, end in zip(starts, [*ends, len(ids)], strict=True)]


def cut_before_last_spaces(text: str, wide_spaces: bool) -> str:
    """Put a cut before the last space of every run of two or more that a word follows.

    Args:
        text: to be split into words.
        wide_spaces: it holds white space beyond ASCII, which takes a slower way.
    """
    if wide_spaces:
        return LAST_SPACE.sub(CUT, text)
    data = np.frombuffer(text.encode(), dtype=np.uint8)
    space = IS_SPACE[data]
    before = space[:-2] & space[1:-1] & IS_WORD[data[2:]]
    return np.insert(data, np.flatnonzero(before) + 1, ord(CUT)).tobytes().decode()


class SameSplit:
    """Whether two regex engines see the same classes (letter, number, space) in a text.

    A character is asked about once: beside a letter, a number and a sign, is it one piece with
    its neighbour? tiktoken is asked through a vocabulary that merges just that pair.
    """

    def __init__(self, pre_tokenizer: Any) -> None:
        self._pre_tokenizer = pre_tokenizer
        self._same: set[str] = {chr(code) for code in range(128)}
        self._different: set[str] = set()
        tokens = [bytes([byte]) for byte in range(256)]
        tokens += [
            before + bytes([lead]) for before in (b"a", b"1", b"!") for lead in range(128, 256)
        ]
        self._probe = tiktoken.Encoding(
            "probe",
            pat_str=PATTERN,
            mergeable_ranks={token: rank for rank, token in enumerate(tokens)},
            special_tokens={},
        )

    def __call__(self, text: Iterable[str]) -> bool:
        """True when both engines split a text of these characters the same way."""
        unknown = frozenset(text) - self._same
        for character in unknown - self._different:
            known = self._same if self._is_same(character) else self._different
            known.add(character)
        return self._different.isdisjoint(unknown)

    def _is_same(self, character: str) -> bool:
        if "\ud800" <= character <= "\udfff":
            return False
        for before in "a1!":
            pair = before + character
            joined = self._probe.encode_ordinary(pair)[0] >= 256
            if joined != (len(self._pre_tokenizer.pre_tokenize_str(pair)) == 1):
                return False
        return True


def expressible_merges(parsed: dict[str, Any]) -> list[Pair] | None:
    """The merges of a tokenizer that tiktoken can be, in bytes; None for any other.

    Args:
        parsed: the JSON of a `tokenizer.json`.
    """
    model, split = parsed["model"], parsed.get("pre_tokenizer") or {}
    plain = (
        model.get("type", "BPE") == "BPE"
        and not any(
            model.get(key) for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix")
        )
        and not parsed.get("normalizer")
        and split.get("type") == "ByteLevel"
        and not split.get("add_prefix_space")
        and split.get("use_regex", True)
        and all(token.get("special") for token in parsed.get("added_tokens") or [])
        and byte_of_character().keys() <= model["vocab"].keys()
    )
    if not plain:
        return None
    spelled = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
    merges: list[Pair] = []
    for left, right in spelled:
        pair = spelled_bytes(left), spelled_bytes(right)
        if pair[0] is None or pair[1] is None:
            return None
        merges.append((pair[0], pair[1]))
    if model.get("ignore_merges") and len(merges) + 256 != len(model["vocab"]):
        return None
    return merges if merges_are_exact(merges) else None


def merges_are_exact(merges: list[Pair]) -> bool:
    """Whether merging by rank of the result equals merging by the list of pairs, for any text.

    tiktoken merges any two neighbours whose concatenation is a token, a tokenizer only the pairs
    in its list. Merges inside the bytes of a token happen in the same order wherever they stand,
    as long as none crosses its border. So if each token, alone, ends by joining exactly its pair
    of the list, then no other pair is ever joined anywhere.
    """
    rank = {left + right: index for index, (left, right) in enumerate(merges)}
    if len(rank) != len(merges):
        return False
    return all(_last_pair(left + right, rank) == (left, right) for left, right in merges)


def _last_pair(token: bytes, rank: dict[bytes, int]) -> Pair | None:
    parts = [token[index : index + 1] for index in range(len(token))]
    unmergeable = len(rank)
    while len(parts) > 2:
        ranks = [rank.get(left + right, unmergeable) for left, right in pairwise(parts)]
        lowest = min(ranks)
        if lowest == unmergeable:
            return None
        at = ranks.index(lowest)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return (parts[0], parts[1]) if len(parts) == 2 else None
