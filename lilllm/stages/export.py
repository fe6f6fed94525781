"""Export: a checkpoint in, what other people's runtimes load out.

gguf is one file for llama.cpp, ollama a folder with that file and its Modelfile, hf a model folder
for transformers, vLLM and the like.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lilllm.config.layout import RUNS
from lilllm.errors import CheckpointError, ConfigError
from lilllm.events import Caution, Note, Report
from lilllm.files import (
    MANIFEST,
    fsync_path,
    make_folder,
    new_folder,
    partial_path,
    read_json,
    remove,
    write_atomic,
    write_error,
)
from lilllm.interop.folder import copy_folder, stored_dtype
from lilllm.interop.gguf_file import GgufFile
from lilllm.interop.gguf_write import MARK, TYPES, write_gguf
from lilllm.interop.ollama import find_turns, modelfile
from lilllm.model.checkpoint import load_labels, save_model
from lilllm.model.hugging_face import OWN_CLASS, class_of
from lilllm.stages.find_checkpoint import Loaded, load_checkpoint

FORMATS = ("gguf", "hf", "ollama")
TORCH_TYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
EXPORTS = Path("exports")
KEY = "exported"  # in the manifest of a folder that was exported: its format


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What was written: a file (gguf) or a folder, and its bytes."""

    checkpoint: Path
    path: Path
    format: str
    dtype: str
    bytes: int


def run(
    folder: Path,
    to: str,
    report: Report,
    *,
    dtype: str | None = None,
    out: Path | None = None,
) -> ExportResult:
    """Write a checkpoint in another program's format.

    Args:
        folder: a verified checkpoint folder.
        to: one of `FORMATS`.
        report: is told what other programs will not do as we do.
        dtype: of the matrices (f32, f16, bf16, and for GGUF q8_0); None: as they are stored.
        out: file or folder to make; None: in `exports/`, named after the run.

    Raises:
        ConfigError: the format cannot express the model, its tokenizer or the type; `out` is
            taken by something else; a package is missing.
        CheckpointError: the checkpoint cannot be read.
        RunError: the disk is full or the folder cannot be written.
    """
    if to not in FORMATS:
        raise ConfigError(f"--to {to}: no such format", f"one of {', '.join(FORMATS)}")
    known = TORCH_TYPES if to == "hf" else TYPES
    if dtype is not None and dtype not in known:
        raise ConfigError(f"--dtype {dtype}: no type of {to}", f"one of {', '.join(known)}")
    write: Callable[..., None] = {"gguf": _gguf, "hf": _hf, "ollama": _ollama}[to]
    stored = stored_dtype(folder)
    name = export_name(folder)
    suffix = {"gguf": f"-{dtype or stored}.gguf", "hf": "-hf", "ollama": "-ollama"}[to]
    path = out or EXPORTS / f"{name}{suffix}"
    refuse_taken(path, is_file=to == "gguf")
    loaded = load_checkpoint(folder, device="cpu")
    if class_of(loaded.model.shape) == OWN_CLASS:
        raise ConfigError(
            f"{folder}: no other program has a model like this one (logit_softcap)",
            "train one without model.logit_softcap to export it",
        )
    write(loaded, path, name, dtype or stored, stored, report)
    files = path.rglob("*") if path.is_dir() else [path]
    size = sum(file.stat().st_size for file in files if file.is_file())
    return ExportResult(folder, path, to, dtype or stored, size)


def export_name(folder: Path) -> str:
    """What an exported model is called: its run, with its finetuning step; else its folder."""
    try:
        parts = folder.resolve().relative_to(RUNS.resolve()).parts
    except ValueError:
        parts = ()
    if len(parts) >= 3 and parts[1] == "finetune":
        return f"{parts[0]}-{parts[2]}"
    return parts[0] if parts else folder.resolve().name


def _gguf(loaded: Loaded, path: Path, name: str, dtype: str, stored: str, report: Report) -> None:
    make_folder(path.parent)
    partial = partial_path(path)
    try:
        _write(loaded, partial, name, dtype, report)
        try:
            fsync_path(partial)
            partial.replace(path)
        except OSError as err:
            raise write_error(path, err) from err
    finally:
        remove(partial)


def _ollama(loaded: Loaded, path: Path, name: str, dtype: str, stored: str, report: Report) -> None:
    turns = find_turns(loaded.tokenizer) if loaded.chat_trained else None
    if loaded.chat_trained and turns is None:
        report(Caution("the chat template is more than Ollama's can say: the model continues text"))
    generation: dict[str, Any] = loaded.generate.model_dump()
    file = f"{name}.gguf"
    text = modelfile(file, turns, loaded.tokenizer, generation, loaded.model.shape.max_seq_len)
    with new_folder(path, {KEY: "ollama"}) as folder:
        _write(loaded, folder / file, name, dtype, report)
        write_atomic(folder / "Modelfile", text)
    report(Note(f"`ollama create {name} -f {path / 'Modelfile'}` makes it a model of Ollama"))


def _write(loaded: Loaded, path: Path, name: str, dtype: str, report: Report) -> None:
    write_gguf(
        path,
        loaded.model,
        loaded.tokenizer,
        name=name,
        dtype=dtype,
        warn=lambda text: report(Caution(text)),
    )


def _hf(loaded: Loaded, path: Path, name: str, dtype: str, stored: str, report: Report) -> None:
    tokenizer = loaded.tokenizer
    with new_folder(path, {KEY: "hf"}) as folder:
        as_they_are = dtype == stored and loaded.bits is None  # others read no few bits of ours
        copy_folder(loaded.folder, folder, weights=as_they_are)
        if not as_they_are:
            save_model(
                folder,
                loaded.model.to(TORCH_TYPES[dtype]),
                bos_id=loaded.first_id,
                eos_ids=sorted(loaded.stop_ids),
                pad_id=tokenizer.pad_id,
                generation=loaded.generate.model_dump(),
                labels=load_labels(loaded.folder),
            )


def refuse_taken(path: Path, *, is_file: bool) -> None:
    """Only an earlier export is replaced."""
    if is_file:
        taken = path.exists() and not _is_our_gguf(path)
    else:
        taken = path.is_file() or (path.is_dir() and any(path.iterdir()) and not _exported(path))
    if taken:
        raise ConfigError(
            f"{path}: there already, and not marked as an export of lilllm",
            "give another --out, or remove it",
        )


def _is_our_gguf(path: Path) -> bool:
    try:
        return path.is_file() and MARK in GgufFile(path).fields
    except CheckpointError:
        return False


def _exported(path: Path) -> bool:
    if not (path / MANIFEST).is_file():
        return False
    manifest = read_json(path / MANIFEST, ConfigError)
    return isinstance(manifest, dict) and KEY in manifest
