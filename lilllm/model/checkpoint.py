"""Checkpoint folders: a transformer as a Hugging Face model folder, written and read.

Weights travel as safetensors under Hugging Face's names, never as a pickle. The tokenizer beside
them belongs to `tokenizer/`, what resuming needs to `training/`, and the atomic rename with its
manifest to `files.new_folder`, which the writer wraps around `save_model`.
"""

import errno
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lilllm.config.layout import RUNS
from lilllm.errors import CheckpointError
from lilllm.events import Note, Report
from lilllm.files import (
    MANIFEST,
    manifest_problem,
    read_json,
    sha256_file,
    sha256_json,
    write_error,
    write_json,
)
from lilllm.model import hugging_face
from lilllm.model.quantized import SCALES, VALUES, Bits, quantize_state, unpack
from lilllm.model.transformer import Shape, Transformer, rotary_tables

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
OURS = "lilllm.yaml"  # in every checkpoint folder that a run of ours wrote
FLOATS = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}
DAMAGED = "use an earlier checkpoint of the run, or copy or train it again"


def save_model(
    folder: Path,
    model: Transformer,
    *,
    bos_id: int,
    eos_ids: Sequence[int],
    pad_id: int | None,
    generation: Mapping[str, Any],
    weights: Mapping[str, Tensor] | None = None,
    labels: Sequence[str] = (),
    bits: Bits | None = None,
) -> None:
    """Write `model.safetensors`, `config.json` and `generation_config.json` into a folder.

    Args:
        folder: exists; usually the temporary one of `files.new_folder`.
        model: saved in the type of its weights.
        bos_id: the token that starts every text.
        eos_ids: tokens that end generation.
        pad_id: the padding token, if there is one.
        generation: sampling defaults, named as in the config's `generate` section.
        labels: names of the classes, of a model with a classification head.
        weights: the model's state dict where its parameters are elsewhere (gathered shards).
        bits: 8 or 4 rounds the matrices to that; such a folder is only for lilllm.

    Raises:
        RunError: the disk is full or the folder cannot be written.
    """
    state = weights if weights is not None else model.state_dict()
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    dtype = FLOATS[tensors["model.embed_tokens.weight"].dtype]
    tensors = quantize_state(tensors, bits) if bits else tensors
    path = folder / WEIGHTS
    try:
        save_file(tensors, path, metadata={"format": "pt"})
    except OSError as err:
        raise write_error(path, err) from err
    except SafetensorError as err:  # it wraps the system's error into its text
        raise write_error(path, OSError(errno.EIO, str(err))) from err
    specials = bos_id, list(eos_ids), pad_id
    config = hugging_face.config_from_shape(model.shape, dtype, *specials, labels)
    if bits:
        config["quantization_config"] = hugging_face.quantization(bits)
    write_json(folder / "config.json", config)
    write_json(
        folder / "generation_config.json", hugging_face.generation_to_json(generation, *specials)
    )


def load_model(
    folder: Path,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    dropout: float = 0.0,
) -> Transformer:
    """Read a model from our checkpoint folder or from a Hugging Face Llama or Qwen3 folder.

    Args:
        folder: holds `config.json` and one or more `.safetensors` files.
        dtype: the weights are converted to this.
        device: where the weights go.
        dropout: for training it further; a checkpoint has none of its own.

    Raises:
        CheckpointError: something is missing, damaged or not supported; the message names the
            file and the field or tensor.
    """
    shape = replace(load_shape(folder), dropout=dropout)
    sources = _tensor_files(folder)
    if f"model.layers.{shape.n_layers - 1}.input_layernorm.weight" not in sources:
        raise CheckpointError(
            f"{folder}: config.json says num_hidden_layers={shape.n_layers}, but the weights have "
            f"no model.layers.{shape.n_layers - 1}.input_layernorm.weight",
            DAMAGED,
        )
    with torch.device("meta"):
        model = Transformer(shape)
    state = _read_tensors(folder, sources, model, dtype, torch.device(device))
    model.load_state_dict(state, assign=True)
    model.cos, model.sin = (
        table.to(device)
        for table in rotary_tables(shape.max_seq_len, shape.head_dim, shape.rope_theta)
    )
    return model


def weights_hash(folder: Path) -> str:
    """A hash of all weights of a checkpoint folder, in one file or many."""
    return sha256_json({file.name: sha256_file(file) for file in folder.glob("*.safetensors")})


def load_weights(folder: Path, model: Transformer) -> None:
    """Copy the weights of a checkpoint folder into a model of the same shape, in its own type.

    Raises:
        CheckpointError: see `load_model`; also when the shapes differ.
    """
    state = _read_tensors(folder, _tensor_files(folder), model, None, torch.device("cpu"))
    model.load_state_dict(state)


def load_shape(folder: Path) -> Shape:
    """The sizes in a folder's `config.json`, without reading weights.

    Raises:
        CheckpointError: it is missing, damaged or of a model that is not supported.
    """
    return hugging_face.shape_from_config(_read_config(folder), folder / "config.json")


def load_labels(folder: Path) -> tuple[str, ...]:
    """The names of the classes that a folder's model tells apart; none for a language model.

    Raises:
        CheckpointError: its `config.json` is missing or damaged.
    """
    return hugging_face.labels_from_config(_read_config(folder), folder / "config.json")


def load_generation(folder: Path) -> dict[str, Any]:
    """Sampling defaults of a folder, named as in the config's `generate`; absent ones left out."""
    path = folder / "generation_config.json"
    return hugging_face.generation_from_json(_read_optional(path))


def load_bits(folder: Path) -> Bits | None:
    """Bits of the matrices of a folder that was saved in few; None otherwise."""
    return hugging_face.bits_of(_read_config(folder))


def load_stop_ids(folder: Path) -> frozenset[int]:
    """Ids of the tokens that a folder's own configs say end a text."""
    configs = _read_optional(folder / "generation_config.json"), _read_config(folder)
    return frozenset(
        token for config in configs for token in hugging_face.token_ids(config, "eos_token_id")
    )


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder looks like a model: a `config.json` beside safetensors. Reads nothing."""
    return (folder / "config.json").is_file() and (
        (folder / WEIGHTS).is_file() or (folder / INDEX).is_file()
    )


def is_ours(folder: Path) -> bool:
    """Whether lilllm wrote the folder, so that it must have a valid manifest."""
    return (
        (folder / MANIFEST).is_file()
        or (folder / OURS).is_file()
        or RUNS.resolve() in folder.resolve().parents
    )


def verify(folder: Path, report: Report) -> None:
    """Check sizes and hashes of a folder that lilllm wrote; say so when it is someone else's.

    Raises:
        CheckpointError: not a model folder, or not the files that were written.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder")
    if is_ours(folder):
        if problem := manifest_problem(folder):
            raise CheckpointError(problem, DAMAGED)
    elif is_checkpoint(folder):
        report(Note(f"{folder} has no {MANIFEST}: read as it is, unverified"))
    if not is_checkpoint(folder):
        _tensor_files(folder)  # says what is missing
        _read_config(folder)


def _read_config(folder: Path) -> Any:
    path = folder / "config.json"
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such checkpoint folder")
    if not path.is_file():
        raise CheckpointError(f"{folder}: no config.json, so it is not a checkpoint folder")
    return read_json(path, CheckpointError)


def _read_optional(path: Path) -> Any:
    return read_json(path, CheckpointError) if path.is_file() else {}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A safetensors file; what is wrong with it becomes a CheckpointError."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError as err:
        raise CheckpointError(f"{path}: missing", DAMAGED) from err
    except (SafetensorError, OSError, ValueError, MemoryError, OverflowError) as err:
        raise CheckpointError(f"{path}: not a whole safetensors file ({err})", DAMAGED) from err


def _tensor_files(folder: Path) -> dict[str, Path]:
    """Which file holds each tensor."""
    if (folder / WEIGHTS).is_file():
        files = [folder / WEIGHTS]
    elif (folder / INDEX).is_file():
        index = read_json(folder / INDEX, CheckpointError)
        names = index.get("weight_map") if isinstance(index, dict) else None
        if not isinstance(names, dict) or not all(isinstance(n, str) for n in names.values()):
            raise CheckpointError(f"{folder / INDEX}: no weight_map from tensors to file names")
        for name in names.values():
            if Path(name).name != name:
                raise CheckpointError(f"{folder / INDEX}: {name!r} is not a file of the folder")
        files = [folder / name for name in sorted(set(names.values()))]
    else:
        pickles = sorted(
            file.name for kind in ("*.bin", "*.pt", "*.pth") for file in folder.glob(kind)
        )
        if pickles:
            raise CheckpointError(
                f"{folder / pickles[0]}: pickled weights are not read, they can run code",
                "convert the model to safetensors",
            )
        raise CheckpointError(f"{folder}: no {WEIGHTS}, so it is not a checkpoint folder")
    sources: dict[str, Path] = {}
    for file in files:
        with _opened(file) as tensors:
            sources |= dict.fromkeys(tensors.keys(), file)
    return sources


def _read_tensors(
    folder: Path,
    sources: dict[str, Path],
    model: Transformer,
    dtype: torch.dtype | None,
    device: torch.device,
) -> dict[str, Tensor]:
    """Every tensor of `model`, checked for name, shape and type. `dtype` None: the file's own."""
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    kept = {name + VALUES if name + VALUES in sources else name: name for name in wanted}
    scales = {key.removesuffix(VALUES) + SCALES for key in kept if key not in wanted}
    tied = model.shape.tie_embeddings and "lm_head.weight" in sources
    extra = sorted(
        name
        for name in sources.keys() - kept.keys() - scales
        if not name.endswith("rotary_emb.inv_freq") and not (tied and name == "lm_head.weight")
    )
    _refuse_names(folder, "lack", sorted((kept.keys() | scales) - sources.keys()))
    _refuse_names(folder, "have the unknown", extra)
    state: dict[str, Tensor] = {}
    for path in sorted(set(sources.values())):
        with _opened(path) as file:
            for key in file.keys():  # noqa: SIM118 - a safetensors file is not a mapping
                if key not in kept:
                    continue
                name = kept[key]
                if key == name:
                    tensor = _read_floats(file, path, name, wanted[name])
                else:
                    tensor = _read_packed(file, path, name, wanted[name])
                # a copy, because the tensor may be a view into the mapped file
                state[name] = tensor.to(device, dtype or tensor.dtype, copy=True)
    if tied:
        _check_tied(sources["lm_head.weight"], state["model.embed_tokens.weight"])
    return state


def _read_floats(file: Any, path: Path, name: str, wanted: tuple[int, ...]) -> Tensor:
    """A tensor as it is in the file, of the wanted shape."""
    _refuse_shape(path, name, tuple(file.get_slice(name).get_shape()), wanted)
    tensor: Tensor = file.get_tensor(name)
    if tensor.dtype not in FLOATS:
        raise CheckpointError(
            f"{path}: {name} has type {tensor.dtype}; read are {', '.join(FLOATS.values())}"
        )
    return tensor


def _read_packed(file: Any, path: Path, name: str, wanted: tuple[int, ...]) -> Tensor:
    """A matrix that is in few bits in the file, as the fp32 numbers that it stands for."""
    try:
        matrix = unpack(name, file.get_tensor(name + VALUES), file.get_tensor(name + SCALES))
    except ValueError as err:
        raise CheckpointError(f"{path}: {err}", DAMAGED) from err
    tensor = matrix.dequantize()
    _refuse_shape(path, name, tuple(tensor.shape), wanted)
    return tensor


def _refuse_shape(path: Path, name: str, found: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    if found != wanted:
        raise CheckpointError(
            f"{path}: {name} has shape {list(found)}, config.json says {list(wanted)}"
        )


def _refuse_names(folder: Path, verb: str, names: list[str]) -> None:
    if names:
        listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        noun = "tensor" if len(names) == 1 else "tensors"
        raise CheckpointError(f"{folder}: the weights {verb} {noun} {listed}", hugging_face.HINT)


def _check_tied(path: Path, embedding: Tensor) -> None:
    with _opened(path) as file:
        head = file.get_tensor("lm_head.weight").to(embedding)
    if not torch.equal(head, embedding):
        raise CheckpointError(
            f"{path}: lm_head.weight differs from model.embed_tokens.weight, but config.json says "
            "tie_word_embeddings=true",
            "set tie_word_embeddings to false if the output matrix is its own",
        )
