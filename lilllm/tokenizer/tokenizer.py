"""A tokenizer folder: text to ids and back, special ids, saving and loading.

Reads our own folders and any Hugging Face one with a `tokenizer.json`. How a conversation becomes
ids and a loss mask is `chat.py`; making a folder from other files is `foreign.py`.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers

from lilllm.errors import CheckpointError
from lilllm.files import read_json, sha256_json, write_atomic, write_json
from lilllm.tokenizer import chat, template
from lilllm.tokenizer.bpe import (
    END_OF_TEXT,
    PADDING,
    SPECIAL_TOKENS,
    TURN_END,
    spelled_bytes,
)
from lilllm.tokenizer.parse import check_ids, parse_tokenizer
from lilllm.tokenizer.template import Message

TOKENIZER = "tokenizer.json"
SETTINGS = "tokenizer_config.json"
TEMPLATE = "chat_template.jinja"

END_NAMES = (END_OF_TEXT, "<|end_of_text|>", "</s>", "<eos>", "<|eos|>", "[EOS]", "<|im_end|>")
"""What an end-of-text token is called where no settings name it, likeliest first."""

OUR_SETTINGS: dict[str, Any] = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": END_OF_TEXT,
    "eos_token": END_OF_TEXT,
    "pad_token": PADDING,
    "clean_up_tokenization_spaces": False,
    "model_max_length": 1_000_000,
}


class Tokenizer:
    """A loaded tokenizer.

    Attributes:
        vocab_size: one more than the largest id.
        special_ids: every special token.
        bos_id: what begins a text, where the tokenizer has such a token.
        end_id: what ends a document.
        pad_id: what fills a batch; its loss is never counted.
        stop_ids: what ends a generated text: end of text and end of turn.
        chat_template: Jinja source, where there is one.
    """

    def __init__(
        self, text: str, settings: dict[str, Any] | None = None, chat_template: str | None = None
    ) -> None:
        """Build from the contents of the three files.

        Args:
            text: of `tokenizer.json`.
            settings: of `tokenizer_config.json`.
            chat_template: of `chat_template.jinja`.

        Raises:
            CheckpointError: a file is damaged, or no token ends a text.
        """
        self.text = text
        self.settings = dict(settings or {})
        self.chat_template = chat_template
        self.inner = parse_tokenizer(text)
        self.inner.encode_special_tokens = True  # special tokens in a text are plain text
        self.vocab_size = check_ids(self.inner)
        self.special_ids = frozenset(
            id for id, token in self.inner.get_added_tokens_decoder().items() if token.special
        )
        self.bos_id = self._named_id("bos_token")
        eos_id = self._named_id("eos_token")
        known = [id for name in END_NAMES if (id := self._special_id(name)) is not None]
        end_id = self._special_id(END_OF_TEXT)
        end_id = eos_id if end_id is None else end_id
        end_id = known[0] if end_id is None and known else end_id
        if end_id is None:
            raise CheckpointError(
                f"{SETTINGS} names no eos_token, and none of {', '.join(END_NAMES)} is a "
                f"special token of {TOKENIZER}",
                "`lilllm tokenizer import` adds what is missing",
            )
        self.end_id: int = end_id
        pad_id = self._named_id("pad_token")
        self.pad_id: int = end_id if pad_id is None else pad_id
        ends = {end_id, eos_id, self._special_id(TURN_END), chat.turn_end_id(self)}
        self.stop_ids = frozenset(id for id in ends if id is not None)

    @classmethod
    def trained(cls, inner: tokenizers.Tokenizer) -> "Tokenizer":
        """A tokenizer that `train_bpe` made, with our special tokens and ChatML."""
        return cls(inner.to_str(pretty=True), OUR_SETTINGS, template.chatml())

    @classmethod
    def load(cls, folder: Path) -> "Tokenizer":
        """Read a tokenizer folder, or the tokenizer in a model folder.

        Raises:
            CheckpointError: names the file that is missing or damaged.
        """
        folder = Path(folder)
        if not (folder / TOKENIZER).is_file():
            raise CheckpointError(
                f"{folder / TOKENIZER}: no such file",
                "`lilllm tokenizer train` makes one, `lilllm tokenizer import` converts one",
            )
        text = _read_text(folder / TOKENIZER)
        settings: Any = {}
        if (folder / SETTINGS).is_file():
            settings = read_json(folder / SETTINGS, CheckpointError)
        if not isinstance(settings, dict):
            raise CheckpointError(f"{folder / SETTINGS}: not a mapping of settings")
        chat_template = _default_template(settings.get("chat_template"))
        if (folder / TEMPLATE).is_file():
            chat_template = _read_text(folder / TEMPLATE)
        try:
            return cls(text, settings, chat_template)
        except CheckpointError as err:
            raise CheckpointError(f"{folder}: {err.message}", err.hint) from err

    def save(self, folder: Path) -> None:
        """Write the files of this tokenizer into an existing folder.

        Raises:
            RunError: the disk is full or the folder cannot be written.
        """
        settings = {key: value for key, value in self.settings.items() if key != "chat_template"}
        write_atomic(folder / TOKENIZER, self.text)
        write_json(folder / SETTINGS, settings)
        if self.chat_template is not None:
            write_atomic(folder / TEMPLATE, self.chat_template)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of `tokenizer.json`, independent of its whitespace and key order."""
        return sha256_json(json.loads(self.text))

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without BOS; special tokens in it are plain text."""
        return list(self.inner.encode(whole(text), add_special_tokens=False).ids)

    def encode_prompt(self, text: str) -> list[int]:
        """Ids of the beginning of a document: BOS first, where the tokenizer adds it."""
        return list(self.inner.encode(whole(text), add_special_tokens=True).ids)

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        """The text of ids; bytes that are not UTF-8 become U+FFFD."""
        return str(self.inner.decode(list(ids), skip_special_tokens=skip_special))

    def token_bytes(self, id: int) -> bytes:
        """The bytes that a token stands for; none for an id without a token."""
        return self._bytes.get(id, b"")

    @cached_property
    def _bytes(self) -> dict[int, bytes]:
        added = self.inner.get_added_tokens_decoder()
        decoder = json.dumps(json.loads(self.text).get("decoder"))
        spell = _byte_level if '"ByteLevel"' in decoder else _sentencepiece
        return {
            id: token.encode() if id in added else spell(token)
            for token, id in self.inner.get_vocab(True).items()
        }

    @cached_property
    def special_names(self) -> dict[str, str]:
        """`bos_token` and its like, as templates call them."""
        named = {key: _content(value) for key, value in self.settings.items()}
        return {
            key: token
            for key, token in named.items()
            if key.endswith("_token") and token is not None
        }

    def render_chat(self, messages: Sequence[Message], add_generation_prompt: bool = False) -> str:
        """The text of a conversation, as transformers' `apply_chat_template` renders it.

        Raises:
            CheckpointError: there is no chat template, or it is broken or hostile.
            DataError: the template does not accept these messages.
        """
        if self.chat_template is None:
            raise CheckpointError(
                f"this tokenizer has no {TEMPLATE}",
                "take a chat model, or add one with `lilllm tokenizer import`",
            )
        return template.render(
            self.chat_template, messages, self.special_names, add_generation_prompt
        )

    def encode_chat(
        self, messages: Sequence[Message], add_generation_prompt: bool = False
    ) -> list[int]:
        """Ids of a conversation; special tokens typed inside a message are plain text.

        Raises: as `render_chat`.
        """
        return chat.encode_chat(self, messages, add_generation_prompt)

    def encode_conversation(self, messages: Sequence[Message]) -> tuple[list[int], list[int]]:
        """Ids of a conversation, and 1 for each that the assistant has to learn.

        Targets are what assistants say and the token that ends their turn.

        Raises: as `render_chat`, and DataError when the assistants' words cannot be found in
            what the template makes of them.
        """
        return chat.encode_conversation(self, messages)

    def _named_id(self, key: str) -> int | None:
        name = _content(self.settings.get(key))
        return None if name is None else self.inner.token_to_id(name)

    def _special_id(self, name: str) -> int | None:
        id = self.inner.token_to_id(name)
        return id if id in self.special_ids else None


def whole(text: str) -> str:
    """A string that is Unicode text: lone surrogates become U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def missing_chat_tokens(tokenizer: tokenizers.Tokenizer) -> list[str]:
    """Those of our first four special tokens that a tokenizer lacks."""
    return [name for name in SPECIAL_TOKENS[:4] if tokenizer.token_to_id(name) is None]


def _content(value: Any) -> str | None:
    """A special token in settings is a string, or a mapping that describes one."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) and value else None


def _default_template(value: Any) -> str | None:
    """Settings hold one template, or a list of named ones."""
    if isinstance(value, list):
        named = [item for item in value if isinstance(item, dict)]
        value = next((i.get("template") for i in named if i.get("name") == "default"), None)
    return value if isinstance(value, str) else None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as err:
        raise CheckpointError(f"{path}: cannot be read ({err.strerror})") from err
    except UnicodeDecodeError as err:
        raise CheckpointError(f"{path}: not UTF-8 text") from err


def _byte_level(token: str) -> bytes:
    spelled = spelled_bytes(token)
    return token.encode() if spelled is None else spelled


def _sentencepiece(token: str) -> bytes:
    """A token of a tokenizer with `<0x0A>` for bytes and U+2581 for spaces."""
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        try:
            return bytes([int(token[3:5], 16)])
        except ValueError:
            pass
    return token.replace("\u2581", " ").encode()
