import json
from pathlib import Path

import pytest
import tokenizers

from lilllm.tokenizer import StreamDecoder, Tokenizer, train_bpe

TEXT = "👩‍👩‍👧‍👦 naïve 犬 🙂 end"


def stream(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    decoder = StreamDecoder(tokenizer)
    return [*(decoder.push(id) for id in ids), decoder.finish()]


def test_split_emoji_come_whole_and_nothing_is_lost() -> None:
    tokenizer = Tokenizer.trained(train_bpe(["plain English only, only English"], 300))
    pieces = stream(tokenizer, tokenizer.encode(TEXT))
    assert "".join(pieces) == TEXT
    assert not any("\ufffd" in piece for piece in pieces)
    assert "🙂" in pieces


def test_special_tokens_are_silent(tokenizer: Tokenizer) -> None:
    assert "".join(stream(tokenizer, [0, *tokenizer.encode("a"), 2])) == "a"


@pytest.mark.parametrize(
    "broken", [b"\xf0\x9f\x99", b"a\xffb", b"\xe2\x82a", b"\xf0\x9f\xf0\x9f\x99\x82", b"\xc3"]
)
def test_what_is_not_utf8_is_replaced_as_in_decode(tokenizer: Tokenizer, broken: bytes) -> None:
    id_of = {tokenizer.token_bytes(id): id for id in range(16, 272)}
    ids = [id_of[bytes([byte])] for byte in broken]
    assert "".join(stream(tokenizer, ids)) == tokenizer.decode(ids)


def test_an_id_without_a_token_is_nothing(tokenizer: Tokenizer) -> None:
    assert tokenizer.token_bytes(10_000) == b""
    assert "".join(stream(tokenizer, [10_000])) == ""


@pytest.fixture
def sentencepiece_like(tmp_path: Path) -> Tokenizer:
    """As Llama's: U+2581 for spaces, `<0x0A>` for the bytes of what it has no token for."""
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2}
    vocabulary |= {f"<0x{byte:02X}>": 3 + byte for byte in range(256)}
    for piece in ("\u2581", "a", "b", "ab", "\u2581a", "\u2581ab"):
        vocabulary[piece] = len(vocabulary)
    parsed = {
        "version": "1.0",
        "added_tokens": [
            {
                "id": id,
                "content": name,
                "special": True,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
            }
            for name, id in [("<unk>", 0), ("<s>", 1), ("</s>", 2)]
        ],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "\u2581"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
            ],
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "unk_token": "<unk>",
            "byte_fallback": True,
            "fuse_unk": True,
            "vocab": vocabulary,
            "merges": ["a b", "\u2581 a", "\u2581 ab"],
        },
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(parsed))
    tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    return Tokenizer.load(tmp_path)


def test_byte_fallback_tokens_are_bytes(sentencepiece_like: Tokenizer) -> None:
    ids = sentencepiece_like.encode("ab 🙂ab")
    assert sentencepiece_like.end_id == 2
    assert "".join(stream(sentencepiece_like, ids)) == " ab 🙂ab"  # its first space is a token's
    assert sentencepiece_like.decode(ids) == "ab 🙂ab"
    assert b"".join(map(sentencepiece_like.token_bytes, ids)) == " ab 🙂ab".encode()
