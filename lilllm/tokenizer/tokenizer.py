"""A tokenizer folder: text to ids and back, special ids, saving and loading.

Reads our own folders and any Hugging Face one with a `tokenizer.json`. How a conversation becomes
ids and a loss mask is `chat.py`; making a folder from other files is `foreign.py`.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
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
    TURN_END,
    spelled_bytes,
)
from lilllm.tokenizer.parse import check_ids, parse_tokenizer
from lilllm.tokenizer.template import Message

TOKENIZER = "tokenizer.json"
SETTINGS = "tokenizer_config.json"
TEMPLATE = "chat_template.jinja"
TOKENS = "special_tokens_map.json"
GENERATION = "generation_config.json"

END_NAMES = (END_OF_TEXT, "<|end_of_text|>", "</s>", "<eos>", "<|eos|>", "[EOS]", TURN_END)
"""What an end-of-text token is called where no settings name it, likeliest first."""

TURN_END_NAMES = (TURN_END, "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>", "<|eot|>")
"""Special tokens that end a turn, where no chat template shows it."""

OTHER_SURROGATES = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # than of `surrogateescape`

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
        self,
        text: str,
        settings: Mapping[str, Any] | None = None,
        chat_template: str | None = None,
        stop_ids: Iterable[int] = (),
    ) -> None:
        """Build from the contents of the files.

        Args:
            text: of `tokenizer.json`.
            settings: of `tokenizer_config.json`.
            chat_template: of `chat_template.jinja`.
            stop_ids: more ids that end a generated text.

        Raises:
            CheckpointError: a file is damaged, or no token ends a text.
        """
        self.text = text
        self.settings = dict(settings or {})
        self.chat_template = chat_template
        self._guarded: tuple[tuple[str, ...], tokenizers.Tokenizer, dict[int, int]] | None = None
        self.inner = parse_tokenizer(text)
        self.inner.encode_special_tokens = True  # special tokens in a text are plain text
        self.vocab_size = check_ids(self.inner)
        self._special = {
            token.content: id
            for id, token in self.inner.get_added_tokens_decoder().items()
            if token.special and token.content
        }
        self.special_names = tuple(self._special)
        self.special_ids = frozenset(self._special.values())
        self.bos_id = self._named_id("bos_token")
        eos_id = self._named_id("eos_token")
        self.end_id = self._find_end(eos_id)
        pad_id = self._named_id("pad_token")
        self.pad_id = self.end_id if pad_id is None else pad_id
        turn_ends = {*TURN_END_NAMES, chat.turn_end(self)}
        ends = {id for name, id in self._special.items() if name in turn_ends}
        ends |= {self.end_id, self.end_id if eos_id is None else eos_id}
        self.stop_ids = frozenset(ends | {id for id in stop_ids if 0 <= id < self.vocab_size})

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
        text = read_text(folder / TOKENIZER)
        settings = read_settings(folder)
        chat_template = read_chat_template(folder, settings)
        try:
            return cls(text, settings, chat_template, _generation_stops(folder / GENERATION))
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
    def with_specials(self) -> tokenizers.Tokenizer:
        """The tokenizer that finds special tokens in a text; only templates may write them."""
        return parse_tokenizer(self.text)

    def guarded(self, spelling: tuple[str, ...]) -> tuple[tokenizers.Tokenizer, dict[int, int]]:
        """A tokenizer that finds special tokens only in another spelling.

        Args:
            spelling: of each of `special_names`.

        Returns:
            the tokenizer, and its ids for the other spelling mapped to the real ids.
        """
        if self._guarded is not None and self._guarded[0] == spelling:
            return self._guarded[1], self._guarded[2]
        inner = parse_tokenizer(self.text)
        inner.encode_special_tokens = True
        known = inner.get_added_tokens_decoder()
        real: dict[int, int] = {}
        for name, id in zip(spelling, self._special.values(), strict=True):
            flags = {flag: getattr(known[id], flag) for flag in ("lstrip", "rstrip", "single_word")}
            inner.add_tokens([tokenizers.AddedToken(name, normalized=False, **flags)])
            added = inner.token_to_id(name)
            assert added is not None
            real[added] = id
        self._guarded = (spelling, inner, real)
        return inner, real

    @cached_property
    def _template_names(self) -> dict[str, str]:
        """`bos_token` and its like, as templates call them."""
        named = {key: token_name(value) for key, value in self.settings.items()}
        return {key: name for key, name in named.items() if key.endswith("_token") and name}

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
        return whole(
            template.render(
                self.chat_template, messages, self._template_names, add_generation_prompt
            )
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
        name = token_name(self.settings.get(key))
        return None if name is None else self.inner.token_to_id(name)

    def _find_end(self, eos_id: int | None) -> int:
        """Chat models often name the end of a turn as eos; a document ends with another token."""
        if END_OF_TEXT in self._special:
            return self._special[END_OF_TEXT]
        known = [self._special[name] for name in END_NAMES if name in self._special]
        for id in (eos_id, *known):
            if id is not None:
                return id
        raise CheckpointError(
            f"{SETTINGS} names no eos_token, and none of {', '.join(END_NAMES)} is a special "
            f"token of {TOKENIZER}",
            "`lilllm tokenizer import` adds what is missing",
        )


def whole(text: str) -> str:
    """A string that is Unicode text: lone surrogates become U+FFFD, pairs what they spell.

    Bytes of a command line or a terminal that Python could not read (`surrogateescape`) are read
    as UTF-8, as far as they are.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        paired = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        escaped = OTHER_SURROGATES.sub("\ufffd", paired)
        return escaped.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return text


def token_name(value: Any) -> str | None:
    """A special token in settings is a string, or a mapping that describes one."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) and value else None


def _generation_stops(path: Path) -> list[int]:
    """The `eos_token_id` of a model folder's generation settings: one id, or several."""
    if not path.is_file():
        return []
    generation = read_json(path, CheckpointError)
    ids = generation.get("eos_token_id") if isinstance(generation, dict) else None
    return [id for id in (ids if isinstance(ids, list) else [ids]) if type(id) is int]


def read_settings(folder: Path) -> dict[str, Any]:
    """`tokenizer_config.json`, with the tokens that older folders name in a file of their own."""
    settings: dict[str, Any] = {}
    for name in (TOKENS, SETTINGS):
        if (folder / name).is_file():
            try:
                more = read_json(folder / name, CheckpointError)
            except RecursionError as err:
                raise CheckpointError(f"{folder / name}: nested too deeply") from err
            if not isinstance(more, dict):
                raise CheckpointError(f"{folder / name}: not a mapping of settings")
            settings |= {key: value for key, value in more.items() if value is not None}
    return settings


def read_chat_template(folder: Path, settings: Mapping[str, Any]) -> str | None:
    """The default chat template: a file of its own, or a setting (one, or a list of named ones)."""
    if (folder / TEMPLATE).is_file():
        return read_text(folder / TEMPLATE)
    template = settings.get("chat_template")
    if isinstance(template, list):
        named = [item for item in template if isinstance(item, dict)]
        template = next((i.get("template") for i in named if i.get("name") == "default"), None)
    return template if isinstance(template, str) else None


def read_text(path: Path) -> str:
    """A file of a tokenizer folder, its line ends as they are."""
    try:
        return path.read_bytes().decode("utf-8")
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
