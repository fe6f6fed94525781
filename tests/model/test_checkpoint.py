"""Checkpoint folders against transformers, in both directions, and every way to damage one."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from lilllm.errors import CheckpointError
from lilllm.events import Note, silent
from lilllm.files import new_folder
from lilllm.model import (
    Shape,
    Transformer,
    load_generation,
    load_model,
    load_shape,
    load_stop_ids,
    load_weights,
    save_model,
    verify,
)

torch.set_num_threads(1)

SMALL = {
    "vocab_size": 97,
    "d_model": 32,
    "n_layers": 3,
    "n_heads": 4,
    "d_ff": 48,
    "max_seq_len": 64,
}
SHAPES = {
    "tied with grouped heads": Shape(**SMALL, n_kv_heads=2),
    "untied": Shape(**SMALL, n_kv_heads=4, tie_embeddings=False, rope_theta=500.0, norm_eps=1e-3),
    "one kv head": Shape(**SMALL, n_kv_heads=1),
    "qk_norm": Shape(**SMALL, n_kv_heads=2, qk_norm=True),
    "qk_norm untied": Shape(**SMALL, n_kv_heads=2, qk_norm=True, tie_embeddings=False),
    "wide heads": Shape(**SMALL, n_kv_heads=2, head_dim=12),
    "attention bias": Shape(**SMALL, n_kv_heads=2, attention_bias=True),
    "squared ReLU": Shape(**SMALL, n_kv_heads=2, activation="relu2"),
    "qk_norm, bias, wide heads": Shape(
        **SMALL, n_kv_heads=2, qk_norm=True, attention_bias=True, head_dim=16, rope_theta=1e6
    ),
}


def random_model(shape: Shape, seed: int = 1) -> Transformer:
    """Weights that leave no parameter at its neutral value."""
    model = Transformer(shape, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def save(folder: Path, model: Transformer, **generation: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_model(folder, model, bos_id=0, eos_ids=[0, 2], pad_id=3, generation=generation)
    return folder


def relative_difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


IDS = torch.randint(0, 97, (2, 40), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@torch.no_grad()
def test_transformers_loads_our_folder_with_equal_logits(shape: Shape, tmp_path: Path) -> None:
    model = random_model(shape)
    save(tmp_path, model)
    theirs, info = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    assert type(theirs).__name__ == ("Qwen3" if shape.qk_norm else "Llama") + "ForCausalLM"
    assert theirs.dtype == torch.float32
    assert theirs.generation_config.eos_token_id == [0, 2]
    assert relative_difference(model(IDS), theirs(IDS).logits) < 1e-4


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@torch.no_grad()
def test_we_load_a_folder_of_transformers_with_equal_logits(shape: Shape, tmp_path: Path) -> None:
    kind = transformers.Qwen3Config if shape.qk_norm else transformers.LlamaConfig
    config = kind(
        vocab_size=shape.vocab_size,
        hidden_size=shape.d_model,
        intermediate_size=shape.d_ff,
        num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.n_heads,
        num_key_value_heads=shape.n_kv_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=shape.max_seq_len,
        rms_norm_eps=shape.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        tie_word_embeddings=shape.tie_embeddings,
        attention_bias=shape.attention_bias,
        hidden_act=shape.activation,
    )
    torch.manual_seed(0)
    theirs = transformers.AutoModelForCausalLM.from_config(config).eval()
    for parameter in theirs.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    theirs.save_pretrained(tmp_path)
    assert load_shape(tmp_path) == shape
    assert relative_difference(load_model(tmp_path)(IDS), theirs(IDS).logits) < 1e-4


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_saved_model_is_read_back_bit_for_bit(shape: Shape, tmp_path: Path) -> None:
    model = random_model(shape)
    save(tmp_path, model)
    loaded = load_model(tmp_path)
    again = Transformer(shape, seed=5)
    load_weights(tmp_path, again)
    assert loaded.shape == shape
    assert not (tmp_path / "lm_head.weight").exists()
    assert ("lm_head.weight" in load_file(tmp_path / "model.safetensors")) != shape.tie_embeddings
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])
        assert torch.equal(tensor, again.state_dict()[name])
    assert all(parameter.requires_grad for parameter in loaded.parameters())


def test_a_model_that_no_published_class_has_is_saved_under_our_own(tmp_path: Path) -> None:
    shape = Shape(**SMALL, n_kv_heads=2, qk_norm=True, logit_softcap=5.0)
    model = random_model(shape)
    save(tmp_path, model)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [
        "LilllmForCausalLM"
    ]
    ids = torch.arange(20)[None]
    assert load_model(tmp_path).shape == shape
    torch.testing.assert_close(load_model(tmp_path)(ids), model(ids), rtol=0, atol=0)
    assert model(ids).abs().max() < 5
    with pytest.raises((ValueError, KeyError)):
        transformers.AutoModelForCausalLM.from_pretrained(tmp_path)


def test_sharded_half_precision_weights_are_read(tmp_path: Path) -> None:
    model = random_model(SHAPES["untied"]).to(torch.bfloat16)
    save(tmp_path / "ours", model)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    assert theirs.dtype == torch.bfloat16
    theirs.save_pretrained(tmp_path / "sharded", max_shard_size="10KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 2
    loaded = load_model(tmp_path / "sharded")
    assert loaded.model.embed_tokens.weight.dtype == torch.float32
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor.float(), loaded.state_dict()[name])
    assert (
        load_model(tmp_path / "sharded", dtype=torch.bfloat16).lm_head.weight.dtype
        == torch.bfloat16
    )


def test_a_config_of_transformers_4_is_read(tmp_path: Path) -> None:
    shape = Shape(**SMALL, n_kv_heads=2, rope_theta=1234.5)
    save(tmp_path, random_model(shape))
    config = json.loads((tmp_path / "config.json").read_text())
    for key in ("rope_parameters", "dtype", "head_dim", "architectures"):
        del config[key]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load_shape(tmp_path) == shape


def test_generation_defaults_and_stop_ids_come_back(tmp_path: Path) -> None:
    options = {
        "max_new_tokens": 9,
        "temperature": 0.5,
        "top_k": 0,
        "top_p": 0.9,
        "repetition_penalty": 1.1,
        "stop": ("END",),
    }
    save(tmp_path / "a", random_model(SHAPES["untied"]), **options)
    assert load_generation(tmp_path / "a") == options
    assert load_stop_ids(tmp_path / "a") == {0, 2}
    save(tmp_path / "b", random_model(SHAPES["untied"]), temperature=0.0)
    assert load_generation(tmp_path / "b") == {"temperature": 0.0}


def test_generation_defaults_that_a_config_could_not_have_are_left_out(tmp_path: Path) -> None:
    text = """{
        "max_new_tokens": 1e400, "temperature": true, "top_k": Infinity, "top_p": 0, "min_p": "0.1",
        "repetition_penalty": 0.001, "presence_penalty": -101, "frequency_penalty": 1,
        "stop": ["a", 1], "prompts": ["b"], "num_beams": 1
    }"""
    (tmp_path / "generation_config.json").write_text(text)
    assert load_generation(tmp_path) == {"frequency_penalty": 1.0}


def edit_config(folder: Path, **fields: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("architectures", ["GPT2LMHeadModel"]),
        ("rope_scaling", {"type": "linear", "factor": 2.0}),
        ("rope_parameters", {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0}),
        ("rope_scaling", "linear"),
        ("hidden_act", "gelu"),
        ("mlp_bias", True),
        ("layer_types", ["sliding_attention"] * 3),
        ("num_attention_heads", 0),
        ("num_key_value_heads", 3),
        ("hidden_size", "32"),
        ("head_dim", 7),
        ("rms_norm_eps", -1),
        ("tie_word_embeddings", "yes"),
        ("max_position_embeddings", 1 << 30),
        ("num_hidden_layers", 1_000_000_000),
        ("quantization_config", {"bits": 4}),
    ],
)
def test_a_config_we_cannot_express_is_refused_by_name(
    field: str, value: object, tmp_path: Path
) -> None:
    save(tmp_path, random_model(SHAPES["tied with grouped heads"]))
    edit_config(tmp_path, **{field: value})
    with pytest.raises(CheckpointError) as failure:
        load_model(tmp_path)
    assert field in failure.value.message


def test_missing_extra_and_misshapen_tensors_are_named(tmp_path: Path) -> None:
    folder = save(tmp_path, random_model(SHAPES["tied with grouped heads"]))
    tensors = load_file(folder / "model.safetensors")
    weights = folder / "model.safetensors"

    save_file({k: v for k, v in tensors.items() if k != "model.norm.weight"}, weights)
    with pytest.raises(CheckpointError, match=r"lack tensor model\.norm\.weight"):
        load_model(folder)
    save_file(tensors | {"model.surprise": torch.ones(1)}, weights)
    with pytest.raises(CheckpointError, match=r"unknown tensor model\.surprise"):
        load_model(folder)
    save_file(tensors | {"model.norm.weight": torch.ones(5)}, weights)
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight has shape \[5\].* \[32\]"):
        load_model(folder)
    save_file(tensors | {"model.norm.weight": torch.ones(32, dtype=torch.int8)}, weights)
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight has type torch\.int8"):
        load_model(folder)
    save_file(tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"] + 1}, weights)
    with pytest.raises(CheckpointError, match=r"lm_head\.weight differs"):
        load_model(folder)
    save_file(tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"].clone()}, weights)
    load_model(folder)


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: b"",
        lambda raw: raw[:5],
        lambda raw: raw[:200],
        lambda raw: raw[:-1],
        lambda raw: (1 << 62).to_bytes(8, "little") + raw[8:],
        lambda raw: raw[:8] + b"x" + raw[9:],
        lambda raw: b"PK\x03\x04" + raw[4:],
    ],
    ids=["empty", "no header", "cut header", "cut data", "huge header", "not JSON", "a zip"],
)
def test_damaged_safetensors_are_a_checkpoint_error(damage, tmp_path: Path) -> None:
    folder = save(tmp_path, random_model(SHAPES["untied"]))
    weights = folder / "model.safetensors"
    weights.write_bytes(damage(weights.read_bytes()))
    with pytest.raises(CheckpointError, match=r"model\.safetensors: not a whole safetensors file"):
        load_model(folder)


def test_missing_files_and_pickles_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint folder"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load_model(tmp_path)
    folder = save(tmp_path / "model", random_model(SHAPES["untied"]))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin: pickled"):
        load_model(folder)
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../b"}}')
    with pytest.raises(CheckpointError, match="not a file of the folder"):
        load_model(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="not valid JSON"):
        load_model(folder)


def test_verify_checks_our_folders_and_says_so_of_foreign_ones(tmp_path: Path) -> None:
    model = random_model(SHAPES["untied"])
    with new_folder(tmp_path / "ours") as folder:
        save(folder, model)
    verify(tmp_path / "ours", silent)

    foreign = save(tmp_path / "foreign", model)
    heard: list[object] = []
    verify(foreign, heard.append)
    assert len(heard) == 1 and isinstance(heard[0], Note) and "unverified" in heard[0].text

    (foreign / "lilllm.yaml").write_text("name: x")  # ours, but never completed
    with pytest.raises(CheckpointError, match="never completed"):
        verify(foreign, silent)

    weights = tmp_path / "ours" / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-7] ^= 1
    weights.write_bytes(raw)
    with pytest.raises(CheckpointError, match="SHA-256"):
        verify(tmp_path / "ours", silent)


def test_a_folder_under_runs_without_manifest_is_no_checkpoint(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = save(Path("runs/a/pretrain/step-00000001"), random_model(SHAPES["untied"]))
    with pytest.raises(CheckpointError, match="never completed"):
        verify(folder, silent)
    shutil.copytree(folder, "elsewhere")
    verify(Path("elsewhere"), silent)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a file size limit")
def test_a_disk_that_fills_up_while_saving_is_a_run_error(tmp_path: Path) -> None:
    script = """
import resource, signal, sys
from pathlib import Path
from lilllm.errors import RunError
from lilllm.files import new_folder
from lilllm.model import Shape, Transformer, save_model
model = Transformer(Shape(500, 32, 2, 4, 2, 48, 64), seed=0)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
target = Path(sys.argv[1]) / "step"
try:
    with new_folder(target) as folder:
        save_model(folder, model, bos_id=0, eos_ids=[0], pad_id=None, generation={})
except RunError as err:
    assert "model.safetensors" in err.message, err.message
    assert not list(target.parent.iterdir())
    print("refused")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.stdout == "refused\n", done.stderr
