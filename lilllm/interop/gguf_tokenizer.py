"""Tokenizers out of GGUF fields; and byte-level BPE ones into them.

llama.cpp knows a tokenizer's split by name (`tokenizer.ggml.pre`) only, so just the splits that
are named here can be written or read; any other tokenizer is refused, not approximated.

Source: github.com/ggml-org/llama.cpp, src/llama-vocab.cpp.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import AddedToken, Regex, decoders, models, normalizers, processors
from tokenizers import Tokenizer as Library
from tokenizers import pre_tokenizers as pre

from lilllm.errors import CheckpointError, ConfigError
from lilllm.interop.gguf_sentencepiece import Numbers, sentencepiece
from lilllm.tokenizer import Tokenizer
from lilllm.tokenizer.parse import is_interrupt
from lilllm.tokenizer.tokenizer import token_name

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5  # kinds of tokens
PREFIX = "tokenizer.ggml."
TEMPLATE = "tokenizer.chat_template"
NAMED_TOKENS = {"bos": "bos_token", "eos": "eos_token"} | {
    "unknown": "unk_token",
    "padding": "pad_token",
}

USUAL_IDS = {"unknown": 0, "bos": 1, "eos": 2}  # of SentencePiece, where a file names none

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def _split(regex: str) -> pre.PreTokenizer:
    return pre.Sequence(
        [
            pre.Split(Regex(regex), behavior="isolated"),
            pre.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _splits() -> dict[str, pre.PreTokenizer]:
    """How each `tokenizer.ggml.pre` splits."""
    gpt2 = pre.ByteLevel(add_prefix_space=False, use_regex=True)
    digits = pre.Sequence([pre.Digits(individual_digits=True), gpt2])
    return {"gpt-2": gpt2, "smollm": digits, "llama-bpe": _split(LLAMA3), "qwen2": _split(QWEN2)}


WHOLE_FIRST = {"llama-bpe"}  # a piece that is a token is not merged up from its bytes
BOS_FIRST = {"llama-bpe"}  # where `add_bos_token` is absent
NFC = {"qwen2"}  # its tokenizer normalizes; llama.cpp does not


def tokenizer_from_fields(fields: Mapping[str, Any], path: Path) -> Tokenizer:
    """The tokenizer of a GGUF file: byte-level BPE (`gpt2`) or SentencePiece (`llama`).

    Raises:
        CheckpointError: it is damaged or of a kind that is not known; the field is named.
    """
    kind = fields.get(f"{PREFIX}model")
    if not isinstance(kind, str) or kind not in {"gpt2", "llama"}:
        raise CheckpointError(
            f"{path}: {PREFIX}model={kind!r} is not supported",
            "supported: gpt2 (byte-level BPE), llama (SentencePiece)",
        )
    if _flag(fields, "add_eos_token", False, path):
        raise CheckpointError(f"{path}: {PREFIX}add_eos_token=true is not supported")
    texts = _strings(fields, "tokens", path)
    kinds = _numbers(fields, "token_type", len(texts), path)
    vocabulary = {text: id for id, text in enumerate(texts) if kinds[id] != UNUSED}
    if len(vocabulary) != np.count_nonzero(kinds != UNUSED):
        raise CheckpointError(f"{path}: {PREFIX}tokens has the same token twice")
    settings = _settings(fields, texts, path)
    build = _byte_level if kind == "gpt2" else _sentencepiece
    try:
        library, adds_bos = build(fields, texts, kinds, vocabulary, settings, path)
        for text, id in vocabulary.items():
            if kinds[id] == CONTROL:
                library.add_special_tokens([AddedToken(text, normalized=False)])
            elif kinds[id] == USER_DEFINED:
                library.add_tokens([AddedToken(text, normalized=False)])
        if _flag(fields, "add_bos_token", adds_bos, path):
            library.post_processor = _bos_first(settings, vocabulary, path)
        text = library.to_str(pretty=True)
    except BaseException as err:  # the Rust library may also panic
        if is_interrupt(err) or isinstance(err, CheckpointError):
            raise
        raise CheckpointError(f"{path}: {PREFIX}tokens and merges do not fit ({err})") from err
    template = fields.get(TEMPLATE)
    return Tokenizer(text, settings, template if isinstance(template, str) else None)


def _byte_level(
    fields: Mapping[str, Any],
    texts: list[str],
    kinds: Numbers,
    vocabulary: dict[str, int],
    settings: Mapping[str, Any],
    path: Path,
) -> tuple[Library, bool]:
    """The library's tokenizer, and whether texts begin with BOS where the file does not say."""
    splits, split = _splits(), fields.get(f"{PREFIX}pre", "default")
    if not isinstance(split, str) or split not in splits:
        raise CheckpointError(
            f"{path}: {PREFIX}pre={split!r} is not supported", f"supported: {', '.join(splits)}"
        )
    merges = [merge.split(" ") for merge in _strings(fields, "merges", path)]
    if any(len(merge) != 2 for merge in merges):
        raise CheckpointError(f"{path}: {PREFIX}merges has an item that is not two tokens")
    pairs = [(left, right) for left, right in merges]
    library = Library(models.BPE(vocabulary, pairs, ignore_merges=split in WHOLE_FIRST))
    library.pre_tokenizer = splits[split]
    library.decoder = decoders.ByteLevel()
    if split in NFC:
        library.normalizer = normalizers.NFC()
    return library, split in BOS_FIRST


def _sentencepiece(
    fields: Mapping[str, Any],
    texts: list[str],
    kinds: Numbers,
    vocabulary: dict[str, int],
    settings: Mapping[str, Any],
    path: Path,
) -> tuple[Library, bool]:
    library = sentencepiece(
        texts,
        _numbers(fields, "scores", len(texts), path),
        [id for id in vocabulary.values() if kinds[id] == NORMAL],
        vocabulary,
        unknown=settings.get("unk_token"),
        prefix=_flag(fields, "add_space_prefix", True, path),
    )
    return library, True


def _flag(fields: Mapping[str, Any], key: str, default: bool, path: Path) -> bool:
    value = fields.get(f"{PREFIX}{key}", default)
    if not isinstance(value, bool):
        raise CheckpointError(f"{path}: {PREFIX}{key}={value!r} is not true or false")
    return value


def _numbers(fields: Mapping[str, Any], key: str, count: int, path: Path) -> Numbers:
    value = fields.get(f"{PREFIX}{key}")
    if not isinstance(value, np.ndarray) or len(value) != count or not np.isfinite(value).all():
        raise CheckpointError(f"{path}: {PREFIX}{key} is not one number for each of {count} tokens")
    return value


def _strings(fields: Mapping[str, Any], key: str, path: Path) -> list[str]:
    value = fields.get(f"{PREFIX}{key}")
    if not isinstance(value, list) or not value:
        raise CheckpointError(f"{path}: {PREFIX}{key} is not a list of strings")
    return value


def _settings(fields: Mapping[str, Any], texts: list[str], path: Path) -> dict[str, Any]:
    """What `tokenizer_config.json` says: which tokens begin, end and fill."""
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
    }
    usual = USUAL_IDS if fields[f"{PREFIX}model"] == "llama" else {}
    for ours, theirs in NAMED_TOKENS.items():
        key = f"{PREFIX}{ours}_token_id"
        id = fields.get(key, usual.get(ours))
        if id is None:
            continue
        if type(id) is not int or not 0 <= id < len(texts):
            raise CheckpointError(f"{path}: {key}={id!r} is not one of {len(texts):,} tokens")
        settings[theirs] = texts[id]
    return settings


def _bos_first(
    settings: Mapping[str, Any], vocabulary: Mapping[str, int], path: Path
) -> processors.PostProcessor:
    bos = settings.get("bos_token", "")
    if bos not in vocabulary:
        raise CheckpointError(f"{path}: {PREFIX}add_bos_token=true, but there is no such token")
    return processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos} $B:1", special_tokens=[(bos, vocabulary[bos])]
    )


def tokenizer_to_fields(tokenizer: Tokenizer, rows: int) -> dict[str, Any]:
    """The GGUF fields of a tokenizer; llama.cpp then gives every text the same ids.

    Args:
        tokenizer: of any folder.
        rows: of the embedding; ids without a token get one that is never used.

    Raises:
        ConfigError: llama.cpp could not follow it.
    """
    parsed = json.loads(tokenizer.text)
    split = _known_split(parsed)
    texts = [f"[PAD{id}]" for id in range(rows)]
    kinds = [UNUSED] * rows
    for text, id in parsed["model"]["vocab"].items():
        texts[id], kinds[id] = text, NORMAL
    for added in parsed["added_tokens"]:
        id = added["id"]
        texts[id], kinds[id] = added["content"], CONTROL if added["special"] else USER_DEFINED
        if any(added[flag] for flag in ("lstrip", "rstrip", "single_word")):
            raise _not_known(f"the token {added['content']!r} takes part of its neighbours")
    merges = [
        merge if isinstance(merge, str) else " ".join(merge) for merge in parsed["model"]["merges"]
    ]
    if any(merge.count(" ") != 1 for merge in merges):
        raise _not_known("a merge has a space in it")
    fields: dict[str, Any] = {
        f"{PREFIX}model": "gpt2",
        f"{PREFIX}pre": split,
        f"{PREFIX}tokens": texts,
        f"{PREFIX}token_type": kinds,
        f"{PREFIX}merges": merges,
        f"{PREFIX}add_bos_token": _adds_bos(tokenizer),
        f"{PREFIX}add_space_prefix": False,
        f"{PREFIX}eos_token_id": tokenizer.end_id,
    }
    for ours, theirs in NAMED_TOKENS.items():
        id = tokenizer.inner.token_to_id(token_name(tokenizer.settings.get(theirs)) or "")
        if id is not None:
            fields[f"{PREFIX}{ours}_token_id"] = id
    if tokenizer.chat_template is not None:
        fields[TEMPLATE] = tokenizer.chat_template
    return fields


def _known_split(parsed: Mapping[str, Any]) -> str:
    """What llama.cpp calls the split of a `tokenizer.json`; other parts are checked on the way."""
    model = parsed["model"]
    if model.get("type", "BPE") != "BPE" or model.get("byte_fallback"):
        raise _not_known(f"its model is {model.get('type')}, not byte-level BPE")
    for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(key):
            raise _not_known(f"model.{key}={model[key]!r}")
    if (parsed.get("decoder") or {}).get("type") != "ByteLevel":
        raise _not_known("it does not spell bytes as GPT-2 does")
    wanted = _plain(parsed.get("pre_tokenizer"))
    known = (name for name, split in _splits().items() if _plain(_as_json(split)) == wanted)
    name = next(known, None)
    if name is None:
        raise _not_known("its pre_tokenizer is none of those that llama.cpp has")
    normalizer = (parsed.get("normalizer") or {}).get("type")
    if normalizer != ("NFC" if name in NFC else None):
        raise _not_known(f"normalizer {normalizer!r} with the pre_tokenizer {name}")
    if bool(model.get("ignore_merges")) is not (name in WHOLE_FIRST):
        raise _not_known(f"model.ignore_merges with the pre_tokenizer {name}")
    return name


def _adds_bos(tokenizer: Tokenizer) -> bool:
    """Whether a text begins with BOS; nothing else may be added to it."""
    plain, whole = tokenizer.encode("a"), tokenizer.encode_prompt("a")
    if whole not in (plain, [tokenizer.bos_id, *plain]):
        raise _not_known("its post_processor adds more than BOS")
    return whole != plain


def _as_json(split: pre.PreTokenizer) -> Any:
    library = Library(models.BPE())
    library.pre_tokenizer = split
    return json.loads(library.to_str())["pre_tokenizer"]


def _plain(split: Any) -> Any:
    """A pre-tokenizer without the keys that do not change ids."""
    if isinstance(split, dict):
        return {key: _plain(value) for key, value in split.items() if key != "trim_offsets"}
    return [_plain(item) for item in split] if isinstance(split, list) else split


def _not_known(what: str) -> ConfigError:
    return ConfigError(
        f"llama.cpp cannot follow this tokenizer: {what}",
        "`--to hf` exports it for other programs; tokenizers made here can be exported to gguf",
    )
