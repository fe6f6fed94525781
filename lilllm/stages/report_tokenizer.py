"""Looking at tokenizers: how well each one fits a text, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lilllm.config.layout import RUNS
from lilllm.config.schema import SourceConfig
from lilllm.errors import ConfigError, DataError
from lilllm.events import Report
from lilllm.tokenizer import Tokenizer, load_encoder

LISTED = 10
"""Tokens listed of each kind."""


@dataclass(frozen=True, slots=True)
class TokenizerReport:
    """How one tokenizer fits a text.

    tokens_per_word: fertility; words are what stands between white space.
    single_byte_share: of all tokens, those that spell one byte.
    unused: tokens of the vocabulary that the text does not use, special ones aside.
    longest: the longest tokens in use. unused_examples: the longest ones that are not.
    """

    vocab_size: int
    tokens: int
    bytes_per_token: float
    tokens_per_word: float
    single_byte_share: float
    unused: int
    unused_share: float
    longest: tuple[str, ...]
    unused_examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReportTokenizerResult:
    """One text, and a report by folder."""

    text: Path
    bytes: int
    words: int
    tokenizers: dict[str, TokenizerReport]


def run(folders: Sequence[Path], text: Path, report: Report) -> ReportTokenizerResult:
    """Measure tokenizers on the documents of a file; without folders, the newest one of a run.

    Raises:
        CheckpointError: a folder has no tokenizer that works.
        ConfigError: no folder was given and none is there.
        DataError: the text cannot be read or is empty.
    """
    from lilllm.data import read_documents

    if not text.is_file():
        raise DataError(f"{text}: no such file", "give a text to measure on with --text")
    documents = [document.text for document in read_documents(SourceConfig(path=str(text)))]
    size = sum(len(document.encode(errors="replace")) for document in documents)
    words = sum(len(document.split()) for document in documents)
    if not words:
        raise DataError(f"{text}: has no words")
    return ReportTokenizerResult(
        text=text,
        bytes=size,
        words=words,
        tokenizers={
            str(folder): _measure(folder, documents, size, words)
            for folder in (folders or [find_tokenizer()])
        },
    )


def find_tokenizer() -> Path:
    """The newest tokenizer below `runs/`.

    Raises:
        ConfigError: there is none.
    """
    found = sorted(RUNS.glob("*/tokenizer/tokenizer.json"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise ConfigError(
            f"no tokenizer given, and none at {RUNS}/*/tokenizer",
            "give a folder, or make one: `lilllm tokenizer train data.sources=[builtin:stories]`",
        )
    return found[-1].parent


def _measure(folder: Path, documents: list[str], size: int, words: int) -> TokenizerReport:
    tokenizer = Tokenizer.load(folder)
    counts = np.zeros(tokenizer.vocab_size, dtype=np.int64)
    for ids in load_encoder(str(folder))(documents):
        counts += np.bincount(ids, minlength=tokenizer.vocab_size)
    spelled = [tokenizer.token_bytes(id) for id in range(tokenizer.vocab_size)]
    lengths = np.array([len(token) for token in spelled])
    plain = np.array([id not in tokenizer.special_ids for id in range(tokenizer.vocab_size)])
    unused = (counts == 0) & plain & (lengths > 0)
    tokens = int(counts.sum())

    def longest(which: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> tuple[str, ...]:
        ids = sorted(np.flatnonzero(which), key=lambda id: (-lengths[id], id))[:LISTED]
        return tuple(spelled[id].decode(errors="replace") for id in ids)

    return TokenizerReport(
        vocab_size=tokenizer.vocab_size,
        tokens=tokens,
        bytes_per_token=size / tokens,
        tokens_per_word=tokens / words,
        single_byte_share=float(counts[(lengths == 1)].sum() / tokens),
        unused=int(unused.sum()),
        unused_share=float(unused.sum() / plain.sum()),
        longest=longest((counts > 0) & plain),
        unused_examples=longest(unused),
    )
