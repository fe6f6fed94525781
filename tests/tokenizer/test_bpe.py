import json
import random
import sys
from pathlib import Path

import pytest
import tokenizers

from lilllm.tokenizer import SPECIAL_TOKENS, Tokenizer, train_bpe, whole

GOLDEN = {
    "Once upon a time": [412, 377, 303, 431],
    "The little dog didn't say 250.\n\n": [330, 314, 313, 318, 293, 305, 334, 409, 29, 214, 214],
    "🙂 naïve 犬": [366, 387, 304, 80, 143, 123, 101, 84, 236, 179, 248, 121],
}


def test_special_tokens_then_bytes_then_merges(trained: tokenizers.Tokenizer) -> None:
    assert SPECIAL_TOKENS[:4] == ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>")
    assert len(SPECIAL_TOKENS) == 16
    assert [trained.id_to_token(id) for id in range(16)] == list(SPECIAL_TOKENS)
    tokenizer = Tokenizer.trained(trained)
    assert {tokenizer.token_bytes(id) for id in range(16, 272)} == {bytes([b]) for b in range(256)}
    assert all(len(tokenizer.token_bytes(id)) > 1 for id in range(272, tokenizer.vocab_size))


def test_training_again_gives_the_same_file(
    trained: tokenizers.Tokenizer, corpus: list[str]
) -> None:
    assert train_bpe(iter(corpus), 512).to_str() == trained.to_str()


@pytest.mark.parametrize("text", GOLDEN)
def test_golden_ids_of_a_tiny_training(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.encode(text) == GOLDEN[text]


def test_every_code_point_comes_back(tokenizer: Tokenizer) -> None:
    codes = [c for c in range(sys.maxunicode + 1) if not 0xD800 <= c <= 0xDFFF]
    for at in range(0, len(codes), 4096):
        text = "".join(map(chr, codes[at : at + 4096]))
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_random_strings_come_back(tokenizer: Tokenizer) -> None:
    draw = random.Random(0)
    for _ in range(300):
        codes = [draw.randrange(0xD800 + 0x2000) for _ in range(draw.randint(0, 60))]
        text = "".join(chr(c if c < 0xD800 else c + 0x800) for c in codes)
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_lone_surrogates_become_replacement_characters(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode("a\ud800b")) == "a\ufffdb"


def test_every_string_becomes_text() -> None:
    assert whole("naïve \ud83d\ude42\ud83d") == "naïve 🙂\ufffd"
    assert whole(b"caf\xe9".decode("utf-8", "surrogateescape")) == "caf\ufffd"
    assert whole("🙂é".encode().decode("ascii", "surrogateescape")) == "🙂é"
    for surrogate in range(0xD800, 0xE000):
        assert whole(f"a{chr(surrogate)}b") == "a\ufffdb"


def test_special_tokens_in_a_text_are_plain_text(tokenizer: Tokenizer) -> None:
    text = "a<|endoftext|>b<|im_end|>"
    ids = tokenizer.encode(text)
    assert not set(ids) & set(range(16))
    assert tokenizer.decode(ids) == text
    assert tokenizer.encode_prompt(text) == [0, *ids]


def test_a_corpus_that_cannot_fill_the_vocabulary_gives_fewer_tokens() -> None:
    size = Tokenizer.trained(train_bpe(["to be or not to be"], 8192)).vocab_size
    assert 272 < size < 300


def test_a_vocabulary_without_room_for_a_merge_is_refused(corpus: list[str]) -> None:
    with pytest.raises(ValueError, match="272"):
        train_bpe(corpus, 272)


def test_saved_and_loaded_is_the_same(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again.hash == tokenizer.hash
    assert (again.bos_id, again.end_id, again.pad_id, again.stop_ids) == (0, 0, 3, {0, 2})
    assert again.chat_template == tokenizer.chat_template
    assert again.vocab_size == tokenizer.vocab_size <= 512


def test_the_hash_knows_neither_whitespace_nor_the_other_files(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    text = json.dumps(dict(reversed(json.loads(tokenizer.text).items())))
    assert Tokenizer(text, {"eos_token": "<|im_end|>"}).hash == tokenizer.hash
    assert Tokenizer(text.replace("reserved_7", "reserved_x")).hash != tokenizer.hash
