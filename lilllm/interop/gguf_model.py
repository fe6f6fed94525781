"""What the fields and tensors of a GGUF file say about a model: sizes, names, the order of rows.

llama.cpp pairs neighbours in rotary positions for `llama`, halves for `qwen3`; ours pairs halves,
so the query and key rows of a `llama` file are reordered on the way in and out.

Source: github.com/ggml-org/llama.cpp, convert_hf_to_gguf.py and src/llama-arch.cpp.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lilllm.errors import CheckpointError
from lilllm.interop.gguf_file import DAMAGED, GgufFile
from lilllm.model import Shape, Transformer
from lilllm.model.hugging_face import shape_from_config

CLASSES = {"llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM"}
WHOLE = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}
IN_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
SIZES = {
    "num_hidden_layers": "block_count",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "max_position_embeddings": "context_length",
}
"""Sizes that must be there: ours to theirs, which follow the architecture's name and a dot."""


def gguf_name(name: str) -> str:
    """The name in a GGUF file of one of our tensors."""
    stem, _, kind = name.rpartition(".")
    if stem in WHOLE:
        return f"{WHOLE[stem]}.{kind}"
    _, _, layer, part = stem.split(".", 3)
    return f"blk.{layer}.{IN_LAYER[part]}.{kind}"


def architecture(shape: Shape) -> str:
    """What llama.cpp calls a model of this shape."""
    return "qwen3" if shape.qk_norm else "llama"


def shape_from_gguf(file: GgufFile) -> Shape:
    """The sizes that the fields of a file describe, held against its tensors.

    Raises:
        CheckpointError: another architecture, or a size that is missing, impossible or not that
            of the tensors; the field is named.
    """
    fields, path = file.fields, file.path
    kind = fields.get("general.architecture")
    if not isinstance(kind, str) or kind not in CLASSES:
        raise CheckpointError(
            f"{path}: general.architecture={kind!r} is not supported",
            f"supported: {', '.join(CLASSES)}",
        )
    _refuse_unsupported(fields, kind, path)
    sizes = {ours: _size(fields, f"{kind}.{theirs}", path) for ours, theirs in SIZES.items()}
    heads, width = sizes["num_attention_heads"], sizes["hidden_size"]
    groups = _size(fields, f"{kind}.attention.head_count_kv", path, heads)
    head_dim = _size(fields, f"{kind}.attention.key_length", path, width // heads)
    for key in ("attention.value_length", "rope.dimension_count"):
        if _size(fields, f"{kind}.{key}", path, head_dim) != head_dim:
            raise CheckpointError(
                f"{path}: {kind}.{key}={fields[f'{kind}.{key}']} is not the width of a head, "
                f"{head_dim}: not supported"
            )
    embedding = file.tensors.get("token_embd.weight")
    if embedding is None:
        raise CheckpointError(f"{path}: no tensor token_embd.weight", DAMAGED)
    for layer, there in (
        (sizes["num_hidden_layers"] - 1, True),
        (sizes["num_hidden_layers"], False),
    ):
        if (f"blk.{layer}.attn_norm.weight" in file.tensors) is not there:
            raise CheckpointError(
                f"{path}: {kind}.block_count={sizes['num_hidden_layers']} is not the number of "
                "layers that have tensors",
                DAMAGED,
            )
    epsilon = f"{kind}.attention.layer_norm_rms_epsilon"
    config = sizes | {
        "architectures": [CLASSES[kind]],
        "vocab_size": embedding.shape[0],
        "num_key_value_heads": groups,
        "head_dim": head_dim,
        "rope_theta": _float(fields, f"{kind}.rope.freq_base", path, 10_000.0),
        "rms_norm_eps": _float(fields, epsilon, path, None),
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "attention_bias": "blk.0.attn_q.bias" in file.tensors,
    }
    return shape_from_config(config, path)


def read_weights(file: GgufFile, shape: Shape) -> dict[str, Tensor]:
    """Every tensor of a model of `shape`, by our names, in the widest float type of its matrices.

    Raises:
        CheckpointError: a tensor is missing, unknown or of another shape; it is named.
    """
    with torch.device("meta"):
        wanted = {name: tuple(t.shape) for name, t in Transformer(shape).state_dict().items()}
    theirs = {gguf_name(name): name for name in wanted}
    for what, names in (
        ("no tensor", theirs.keys() - file.tensors.keys()),
        ("the unknown tensor", file.tensors.keys() - theirs.keys()),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise CheckpointError(
                f"{file.path}: {what} {min(names)}{more}",
                "lilllm reads Llama and Qwen3 models with plain rotary positions",
            )
    for name, ours in theirs.items():
        if file.tensors[name].shape != wanted[ours]:
            raise CheckpointError(
                f"{file.path}: {name} has shape {list(file.tensors[name].shape)}, its fields say "
                f"{list(wanted[ours])}"
            )
    state = {ours: file.read(name) for name, ours in theirs.items()}
    types = {tensor.dtype for tensor in state.values() if tensor.ndim > 1}
    widest = types.pop() if len(types) == 1 else torch.float32
    for name, tensor in state.items():
        if is_turned(name, shape):
            tensor = halves(tensor, shape.head_dim)
        state[name] = tensor.to(widest).contiguous()
    return state


def is_turned(name: str, shape: Shape) -> bool:
    """Whether the rows of a tensor are in another order in a GGUF file."""
    part = name.rpartition(".")[0].rpartition(".")[2]
    return not shape.qk_norm and part in {"q_proj", "k_proj"}


def halves(rows: Tensor, head_dim: int) -> Tensor:
    """Rows [H K, ...] from rotary pairs of neighbours to pairs of the two halves of a head."""
    pairs = rows.reshape(-1, head_dim // 2, 2, *rows.shape[1:])
    return pairs.transpose(1, 2).reshape(rows.shape)


def neighbours(rows: Tensor, head_dim: int) -> Tensor:
    """Rows [H K, ...] from pairs of the two halves of a head to pairs of neighbours."""
    pairs = rows.reshape(-1, 2, head_dim // 2, *rows.shape[1:])
    return pairs.transpose(1, 2).reshape(rows.shape)


def _refuse_unsupported(fields: Mapping[str, Any], kind: str, path: Path) -> None:
    refused = {
        f"{kind}.rope.scaling.type": ("none",),
        f"{kind}.expert_count": (0,),
        f"{kind}.attention.sliding_window": (0,),
    }
    for key, plain in refused.items():
        if key in fields and (isinstance(fields[key], np.ndarray) or fields[key] not in plain):
            raise CheckpointError(
                f"{path}: {key}={fields[key]!r} is not supported",
                "lilllm reads dense models with plain rotary positions and full attention",
            )


def _size(fields: Mapping[str, Any], key: str, path: Path, default: int | None = None) -> int:
    value = fields.get(key, default)
    if type(value) is not int or not 0 < value < 1 << 31:
        raise CheckpointError(f"{path}: {key}={value!r} is not a positive whole number")
    return value


def _float(fields: Mapping[str, Any], key: str, path: Path, default: float | None) -> float:
    """A number that was stored as fp32, as people would write it: 1e-05."""
    value = fields.get(key, default)
    if type(value) is not float or not 0 < value < 1e30:
        raise CheckpointError(f"{path}: {key}={value!r} is not a positive number")
    return float(str(np.float32(value)))
