"""Training a tokenizer: documents in, a tokenizer folder out."""

import glob
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lilllm.config import Config, layout
from lilllm.config.schema import SourceConfig
from lilllm.data import read_documents
from lilllm.errors import ConfigError, DataError, LilllmError
from lilllm.events import Caution, Progress, Report
from lilllm.files import manifest_problem, new_folder, read_json, sha256_json, write_json
from lilllm.stages.prepare import source_identity
from lilllm.tokenizer import Tokenizer, train_bpe

FORMAT = 2  # raise it when the same sources give another tokenizer than before
INPUTS = "inputs.json"
"""Says, beside the tokenizer, what it was made of, times of files included; no part of it."""
PLAIN_TEXT = {".txt", ".jsonl", ".json", ".csv", ".tsv"}
"""Kinds of files whose size says how much text is in them."""
MEASURED_BYTES = 2_000_000
"""Text on which bytes per token are measured."""
REPORT_BYTES = 2_000_000


@dataclass(frozen=True, slots=True)
class TrainTokenizerResult:
    """The folder; tokens really learned; bytes of text per token on the training text."""

    path: Path
    vocab_size: int
    bytes_per_token: float
    seconds: float
    train_bytes: int


def run(config: Config, report: Report) -> TrainTokenizerResult:
    """Train a byte-level BPE tokenizer on at most `tokenizer.train_bytes` of the sources.

    Raises:
        ConfigError: there are no sources, or `tokenizer.path` names a tokenizer to use.
        DataError: a source cannot be read, or has no text.
        RunError: the folder cannot be written.
    """
    if config.tokenizer.path is not None:
        raise ConfigError(
            f"tokenizer.path={config.tokenizer.path} names a tokenizer to use, so none is trained",
            "leave tokenizer.path out to train one",
        )
    if not config.data.sources:
        raise ConfigError(
            "data.sources is empty, so there is no text to train a tokenizer on",
            "for example data.sources=[builtin:stories], or the path of a text file",
        )
    began = time.monotonic()
    inputs = inputs_hash(config)  # before reading: a file that changes meanwhile is seen next time
    texts = _Texts(config, report)
    inner = train_bpe(texts, config.tokenizer.vocab_size)
    if not texts.bytes:
        raise DataError(
            "no text in " + ", ".join(source.path for source in config.data.sources),
            "check data.sources and the `field` of each",
        )
    tokenizer = Tokenizer.trained(inner)
    asked = config.tokenizer.vocab_size
    if tokenizer.vocab_size < asked:
        report(
            Caution(
                f"{texts.bytes:,} bytes of text fill {tokenizer.vocab_size:,} tokens, not the "
                f"{asked:,} of tokenizer.vocab_size"
            )
        )
    folder = layout(config).tokenizer
    with new_folder(folder) as partial:
        tokenizer.save(partial)
    write_json(folder / INPUTS, {"inputs": inputs})
    tokens = sum(len(tokenizer.encode(text)) for text in texts.measured)
    measured = sum(len(text.encode(errors="replace")) for text in texts.measured)
    return TrainTokenizerResult(
        path=folder,
        vocab_size=tokenizer.vocab_size,
        bytes_per_token=measured / tokens,
        seconds=time.monotonic() - began,
        train_bytes=texts.bytes,
    )


def inputs_hash(config: Config) -> str:
    """What the tokenizer depends on: sources with the sizes and times of their files, options.

    The seed too where stories are made up from it.

    Raises:
        DataError: a source does not exist.
    """
    builtin = any(source.path.startswith("builtin:") for source in config.data.sources)
    return sha256_json(
        {
            "format": FORMAT,
            "tokenizer": config.tokenizer.model_dump(mode="json"),
            "sources": [source_identity(source) for source in config.data.sources],
            "on_bad_row": config.data.on_bad_row,
            "seed": config.seed if builtin else None,
        }
    )


def up_to_date(config: Config) -> bool:
    """Whether the tokenizer of this config is there, whole and made from the same inputs."""
    folder = layout(config).tokenizer
    if manifest_problem(folder):
        return False
    try:
        return bool(read_json(folder / INPUTS)["inputs"] == inputs_hash(config))
    except (LilllmError, KeyError, TypeError):
        return False


class _Texts:
    """The training text: part of every source, spread over it where its size is known.

    Iterated once; then `bytes` says how much there was, and `measured` holds some of it.
    """

    def __init__(self, config: Config, report: Report) -> None:
        self._config = config
        self._report = report
        self.bytes = 0
        self.measured: list[str] = []

    def __iter__(self) -> Iterator[str]:
        config, budget = self._config, self._config.tokenizer.train_bytes
        sources = config.data.sources
        sizes = [text_bytes(source) for source in sources]
        shares = divide_bytes(sizes, [source.weight for source in sources], budget)
        measured = 0
        next_report = REPORT_BYTES
        for source, size, share in zip(sources, sizes, shares, strict=True):
            documents = read_documents(source, on_bad_row=config.data.on_bad_row, seed=config.seed)
            texts = (document.text for document in documents)
            for text, length in spread(texts, share, size):
                self.bytes += length
                if measured < MEASURED_BYTES:
                    self.measured.append(text)
                    measured += length
                if self.bytes >= next_report:
                    self._report(
                        Progress(
                            "tokenizer", self.bytes / 1e6, min(sum(shares), budget) / 1e6, "MB"
                        )
                    )
                    next_report = self.bytes + REPORT_BYTES
                yield text


def spread(texts: Iterator[str], share: float, size: int | None) -> Iterator[tuple[str, int]]:
    """Texts of about `share` bytes in all, evenly from a source of `size` bytes, and their bytes.

    A source of unknown size gives its first `share` bytes. Empty texts are left out.
    """
    keep = min(1.0, share / size) if size else 1.0
    seen = kept = 0
    for text in texts:
        length = len(text.encode(errors="replace"))
        seen += length
        if kept + length > share:
            if not kept:  # one text is more than the share: its beginning
                part = text.encode(errors="replace")[: int(share)].decode(errors="ignore")
                yield part, len(part.encode())
            if not kept or size is None:
                return
        elif length and kept + length / 2 <= seen * keep:
            kept += length
            yield text, length


def divide_bytes(sizes: Sequence[int | None], weights: Sequence[float], budget: int) -> list[float]:
    """How many of `budget` bytes each source gives.

    In proportion to size and weight where every size is known. Otherwise equally, and what a
    small source leaves goes to the others.
    """
    known = [size for size in sizes if size is not None]
    if len(known) == len(sizes):
        wanted = [size * weight for size, weight in zip(known, weights, strict=True)]
        scale = budget / max(1.0, sum(wanted))
        return [min(float(size), want * scale) for size, want in zip(known, wanted, strict=True)]
    shares = [0.0] * len(sizes)
    left = float(budget)
    waiting = sorted(range(len(sizes)), key=lambda at: (sizes[at] is None, sizes[at] or 0))
    for place, at in enumerate(waiting):
        size, equal = sizes[at], left / (len(waiting) - place)
        shares[at] = equal if size is None else min(equal, float(size))
        left -= shares[at]
    return shares


def text_bytes(source: SourceConfig) -> int | None:
    """About how much text a source has; None where only reading it would tell."""
    if ":" in source.path.split("/")[0] or source.documents is not None:
        return None
    files = [Path(name) for name in glob.glob(source.path)]  # noqa: PTH207 - may be absolute
    if not files or not all(file.is_file() and file.suffix in PLAIN_TEXT for file in files):
        return None
    return sum(file.stat().st_size for file in files)
