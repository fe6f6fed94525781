"""`config.json` and `generation_config.json`: sizes and sampling defaults in Hugging Face terms.

Knows the published classes and what of them our transformer cannot express. Reading and writing
the weights beside them is `checkpoint.py`.
"""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from lilllm.config.schema import GenerateConfig
from lilllm.errors import CheckpointError
from lilllm.model.quantized import GROUP, Bits
from lilllm.model.transformer import ACTIVATIONS, Shape

OWN_CLASS = "LilllmForCausalLM"
"""What no published class can express is saved under this name; only lilllm loads it."""
MODEL_TYPES = {"LlamaForCausalLM": "llama", "Qwen3ForCausalLM": "qwen3", OWN_CLASS: "lilllm"}
DEFAULT_CONTEXT = {"LlamaForCausalLM": 2048, "Qwen3ForCausalLM": 32_768, OWN_CLASS: 2048}
GENERATES, CLASSIFIES = "ForCausalLM", "ForSequenceClassification"
"""How names of classes end: with an output matrix, or with a classification head instead."""
LARGEST_CONTEXT = 1 << 20  # positions; more would only be a damaged file
HINT = "lilllm reads Llama and Qwen3 models with plain rotary positions"


def config_from_shape(
    shape: Shape,
    dtype: str,
    bos_id: int,
    eos_ids: Sequence[int],
    pad_id: int | None,
    labels: Sequence[str] = (),
) -> dict[str, Any]:
    """The `config.json` of a model; `labels` are the names of a classifier's classes.

    Transformers 5 reads `rope_parameters` and `dtype`, transformers 4 and vLLM `rope_theta` and
    `torch_dtype`: both are written.
    """
    architecture = class_of(shape)
    config: dict[str, Any] = {
        "architectures": [architecture.replace(GENERATES, CLASSIFIES) if labels else architecture],
        "model_type": MODEL_TYPES[architecture],
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.d_model,
        "intermediate_size": shape.d_ff,
        "num_hidden_layers": shape.n_layers,
        "num_attention_heads": shape.n_heads,
        "num_key_value_heads": shape.n_kv_heads,
        "head_dim": shape.head_dim,
        "max_position_embeddings": shape.max_seq_len,
        "rms_norm_eps": shape.norm_eps,
        "rope_theta": shape.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
        "rope_scaling": None,
        "tie_word_embeddings": shape.tie_embeddings,
        "attention_bias": shape.attention_bias,
        "attention_dropout": 0.0,
        "hidden_act": shape.activation,
        "initializer_range": 0.02,
        "use_cache": True,
        "bos_token_id": bos_id,
        "eos_token_id": _one_or_list(eos_ids),
        "pad_token_id": pad_id,
        "dtype": dtype,
        "torch_dtype": dtype,
    }
    if labels:
        config |= {
            "id2label": {str(number): label for number, label in enumerate(labels)},
            "label2id": {label: number for number, label in enumerate(labels)},
        }
    if architecture == OWN_CLASS:
        config |= {"qk_norm": shape.qk_norm, "logit_softcap": shape.logit_softcap}
    elif architecture == "Qwen3ForCausalLM":
        config |= {
            "use_sliding_window": False,
            "sliding_window": None,
            "max_window_layers": shape.n_layers,
            "layer_types": ["full_attention"] * shape.n_layers,
        }
    else:
        config["mlp_bias"] = False
    return config


def class_of(shape: Shape) -> str:
    """The Hugging Face class that a model of this shape is saved as."""
    if shape.logit_softcap:
        return OWN_CLASS
    return "Qwen3ForCausalLM" if shape.qk_norm else "LlamaForCausalLM"


def shape_from_config(config: Any, path: Path) -> Shape:
    """The sizes that a `config.json` describes.

    Raises:
        CheckpointError: a class, activation, bias, attention or position scheme that the
            transformer does not have, or a size that is missing or impossible.
    """
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: not a JSON object")
    architecture = _architecture(config, path)
    theta = _rope_theta(config, path)
    _refuse_unsupported(config, architecture, path)
    n_heads = _size(config, "num_attention_heads", path)
    d_model = _size(config, "hidden_size", path)
    own = architecture == OWN_CLASS
    head_dim = 128 if architecture == "Qwen3ForCausalLM" else d_model // n_heads
    shape = Shape(
        vocab_size=_size(config, "vocab_size", path),
        d_model=d_model,
        n_layers=_size(config, "num_hidden_layers", path),
        n_heads=n_heads,
        n_kv_heads=_size(config, "num_key_value_heads", path, n_heads),
        d_ff=_size(config, "intermediate_size", path),
        max_seq_len=_size(config, "max_position_embeddings", path, DEFAULT_CONTEXT[architecture]),
        rope_theta=theta,
        norm_eps=_number(config, "rms_norm_eps", path, 1e-6),
        tie_embeddings=_flag(config, "tie_word_embeddings", path),
        qk_norm=architecture == "Qwen3ForCausalLM" or (own and _flag(config, "qk_norm", path)),
        attention_bias=_flag(config, "attention_bias", path),
        activation=config.get("hidden_act", "silu"),
        logit_softcap=_number(config, "logit_softcap", path, 1.0) if own else 0.0,
        head_dim=_size(config, "head_dim", path, head_dim),
        n_labels=len(labels_from_config(config, path)),
    )
    if shape.n_heads % shape.n_kv_heads:
        raise CheckpointError(
            f"{path}: num_key_value_heads={shape.n_kv_heads} does not divide "
            f"num_attention_heads={shape.n_heads}"
        )
    if shape.head_dim % 2:
        raise CheckpointError(f"{path}: head_dim={shape.head_dim} is odd; rotary positions pair")
    if shape.max_seq_len > LARGEST_CONTEXT:
        raise CheckpointError(
            f"{path}: max_position_embeddings={shape.max_seq_len} is above {LARGEST_CONTEXT}"
        )
    return shape


def labels_from_config(config: Any, path: Path) -> tuple[str, ...]:
    """The names of a classifier's classes, in order; none for a language model.

    Raises:
        CheckpointError: the model is a classifier, but its classes are not numbered from 0.
    """
    if not any(name.endswith(CLASSIFIES) for name in _class_names(config, path)):
        return ()
    names = config.get("id2label")
    numbers = [str(number) for number in range(len(names))] if isinstance(names, dict) else []
    if not numbers or sorted(names) != sorted(numbers):
        raise CheckpointError(f"{path}: id2label={names!r} does not name classes from 0")
    return tuple(str(names[number]) for number in numbers)


def generation_to_json(
    generation: Mapping[str, Any], bos_id: int, eos_ids: Sequence[int], pad_id: int | None
) -> dict[str, Any]:
    """The `generation_config.json` of sampling options named as in the config's `generate`."""
    temperature = generation.get("temperature", 1.0)
    config: dict[str, Any] = {
        "bos_token_id": bos_id,
        "eos_token_id": _one_or_list(eos_ids),
        "pad_token_id": pad_id,
        "do_sample": temperature > 0,
    }
    if temperature > 0:  # transformers warns about sampling options of greedy decoding
        config["temperature"] = temperature
        config |= {key: generation[key] for key in ("top_k", "top_p") if key in generation}
    for key in ("repetition_penalty", "max_new_tokens"):
        if key in generation:
            config[key] = generation[key]
    for key in ("min_p", "presence_penalty", "frequency_penalty"):
        if generation.get(key):  # the last two are ours: transformers has no such options
            config[key] = generation[key]
    if generation.get("stop"):
        config["stop"] = list(generation["stop"])  # ours: `stop_strings` would need a tokenizer
    return config


def generation_from_json(config: Any) -> dict[str, Any]:
    """Sampling options, named as in the config's `generate`, of a `generation_config.json`.

    Values that a config of ours could not have are left out: they are only defaults.
    """
    if not isinstance(config, dict):
        return {}
    options: dict[str, Any] = {}
    for key in GenerateConfig.model_fields:
        if key == "prompts" or key not in config:
            continue
        value = tuple(config[key]) if isinstance(config[key], list) else config[key]
        with contextlib.suppress(ValueError):  # pydantic's ValidationError is one
            options[key] = getattr(GenerateConfig.model_validate({key: value}, strict=True), key)
    if config.get("do_sample") is False:
        options["temperature"] = 0.0
    return options


def quantization(bits: Bits) -> dict[str, Any]:
    """The `quantization_config` of a model whose matrices are in few bits; only lilllm reads it."""
    return {"quant_method": "lilllm", "bits": bits, "group_size": GROUP}


def bits_of(config: Any) -> Bits | None:
    """The bits that a `config.json` of ours says the matrices have."""
    kept = config.get("quantization_config") if isinstance(config, dict) else None
    return next((bits for bits in get_args(Bits) if kept == quantization(bits)), None)


def token_ids(config: Any, key: str) -> tuple[int, ...]:
    """The ids under `key` (a number, a list or nothing) of a config, as a tuple."""
    value = config.get(key) if isinstance(config, dict) else None
    values = value if isinstance(value, list) else [value]
    return tuple(item for item in values if isinstance(item, int) and item >= 0)


def _one_or_list(ids: Sequence[int]) -> int | list[int]:
    return ids[0] if len(ids) == 1 else list(ids)


def _architecture(config: dict[str, Any], path: Path) -> str:
    names = [name.replace(CLASSIFIES, GENERATES) for name in _class_names(config, path)]
    if not names:  # a config without it is told by its model type
        names = [key for key, kind in MODEL_TYPES.items() if kind == config.get("model_type")]
    if len(names) != 1 or names[0] not in MODEL_TYPES:
        found = config.get("architectures") or config.get("model_type")
        raise CheckpointError(
            f"{path}: architectures={found!r} is not supported",
            f"supported: {', '.join(MODEL_TYPES)}",
        )
    return names[0]


def _class_names(config: Any, path: Path) -> list[str]:
    names = config.get("architectures") if isinstance(config, dict) else config
    if names is not None and not (
        isinstance(names, list) and all(isinstance(name, str) for name in names)
    ):
        raise CheckpointError(f"{path}: architectures={names!r} is not a list of names")
    return list(names or ())


def _rope_theta(config: dict[str, Any], path: Path) -> float:
    """The base of the rotary frequencies; every kind of scaling is refused."""
    theta = _number(config, "rope_theta", path, 10_000.0)
    for key in ("rope_scaling", "rope_parameters"):
        rope = config.get(key)
        if rope is None:
            continue
        if not isinstance(rope, dict):
            raise CheckpointError(f"{path}: {key}={rope!r} is not a mapping")
        kind = rope.get("rope_type", rope.get("type", "default"))
        if kind != "default":
            raise CheckpointError(
                f"{path}: {key}.rope_type={kind!r}: scaled rotary positions are not supported", HINT
            )
        if rope.get("partial_rotary_factor", 1.0) != 1.0:
            raise CheckpointError(f"{path}: {key}.partial_rotary_factor is not supported", HINT)
        if "rope_theta" in rope:
            theta = _number(rope, "rope_theta", path, theta)
    return theta


def _refuse_unsupported(config: dict[str, Any], architecture: str, path: Path) -> None:
    layer_types = config.get("layer_types") or []
    if not isinstance(layer_types, list):
        raise CheckpointError(f"{path}: layer_types={layer_types!r} is not a list")
    sliding = architecture == "Qwen3ForCausalLM" and config.get("use_sliding_window")
    refused = {
        "hidden_act": config.get("hidden_act", "silu") not in list(ACTIVATIONS),
        "mlp_bias": bool(config.get("mlp_bias")),
        "use_sliding_window": bool(sliding),
        "layer_types": any(kind != "full_attention" for kind in layer_types),
        "quantization_config": bool(config.get("quantization_config")) and not bits_of(config),
        "partial_rotary_factor": config.get("partial_rotary_factor", 1.0) not in (None, 1.0),
    }
    for key, wrong in refused.items():
        if wrong:
            raise CheckpointError(f"{path}: {key}={config[key]!r} is not supported", HINT)


def _size(config: dict[str, Any], key: str, path: Path, default: int | None = None) -> int:
    value = config.get(key)
    if value is None and default is not None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1 << 31:
        raise CheckpointError(f"{path}: {key}={value!r} is not a positive whole number")
    return value


def _number(config: dict[str, Any], key: str, path: Path, default: float) -> float:
    value = config.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e300:
        raise CheckpointError(f"{path}: {key}={value!r} is not a positive number")
    return float(value)


def _flag(config: dict[str, Any], key: str, path: Path) -> bool:
    value = config.get(key, False)
    if not isinstance(value, bool):
        raise CheckpointError(f"{path}: {key}={value!r} is not true or false")
    return value
