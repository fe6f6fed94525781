"""A checkpoint as a GGUF file that llama.cpp loads as it is, written by the package `gguf`.

Tensors are converted one at a time. What llama.cpp cannot compute or tokenize is refused.
"""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lilllm import __version__
from lilllm.errors import ConfigError
from lilllm.files import write_error
from lilllm.interop.gguf_file import import_gguf
from lilllm.interop.gguf_model import architecture, gguf_name, is_turned, neighbours
from lilllm.interop.gguf_tokenizer import tokenizer_to_fields
from lilllm.model import Shape, Transformer
from lilllm.tokenizer import Tokenizer

TYPES = {"f32": "F32", "f16": "F16", "bf16": "BF16", "q8_0": "Q8_0"}
"""Our names of types, and the package's."""

FILE_TYPES = {"f32": "ALL_F32"} | {
    dtype: f"MOSTLY_{name}" for dtype, name in TYPES.items() if dtype != "f32"
}
Q8_BLOCK = 32  # values that share a scale
MARK = "lilllm.version"  # a field that says who wrote the file

Warn = Callable[[str], None]


def write_gguf(
    path: Path, model: Transformer, tokenizer: Tokenizer, *, name: str, dtype: str, warn: Warn
) -> None:
    """Write a model and its tokenizer into one file.

    Args:
        path: to be made.
        model: in any float type.
        tokenizer: its own.
        name: shown by programs that list models.
        dtype: of the matrices, a key of `TYPES`; vectors are fp32.
        warn: is told what cannot have that type.

    Raises:
        ConfigError: llama.cpp cannot run the model or its tokenizer, a weight is too large for
            the type, or the package is missing.
        RunError: the disk is full or the folder cannot be written.
    """
    gguf = import_gguf()
    shape = model.shape
    _refuse_inexpressible(shape)
    fields = tokenizer_to_fields(tokenizer, shape.vocab_size)
    state = model.state_dict()
    types = {key: _type_of(key, tensor, dtype, warn) for key, tensor in state.items()}
    try:
        with closing(gguf.GGUFWriter(path, architecture(shape))) as writer:
            _describe(writer, shape, name)
            writer.add_file_type(gguf.LlamaFileType[FILE_TYPES[dtype]])
            if dtype == "q8_0":
                writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
            for field, value in fields.items():
                _add_field(writer, field, value)
            for key, tensor in state.items():
                kind = gguf.GGMLQuantizationType[TYPES[types[key]]]
                block, size = gguf.GGML_QUANT_SIZES[kind]
                n_bytes = tensor.numel() // block * size
                wide = np.dtype(np.float32)  # not uint8, which would mean a shape in bytes
                writer.add_tensor_info(gguf_name(key), tuple(tensor.shape), wide, n_bytes, kind)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            for key, tensor in state.items():
                rows = neighbours(tensor, shape.head_dim) if is_turned(key, shape) else tensor
                writer.write_tensor_data(_convert(key, rows, types[key]))
    except OSError as err:
        raise write_error(path, err) from err


def _refuse_inexpressible(shape: Shape) -> None:
    """What llama.cpp's `llama` and `qwen3` do not compute."""
    refused = {
        "classification head": bool(shape.n_labels),
        "logit_softcap": bool(shape.logit_softcap),
        "activation": shape.activation != "silu",
        "attention_bias with qk_norm": shape.qk_norm and shape.attention_bias,
    }
    for key, wrong in refused.items():
        if wrong:
            raise ConfigError(
                f"llama.cpp cannot run this model: it has no {key} like this one's",
                "train one without it to export it to gguf",
            )


def _describe(writer: Any, shape: Shape, name: str) -> None:
    writer.add_type("model")
    writer.add_name(name)
    writer.add_string(MARK, __version__)
    writer.add_vocab_size(shape.vocab_size)
    writer.add_context_length(shape.max_seq_len)
    writer.add_embedding_length(shape.d_model)
    writer.add_block_count(shape.n_layers)
    writer.add_feed_forward_length(shape.d_ff)
    writer.add_head_count(shape.n_heads)
    writer.add_head_count_kv(shape.n_kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_layer_norm_rms_eps(shape.norm_eps)


def _add_field(writer: Any, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


def _type_of(key: str, tensor: Tensor, dtype: str, warn: Warn) -> str:
    if tensor.ndim == 1:
        return "f32"
    if dtype == "q8_0" and tensor.shape[-1] % Q8_BLOCK:
        warn(f"{key} is f16: its rows of {tensor.shape[-1]} are no multiple of {Q8_BLOCK}")
        return "f16"
    return dtype


def _convert(key: str, tensor: Tensor, dtype: str) -> Any:
    """The bytes of a tensor in a type, as an array."""
    if dtype == "q8_0":
        gguf = import_gguf()
        return gguf.quantize(tensor.float().numpy(), gguf.GGMLQuantizationType.Q8_0)
    if dtype == "bf16":
        return tensor.to(torch.bfloat16).contiguous().view(torch.int16).numpy()
    if dtype == "f16":
        tensor = tensor.to(torch.float16)
        if not torch.isfinite(tensor).all():
            raise ConfigError(f"{key} has weights that f16 cannot hold", "take --dtype bf16")
    else:
        tensor = tensor.float()
    return tensor.contiguous().numpy()
