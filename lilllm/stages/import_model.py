"""Import: somebody else's model in, a checkpoint folder of ours out.

Weights come out of safetensors, GGUF or raw floats; nothing that could run code is read.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from lilllm.errors import CheckpointError, ConfigError
from lilllm.events import Note, Report
from lilllm.files import new_folder, partial_path
from lilllm.interop.folder import copy_folder
from lilllm.interop.gguf_file import MAGIC, GgufFile
from lilllm.interop.gguf_model import read_weights, shape_from_gguf
from lilllm.interop.gguf_tokenizer import tokenizer_from_fields
from lilllm.interop.llama2c import read_model, read_tokenizer, write_folder
from lilllm.model.checkpoint import load_model, save_model
from lilllm.model.transformer import Shape, Transformer, count_parameters
from lilllm.tokenizer import Tokenizer

ZIP, PICKLE = b"PK\3\4", b"\x80"  # how files of torch.save begin, new and old


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The new checkpoint folder and the model's sizes."""

    checkpoint: Path
    parameters: int
    vocab_size: int
    max_seq_len: int


def run(source: Path, to: Path, report: Report, tokenizer: Path | None = None) -> ImportResult:
    """Make a checkpoint folder of a Hugging Face folder, a GGUF file or a llama2.c file.

    Args:
        source: what it is, is told by its first bytes, not by its name.
        to: must not exist, or be an empty folder.
        report: is told what was made.
        tokenizer: the `tokenizer.bin` of a llama2.c file.

    Raises:
        CheckpointError: the source is missing, damaged or of a kind that is not supported.
        ConfigError: `to` is taken or cannot be made, `tokenizer` is missing or given needlessly, or
            the package that the source needs is not installed.
        RunError: the folder cannot be written.
    """
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise ConfigError(f"{to}: exists already", "give another folder with --to")
    partial_path(to)  # refused before anything is read
    place = next((parent for parent in to.absolute().parents if parent.exists()), None)
    if place is None or not (place.is_dir() and os.access(place, os.W_OK)):
        raise ConfigError(
            f"{to}: cannot be made in {place or to.anchor}", "give another folder with --to"
        )
    if not source.exists():
        raise CheckpointError(f"{source}: no such file or folder")
    is_llama2c = source.is_file() and not _is_gguf(source)
    if is_llama2c:
        _refuse_pickles(source)
    if is_llama2c and tokenizer is None:
        raise ConfigError(
            f"{source}: no model folder and no GGUF file; a llama2.c model needs its tokenizer too",
            "for example --tokenizer tok512.bin",
        )
    if tokenizer is not None and not is_llama2c:
        raise ConfigError(f"--tokenizer is for llama2.c files; {source} has its own")
    if tokenizer is not None:
        shape = _convert_llama2c(source, tokenizer, to)
    elif source.is_file():
        shape = _convert_gguf(source, to)
    else:
        shape = _copy_folder(source, to)
    report(Note(f"imported into {to}; `lilllm generate {to}` writes text with it"))
    return ImportResult(
        to, sum(count_parameters(shape).values()), shape.vocab_size, shape.max_seq_len
    )


def _first_bytes(source: Path) -> bytes:
    try:
        with source.open("rb") as file:
            return file.read(4)
    except OSError as err:
        raise CheckpointError(f"{source}: cannot be read ({err.strerror})") from err


def _is_gguf(source: Path) -> bool:
    return source.suffix == ".gguf" or _first_bytes(source) == MAGIC


def _refuse_pickles(source: Path) -> None:
    first = _first_bytes(source)
    if source.suffix == ".safetensors":
        raise CheckpointError(
            f"{source}: weights alone are not a model", "name the folder that has its config.json"
        )
    if first == ZIP or first[:1] == PICKLE or source.suffix in {".pt", ".pth", ".pkl", ".ckpt"}:
        raise CheckpointError(
            f"{source}: pickled weights are not read, they can run code",
            "convert the model to safetensors, or take its GGUF file",
        )


def _convert_llama2c(source: Path, tokenizer: Path, to: Path) -> Shape:
    model = read_model(source)
    entries = read_tokenizer(tokenizer, model.shape.vocab_size)
    with new_folder(to) as folder:
        write_folder(folder, model, entries)
    return model.shape


def _convert_gguf(source: Path, to: Path) -> Shape:
    file = GgufFile(source)
    shape = shape_from_gguf(file)
    tokenizer = tokenizer_from_fields(file.fields, source)
    if tokenizer.vocab_size > shape.vocab_size:
        raise CheckpointError(
            f"{source}: tokenizer.ggml.tokens has {tokenizer.vocab_size:,} tokens, "
            f"token_embd.weight {shape.vocab_size:,} rows"
        )
    weights = read_weights(file, shape)
    with torch.device("meta"):
        model = Transformer(shape)
    with new_folder(to) as folder:
        save_model(
            folder,
            model,
            weights=weights,
            bos_id=tokenizer.end_id if tokenizer.bos_id is None else tokenizer.bos_id,
            eos_ids=sorted(tokenizer.stop_ids),
            pad_id=tokenizer.pad_id,
            generation={},
        )
        tokenizer.save(folder)
    return shape


def _copy_folder(source: Path, to: Path) -> Shape:
    """Copy what we read of a Hugging Face folder, once all of it has been read well."""
    shape = load_model(source).shape
    Tokenizer.load(source)
    with new_folder(to) as folder:
        copy_folder(source, folder)
    return shape
