"""Import: somebody else's model in, a checkpoint folder of ours out."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from lilllm.errors import CheckpointError, ConfigError
from lilllm.events import Note, Report
from lilllm.files import new_folder
from lilllm.interop.llama2c import read_model, read_tokenizer, write_folder
from lilllm.model.checkpoint import load_model
from lilllm.model.transformer import Shape, count_parameters
from lilllm.tokenizer import Tokenizer

COPIED = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model", "LICENSE*", "README.md")


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The new checkpoint folder and the model's sizes."""

    checkpoint: Path
    parameters: int
    vocab_size: int
    max_seq_len: int


def run(source: Path, to: Path, report: Report, tokenizer: Path | None = None) -> ImportResult:
    """Make a checkpoint folder of a llama2.c file or of a Hugging Face folder.

    Args:
        source: a `.bin` file, or a folder.
        to: must not exist, or be an empty folder.
        report: is told what was made.
        tokenizer: the `tokenizer.bin` of a `.bin` file.

    Raises:
        CheckpointError: the source is missing, damaged or of a kind that is not supported.
        ConfigError: `to` is taken, or `tokenizer` is missing or given needlessly.
        RunError: the folder cannot be written.
    """
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise ConfigError(f"{to}: exists already", "give another folder with --to")
    if not source.exists():
        raise CheckpointError(f"{source}: no such file or folder")
    if source.is_dir():
        if tokenizer is not None:
            raise ConfigError("--tokenizer is for llama2.c files; a folder has its own")
        shape = _copy_folder(source, to)
    else:
        if tokenizer is None:
            raise ConfigError(
                f"{source}: a llama2.c model needs its tokenizer too",
                "for example --tokenizer tok512.bin",
            )
        model = read_model(source)
        shape = model.shape
        entries = read_tokenizer(tokenizer, shape.vocab_size)
        with new_folder(to) as folder:
            write_folder(folder, model, entries)
    report(Note(f"imported into {to}; `lilllm generate {to}` writes text with it"))
    return ImportResult(
        to, sum(count_parameters(shape).values()), shape.vocab_size, shape.max_seq_len
    )


def _copy_folder(source: Path, to: Path) -> Shape:
    """Copy what we read of a Hugging Face folder, once all of it has been read well."""
    shape = load_model(source).shape
    Tokenizer.load(source)
    with new_folder(to) as folder:
        for pattern in COPIED:
            for file in source.glob(pattern):
                if file.is_file() and file.name != "manifest.json":
                    shutil.copyfile(file, folder / file.name)
    return shape
