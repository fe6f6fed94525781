"""Reading a tokenizer folder, ours or a foreign one, that may be damaged or hostile.

Everything here turns a file into checked values or a `CheckpointError` that names the file;
what the values mean is `tokenizer.py`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers

from lilllm.errors import CheckpointError
from lilllm.files import read_json
from lilllm.tokenizer.special import END_OF_TEXT_NAMES, END_OF_TURN_NAMES

MAX_VOCABULARY = 16_000_000
"""A larger token id is taken for damage: an embedding of that height fits nowhere."""

_HINT = "train one with `lilllm tokenizer train`, or import one with `lilllm tokenizer import`"


@dataclass(frozen=True, slots=True)
class TokenizerFiles:
    """The checked content of a tokenizer folder.

    model: the parsed tokenizer.json. options: tokenizer_config.json without the template.
    special: role (`bos_token`, `eos_token`, ...) to token. stop_ids: ids that the folder's
    generation config ends a text with.
    """

    model: dict[str, Any]
    options: dict[str, Any]
    special: dict[str, str]
    chat_template: str | None
    stop_ids: frozenset[int]


def read_folder(folder: Path) -> TokenizerFiles:
    """Read what is there of a tokenizer folder; only tokenizer.json must be.

    Raises:
        CheckpointError: the folder or tokenizer.json is missing, or a file is damaged.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such tokenizer folder", _HINT)
    path = folder / "tokenizer.json"
    if not path.is_file():
        found = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "nothing"
        raise CheckpointError(f"{folder}: no tokenizer.json (it holds {found})", _HINT)
    model = read_mapping(path)
    options = _optional_mapping(folder / "tokenizer_config.json")
    special = {
        **_named_tokens(_optional_mapping(folder / "special_tokens_map.json")),
        **_named_tokens(options),
    }
    template = read_chat_template(folder, options)
    options = {key: value for key, value in options.items() if key != "chat_template"}
    stop_ids = _stop_ids(_optional_mapping(folder / "generation_config.json"))
    return TokenizerFiles(model, options, special, template, stop_ids)


def read_mapping(path: Path) -> dict[str, Any]:
    """Parse a JSON file that must hold an object."""
    try:
        value = read_json(path, CheckpointError)
    except RecursionError as err:
        raise CheckpointError(f"{path}: nested too deeply") from err
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: not a JSON object")
    return value


def _optional_mapping(path: Path) -> dict[str, Any]:
    return read_mapping(path) if path.is_file() else {}


def _named_tokens(options: Mapping[str, Any]) -> dict[str, str]:
    """`{"eos_token": "</s>"}` from plain strings or from added-token objects."""
    found = {}
    for key, value in options.items():
        if isinstance(value, dict):
            value = value.get("content")
        if key.endswith("_token") and isinstance(value, str):
            found[key] = value
    return found


def _stop_ids(generation: Mapping[str, Any]) -> frozenset[int]:
    value = generation.get("eos_token_id")
    values = value if isinstance(value, list) else [value]
    return frozenset(v for v in values if isinstance(v, int) and not isinstance(v, bool))


def read_chat_template(folder: Path, options: Mapping[str, Any]) -> str | None:
    """The default chat template: chat_template.jinja, or the one in tokenizer_config.json."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        try:
            return path.read_bytes().decode("utf-8")  # newlines as they are
        except (OSError, UnicodeDecodeError) as err:
            raise CheckpointError(f"{path}: cannot be read ({err})") from err
    template = options.get("chat_template")
    if isinstance(template, list):  # several named ones
        named = {t.get("name"): t.get("template") for t in template if isinstance(t, dict)}
        template = named.get("default")
    return template if isinstance(template, str) else None


def build_tokenizer(model: Mapping[str, Any], origin: str) -> tokenizers.Tokenizer:
    """A library tokenizer from a parsed tokenizer.json, without truncation and padding.

    Raises:
        CheckpointError: the library refuses it, or its ids are not plausible.
    """
    text = json.dumps({**model, "truncation": None, "padding": None}, ensure_ascii=True)
    try:
        tokenizer = tokenizers.Tokenizer.from_str(text)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as err:  # the library raises bare Exception, and panics on some input
        raise CheckpointError(f"{origin}: not a usable tokenizer.json ({err})", _HINT) from err
    ids = tokenizer.get_vocab(with_added_tokens=True).values()
    if not ids:
        raise CheckpointError(f"{origin}: its vocabulary is empty", _HINT)
    if max(ids) >= MAX_VOCABULARY:
        raise CheckpointError(f"{origin}: token id {max(ids)} is not plausible", _HINT)
    return tokenizer


def find_end_of_text(special: Mapping[str, str], vocabulary: Mapping[str, int], origin: str) -> int:
    """Id of the token that ends a text.

    Raises:
        CheckpointError: none is named and no usual name is in the vocabulary.
    """
    for name in (special.get("eos_token"), *END_OF_TEXT_NAMES):
        if name is not None and name in vocabulary:
            return vocabulary[name]
    raise CheckpointError(
        f"{origin}: no token ends a text",
        "name one as eos_token in tokenizer_config.json",
    )


def find_turn_ends(vocabulary: Mapping[str, int]) -> frozenset[int]:
    """Ids of the known end-of-turn tokens in a vocabulary."""
    return frozenset(vocabulary[name] for name in END_OF_TURN_NAMES if name in vocabulary)
