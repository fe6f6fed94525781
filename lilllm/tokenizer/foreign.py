"""Other people's tokenizers as folders that our stages can use.

Reads a `tokenizer.json`, a Hugging Face folder, or GPT-2's pair of files. A tokenizer keeps its own
special tokens; what a document or a conversation needs and it lacks is appended.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, models

from lilllm.errors import CheckpointError
from lilllm.files import read_json
from lilllm.tokenizer.bpe import END_OF_TEXT, TURN_END, TURN_START, byte_level
from lilllm.tokenizer.parse import is_interrupt, parse_tokenizer
from lilllm.tokenizer.template import chatml
from lilllm.tokenizer.tokenizer import (
    END_NAMES,
    TOKENIZER,
    Tokenizer,
    read_chat_template,
    read_settings,
    read_text,
    token_name,
)

GPT2_PAIRS = (("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt"))
"""Names of GPT-2's vocabulary and merges: as published, and as transformers calls them."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A tokenizer that was read, and the tokens that it did not have."""

    tokenizer: Tokenizer
    added: tuple[str, ...]


def import_tokenizer(sources: Sequence[Path]) -> Imported:
    """Read a foreign tokenizer and append what it lacks.

    Args:
        sources: a folder, a `tokenizer.json`, or GPT-2's two files in any order.

    Raises:
        CheckpointError: nothing known is there, or it is damaged.
    """
    text, settings, template = _read(sources)
    inner = parse_tokenizer(text)
    vocabulary = inner.get_vocab(True)
    specials = {
        token.content for token in inner.get_added_tokens_decoder().values() if token.special
    }
    wanted: list[str] = []
    if token_name(settings.get("eos_token")) not in vocabulary:
        known = [name for name in END_NAMES if name in specials]
        settings["eos_token"] = known[0] if known else END_OF_TEXT
        wanted.append(settings["eos_token"])
    if "bos_token" not in settings:
        first = next(iter(inner.encode("a", add_special_tokens=True).tokens), None)
        settings |= {"bos_token": first} if first in specials else {}
    if template is None:
        template = chatml()
        wanted += [TURN_START, TURN_END]
    added = tuple(name for name in dict.fromkeys(wanted) if name not in vocabulary)
    if not specials.issuperset(wanted):
        inner.add_special_tokens([AddedToken(name, normalized=False) for name in wanted])
        text = inner.to_str(pretty=True)
    settings.setdefault("pad_token", settings["eos_token"])
    settings.setdefault("tokenizer_class", "PreTrainedTokenizerFast")
    settings.pop("auto_map", None)  # names code that would be run
    return Imported(Tokenizer(text, settings, template), added)


def _read(sources: Sequence[Path]) -> tuple[str, dict[str, Any], str | None]:
    """The contents of the three files of a tokenizer folder."""
    if len(sources) == 2:
        vocabulary, merges = sorted(sources, key=lambda path: path.suffix != ".json")
        return _read_gpt2(vocabulary, merges)
    (source,) = sources
    if source.is_file() and source.suffix == ".json":
        folder = source.parent if source.name == TOKENIZER else None
        settings = read_settings(folder) if folder else {}
        return read_text(source), settings, read_chat_template(folder, settings) if folder else None
    if (source / TOKENIZER).is_file():
        settings = read_settings(source)
        return read_text(source / TOKENIZER), settings, read_chat_template(source, settings)
    for vocabulary_name, merges_name in GPT2_PAIRS:
        if (source / vocabulary_name).is_file() and (source / merges_name).is_file():
            return _read_gpt2(source / vocabulary_name, source / merges_name)
    raise CheckpointError(
        f"{source}: no tokenizer found",
        f"give a {TOKENIZER}, a folder that has one, or a folder with GPT-2's encoder.json and "
        "vocab.bpe",
    )


def _read_gpt2(vocabulary_path: Path, merges_path: Path) -> tuple[str, dict[str, Any], str | None]:
    """GPT-2's own format: a JSON object of ids, and one merge per line after `#version`."""
    vocabulary = read_json(vocabulary_path, CheckpointError)
    lines = read_text(merges_path).split("\n")
    pairs = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    if not isinstance(vocabulary, dict) or any(len(pair) != 2 for pair in pairs):
        raise CheckpointError(
            f"{vocabulary_path}, {merges_path}: not a vocabulary and its merges",
            "GPT-2's files are called encoder.json and vocab.bpe",
        )
    try:
        inner = byte_level(models.BPE(vocabulary, [(left, right) for left, right in pairs]))
        inner.add_special_tokens([AddedToken(END_OF_TEXT, normalized=False)])
    except BaseException as err:
        if is_interrupt(err):
            raise
        raise CheckpointError(f"{vocabulary_path}, {merges_path}: do not fit ({err})") from err
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "clean_up_tokenization_spaces": False,
    }
    return inner.to_str(pretty=True), settings, None
