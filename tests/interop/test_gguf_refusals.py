"""GGUF files of models that are not ours, or that contradict themselves: the field is named."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lilllm.errors import CheckpointError
from lilllm.interop.gguf_file import GgufFile
from lilllm.interop.gguf_write import write_gguf
from lilllm.stages.import_model import run as import_model
from tests.interop.peers import draw_model, write_anyhow
from tests.stages.tiny_run import tiny_tokenizer

torch.set_num_threads(1)
pytest.importorskip("gguf", reason="the package gguf is not installed")

FIELDS: list[tuple[str, Any]] = [
    ("general.architecture", "mamba"),
    ("general.alignment", 0),
    ("llama.block_count", 1),
    ("llama.block_count", 3),
    ("llama.block_count", (1 << 32) - 1),
    ("llama.embedding_length", 0),
    ("llama.feed_forward_length", None),
    ("llama.attention.head_count", [4, 4]),
    ("llama.attention.value_length", 8),
    ("llama.rope.dimension_count", 8),
    ("llama.rope.scaling.type", "yarn"),
    ("llama.rope.freq_base", -1.0),
    ("llama.attention.layer_norm_rms_epsilon", None),
    ("llama.attention.sliding_window", 128),
    ("llama.expert_count", 8),
    ("tokenizer.ggml.model", "bert"),
    ("tokenizer.ggml.pre", "tekken"),
    ("tokenizer.ggml.tokens", ["a", "b"]),
    ("tokenizer.ggml.merges", ["abc"]),
    ("tokenizer.ggml.add_eos_token", True),
    ("tokenizer.ggml.bos_token_id", 4000),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> GgufFile:
    path = tmp_path_factory.mktemp("whole") / "model.gguf"
    tokenizer = tiny_tokenizer()
    model = draw_model(tokenizer)
    write_gguf(path, model, tokenizer, name="x", dtype="f32", warn=lambda text: None)
    return GgufFile(path)


def refusal(path: Path, fields: dict[str, Any], tensors: dict[str, torch.Tensor]) -> str:
    write_anyhow(path, fields, tensors)
    with pytest.raises(CheckpointError) as caught:
        import_model(path, path.parent / "to", lambda event: None)
    assert str(path) in caught.value.message
    assert not (path.parent / "to").exists()
    return caught.value.message


def read_all(file: GgufFile) -> dict[str, torch.Tensor]:
    return {name: file.read(name) for name in file.tensors}


@pytest.mark.parametrize(("key", "value"), FIELDS, ids=[f"{key}={v}" for key, v in FIELDS])
def test_a_field_that_is_wrong_is_named(
    key: str, value: Any, whole: GgufFile, tmp_path: Path
) -> None:
    message = refusal(tmp_path / "x.gguf", {**whole.fields, key: value}, read_all(whole))
    wanted = "token_type" if key == "tokenizer.ggml.tokens" else key
    assert wanted.removesuffix("tokens").removesuffix("merges") in message


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("blk.1.ffn_up.weight", None),
        ("blk.1.ffn_up.weight", torch.zeros(96, 63)),
        ("output_norm.weight", torch.zeros(2, 32)),
        ("token_embd.weight", None),
        ("rope_freqs.weight", torch.zeros(8)),
        ("blk.0.attn_q_norm.weight", torch.zeros(16)),
        ("blk.0.attn_q.bias", torch.zeros(64)),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(
    name: str, tensor: torch.Tensor | None, whole: GgufFile, tmp_path: Path
) -> None:
    tensors = read_all(whole)
    tensors.pop(name, None)
    if tensor is not None:
        tensors[name] = tensor
    message = refusal(tmp_path / "x.gguf", whole.fields, tensors)
    assert name.removesuffix("_q.bias") in message


def test_tensors_may_not_overlap_or_be_there_twice(whole: GgufFile, tmp_path: Path) -> None:
    raw = whole.path.read_bytes()
    for old, new, wanted in (
        (b"blk.1.attn_norm.weight", b"blk.0.attn_norm.weight", "twice"),
        (b"tokenizer.ggml.model", b"tokenizer.ggml.token", "model"),
        (b"GGUF\3", b"GGUF\7", "version 7"),
        (b"GGUF\3", b"GGML\3", "not a GGUF file"),
    ):
        path = tmp_path / "x.gguf"
        path.write_bytes(raw.replace(old, new, 1))
        with pytest.raises(CheckpointError, match=wanted):
            import_model(path, tmp_path / "to", lambda event: None)
    at = raw.index(b"blk.1.attn_norm.weight") + len(b"blk.1.attn_norm.weight") + 4 + 8 + 4
    path.write_bytes(raw[:at] + bytes(8) + raw[at + 8 :])  # at the beginning, as another one
    with pytest.raises(CheckpointError, match="overlap"):
        import_model(path, tmp_path / "to", lambda event: None)
