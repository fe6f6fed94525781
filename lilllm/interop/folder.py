"""Copying a model folder: only the files that other programs read, and that hold no code."""

import shutil
from pathlib import Path
from typing import Any

from lilllm.errors import CheckpointError
from lilllm.files import MANIFEST, read_json, write_error

WEIGHTS = ("*.safetensors",)
REST = ("*.json", "*.jinja", "tokenizer.model", "LICENSE*", "README.md")
SHORT = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}


def copy_folder(source: Path, to: Path, *, weights: bool = True) -> None:
    """Copy what a Hugging Face model folder is made of into an existing folder.

    Args:
        source: the model folder.
        to: exists.
        weights: with the safetensors and their index.

    Raises:
        RunError: a file cannot be written.
    """
    for pattern in (*WEIGHTS, *REST) if weights else REST:
        for file in source.glob(pattern):
            is_index = file.name.endswith(".safetensors.index.json")
            if not file.is_file() or file.name == MANIFEST or (is_index and not weights):
                continue
            try:
                shutil.copyfile(file, to / file.name)
            except OSError as err:
                raise write_error(to / file.name, err) from err


def stored_dtype(folder: Path) -> str:
    """The short name of the type that a folder's `config.json` says its weights have."""
    config: Any = read_json(folder / "config.json", CheckpointError)
    name = config.get("dtype") or config.get("torch_dtype") if isinstance(config, dict) else None
    return SHORT.get(name, "f32") if isinstance(name, str) else "f32"
