import functools
import itertools
import json
import pickle
import random
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiktoken
import tokenizers

from lilllm.tokenizer import Tokenizer, load_encoder, train_bpe
from lilllm.tokenizer.encoder import expressible_merges, merges_are_exact
from lilllm.tokenizer.foreign import import_tokenizer

# GPT-2's own regular expression, as published with tiktoken's r50k_base.
GPT2_SPLIT = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
SPACES = (
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f    \x85\xa0\u1680\u2003\u2028\u202f\u3000\u180e\u200b\ufeff"
)


def check(folder: Path, texts: list[str]) -> None:
    tokenizer = Tokenizer.load(folder)
    got = load_encoder(str(folder))(texts)
    expected = tokenizer.inner.encode_batch_fast(texts, add_special_tokens=False)
    for text, ids, encoding in zip(texts, got, expected, strict=True):
        assert ids.tolist() == encoding.ids, ascii(text[:200])


def is_fast(folder: Path) -> bool:
    return expressible_merges(json.loads((folder / "tokenizer.json").read_text())) is not None


def test_our_tokenizers_are_encoded_by_tiktoken(folder: Path) -> None:
    assert is_fast(folder)


def test_arrays_are_the_smallest_type_that_holds_every_id(folder: Path) -> None:
    (ids,) = load_encoder(str(folder))(["Once upon a time"])
    assert ids.dtype == np.uint16
    assert [a.size for a in load_encoder(str(folder))(["", "a"])] == [0, 1]


def test_a_partial_of_it_travels_to_other_processes(folder: Path) -> None:
    task = pickle.loads(pickle.dumps(functools.partial(load_encoder, str(folder))))
    assert task()(["park"])[0].tolist() == Tokenizer.load(folder).encode("park")


def test_random_bytes(folder: Path) -> None:
    draw = random.Random(1)
    check(folder, [draw.randbytes(400).decode(errors="replace") for _ in range(400)])


def test_random_mixtures_of_spaces_letters_digits_and_signs(folder: Path) -> None:
    draw = random.Random(2)
    alphabet = [*SPACES, *"abZ19!'stdmlvre", *"é²½Ⅷ٣漢🙂ªǅ", "\u0301", "<|endoftext|>", "'ll"]
    check(folder, ["".join(draw.choices(alphabet, k=draw.randint(1, 14))) for _ in range(20_000)])


def test_every_code_point_in_a_word_after_a_digit_and_after_a_space(folder: Path) -> None:
    codes = [c for c in range(sys.maxunicode + 1) if not 0xD800 <= c <= 0xDFFF]
    assigned = [chr(c) for c in codes if unicodedata.category(chr(c)) not in ("Cn", "Co")]
    others = [chr(c) for c in codes if unicodedata.category(chr(c)) in ("Cn", "Co")][::97]
    texts = [f"a{c}1{c} {c}" for c in [*assigned, *others]]
    check(folder, ["".join(texts[at : at + 64]) for at in range(0, len(texts), 64)])


def test_contractions_digits_newlines_and_emoji(folder: Path) -> None:
    check(
        folder,
        [
            "I'll we've they're he'd I'm don't 'tis o'clock 's'd''ll",
            "3.14 1,000,000 1999-2024 ½ x² Ⅷ ١٢٣",
            "a\n\n\nb\r\n\r\nc \n d\t\te   \n",
            "👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 ☺️ 👍🏽",
            " " * 5000 + "a" + "\u3000" * 300 + "b",
            "a" * 20_000,
        ],
    )


def test_what_makes_the_fast_regex_give_up(folder: Path) -> None:
    check(folder, [" " * 1_500_000 + "x"])


def test_real_text(folder: Path, shared: Callable[[str], Path], tmp_path: Path) -> None:
    documents = shared("tinystories/valid.txt").read_text(encoding="utf-8").split("<|endoftext|>")
    Tokenizer.trained(train_bpe(documents, 4096)).save(tmp_path)
    assert is_fast(tmp_path)
    check(tmp_path, documents)


def test_gpt2_equals_tiktoken_on_real_text(shared: Callable[[str], Path], tmp_path: Path) -> None:
    tokenizer = import_tokenizer([shared("gpt2_bpe")]).tokenizer
    tokenizer.save(tmp_path)
    assert is_fast(tmp_path)
    ranks = {tokenizer.token_bytes(id): id for id in range(50256)}
    gpt2 = tiktoken.Encoding(
        "gpt2", pat_str=GPT2_SPLIT, mergeable_ranks=ranks, special_tokens={"<|endoftext|>": 50256}
    )
    text = shared("tinyshakespeare/input.txt").read_text(encoding="utf-8")
    stories = shared("tinystories/valid.txt").read_text(encoding="utf-8")
    for got, source in zip(
        load_encoder(str(tmp_path))([text, stories]), [text, stories], strict=True
    ):
        assert got.tolist() == gpt2.encode_ordinary(source)


@pytest.mark.parametrize(
    ("merges", "exact"),
    [
        ([("a", "b"), ("ab", "c")], True),
        ([("b", "c"), ("a", "bc"), ("a", "b")], True),
        ([("a", "b"), ("b", "c"), ("a", "bc")], False),  # "abc" is ab, c; tiktoken would join them
        ([("a", "b"), ("ab", "c"), ("b", "c"), ("a", "bc")], False),  # two ways to one token
        ([("a", "a"), ("aa", "a")], True),
        ([("a", "a"), ("a", "aa")], False),
    ],
)
def test_only_merges_that_mean_the_same_in_tiktoken_are_given_to_it(
    merges: list[tuple[str, str]], exact: bool
) -> None:
    pairs = [(left.encode(), right.encode()) for left, right in merges]
    assert merges_are_exact(pairs) is exact


def test_merges_called_exact_are_exact_on_every_short_text() -> None:
    draw = random.Random(3)
    texts = [
        "".join(letters) for n in range(1, 8) for letters in itertools.product("abc", repeat=n)
    ]
    exact = 0
    for _ in range(60):
        tokens, merges = ["a", "b", "c"], list[tuple[str, str]]()
        while len(merges) < 7:
            left, right = draw.choice(tokens), draw.choice(tokens)
            if left + right not in tokens and len(left + right) < 7:
                merges.append((left, right))
                tokens.append(left + right)
        if not merges_are_exact([(left.encode(), right.encode()) for left, right in merges]):
            continue
        exact += 1
        ids = {token: id for id, token in enumerate(tokens)}
        library = tokenizers.Tokenizer(tokenizers.models.BPE(ids, merges))
        other = bytes(range(97)) + bytes(range(100, 256))
        ranks = {token.encode(): id for token, id in ids.items()}
        ranks |= {bytes([byte]): 100 + byte for byte in other}
        fast = tiktoken.Encoding("t", pat_str=".+", mergeable_ranks=ranks, special_tokens={})
        for text, encoding in zip(texts, library.encode_batch_fast(texts), strict=True):
            assert fast.encode_ordinary(text) == encoding.ids, (merges, text)
    assert exact > 10


@pytest.mark.parametrize(
    "change",
    [
        {
            "pre_tokenizer": {
                "type": "ByteLevel",
                "add_prefix_space": True,
                "trim_offsets": True,
                "use_regex": True,
            }
        },
        {
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [
                    {"type": "Digits", "individual_digits": True},
                    {
                        "type": "ByteLevel",
                        "add_prefix_space": False,
                        "trim_offsets": True,
                        "use_regex": True,
                    },
                ],
            }
        },
        {"normalizer": {"type": "Lowercase"}},
    ],
)
def test_what_tiktoken_cannot_express_is_encoded_by_the_tokenizer(
    folder: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    parsed = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    (tmp_path / "tokenizer.json").write_text(json.dumps({**parsed, **change}))
    assert not is_fast(tmp_path)
    check(tmp_path, ["Once Upon 1999 a time.", "Lily"])
