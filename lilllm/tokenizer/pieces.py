"""The bytes behind each token, and text out of tokens one at a time."""

import codecs
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lilllm.tokenizer.tokenizer import Tokenizer


def byte_characters() -> dict[str, int]:
    """GPT-2's printable stand-ins for the 256 bytes: character to byte.

    Printable Latin-1 stands for itself; the other bytes, in order, are U+0100 and up.

    Source: Radford et al. 2019, `encoder.py`.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (byte for byte in range(256) if byte not in printable)
    return {
        **{chr(byte): byte for byte in sorted(printable)},
        **{chr(0x100 + index): byte for index, byte in enumerate(others)},
    }


def token_table(model: Mapping[str, Any], vocabulary: Mapping[str, int]) -> dict[int, bytes]:
    """Bytes of every token of a parsed tokenizer.json, by id.

    Byte-level vocabularies spell bytes as characters; SentencePiece-like ones write a space as
    U+2581 and bytes without a token as `<0x0A>`.
    """
    added = {token["id"]: token["content"] for token in model.get("added_tokens") or ()}
    kinds = _component_types(model.get("decoder")) | _component_types(model.get("pre_tokenizer"))
    characters = byte_characters() if "ByteLevel" in kinds else {}
    table = {}
    for token, id in vocabulary.items():
        if id in added:
            table[id] = added[id].encode(errors="replace")
        elif characters and all(char in characters for char in token):
            table[id] = bytes(characters[char] for char in token)
        else:
            table[id] = _sentencepiece_bytes(token)
    return table


def _sentencepiece_bytes(token: str) -> bytes:
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        try:
            return bytes([int(token[3:5], 16)])
        except ValueError:
            pass
    return token.replace("\u2581", " ").encode(errors="replace")


def _component_types(component: Any) -> set[str]:
    """Types of a pre-tokenizer or decoder, those inside a Sequence included."""
    if not isinstance(component, dict):
        return set()
    parts = component.get("decoders") or component.get("pretokenizers") or ()
    return {str(component.get("type"))}.union(*(_component_types(part) for part in parts))


class StreamDecoder:
    """Turns token ids into text as they come, never cutting a character in two.

    Special tokens are left out. The pieces and `finish` joined are the decoded text, bytes that
    are no UTF-8 as U+FFFD.
    """

    def __init__(self, tokenizer: "Tokenizer") -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, id: int) -> str:
        """The characters that this token completes; often none, for a part of one."""
        if id in self._tokenizer.special_ids:
            return ""
        return self._decoder.decode(self._tokenizer.token_bytes(id))

    def finish(self) -> str:
        """What an unfinished character at the end becomes: U+FFFD, or nothing."""
        return self._decoder.decode(b"", final=True)
