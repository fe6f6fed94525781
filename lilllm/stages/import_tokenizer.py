"""Importing a tokenizer: other people's files in, a tokenizer folder out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lilllm.errors import ConfigError
from lilllm.events import Caution, Note, Report
from lilllm.files import MANIFEST, new_folder
from lilllm.tokenizer.foreign import import_tokenizer
from lilllm.tokenizer.tokenizer import SETTINGS, TEMPLATE, TOKENIZER

INPUTS = "inputs.json"  # where a trained tokenizer says what it was made from
PROBE = "Héllo,  wörld!\n\tIt's 10 o'clock: 你好 🙂"


@dataclass(frozen=True, slots=True)
class ImportTokenizerResult:
    """The folder, and the tokens that were appended because the tokenizer lacked them."""

    path: Path
    vocab_size: int
    added_tokens: tuple[str, ...]
    end_token: str
    hash: str


def run(sources: Sequence[Path], target: Path, report: Report) -> ImportTokenizerResult:
    """Make a tokenizer folder from a `tokenizer.json`, a folder, or GPT-2's two files.

    Raises:
        CheckpointError: nothing known is there, or it is damaged.
        ConfigError: `target` is there and is no tokenizer folder.
        RunError: the folder cannot be written.
    """
    if not 1 <= len(sources) <= 2:
        raise ConfigError(
            f"{len(sources)} sources given",
            "give a folder, a tokenizer.json, or GPT-2's encoder.json and vocab.bpe",
        )
    if target.exists() and not _replaceable(target):
        raise ConfigError(
            f"{target}: already there, and not a tokenizer folder", "choose another folder for --to"
        )
    imported = import_tokenizer(sources)
    tokenizer = imported.tokenizer
    if imported.added:
        report(
            Note(
                f"{', '.join(imported.added)} appended; a model trained with this tokenizer needs "
                f"{tokenizer.vocab_size:,} rows in its embedding"
            )
        )
    if tokenizer.decode(tokenizer.encode(PROBE)) != PROBE:
        report(Caution("this tokenizer does not give every text back as it was"))
    with new_folder(target) as partial:
        tokenizer.save(partial)
    return ImportTokenizerResult(
        path=target,
        vocab_size=tokenizer.vocab_size,
        added_tokens=imported.added,
        end_token=tokenizer.decode([tokenizer.end_id], skip_special=False),
        hash=tokenizer.hash,
    )


def _replaceable(target: Path) -> bool:
    """A folder with nothing but a tokenizer in it."""
    names = {path.name for path in target.iterdir()} if target.is_dir() else {"a file"}
    return names <= {TOKENIZER, SETTINGS, TEMPLATE, MANIFEST, INPUTS}
