"""A checkpoint in few bits: read again as the same numbers, decoded with them, its loss told."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lilllm.config.schema import GenerateConfig
from lilllm.errors import CheckpointError
from lilllm.events import silent
from lilllm.model import Shape, Transformer, load_model, save_model
from lilllm.model.quantized import quantize
from lilllm.stages import export, generate
from lilllm.stages import quantize as stage
from lilllm.stages.find_checkpoint import load_checkpoint
from tests.stages.tiny_run import write_checkpoint

torch.set_num_threads(1)


@pytest.mark.parametrize("bits", [8, 4])
def test_a_quantized_checkpoint_is_read_again_and_its_loss_is_told(
    bits: int, tmp_path: Path
) -> None:
    folder = write_checkpoint(tmp_path / "step-00000001")
    result = stage.run(folder, bits, silent, out=tmp_path / "small")
    assert result.bytes < result.bytes_before / 2
    assert abs(result.loss_percent) < (1 if bits == 8 else 20)
    assert result.bpb == pytest.approx(result.bpb_before * (1 + result.loss_percent / 100))
    loaded = load_checkpoint(result.path)
    assert loaded.bits == bits and load_checkpoint(folder).bits is None
    options = GenerateConfig(max_new_tokens=20, temperature=0)
    texts = [
        generate.run(which, ["The cat"], options, silent, quantize=asked).samples[0].text
        for which, asked in ((loaded, None), (load_checkpoint(folder), bits))
    ]
    assert texts[0] == texts[1]


def test_a_folder_in_few_bits_is_exported_in_numbers_that_others_read(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    small = stage.run(write_checkpoint(tmp_path / "step-00000001"), 8, silent, out=tmp_path / "q")
    made = export.run(small.path, "hf", silent, out=tmp_path / "hf")
    theirs, info = AutoModelForCausalLM.from_pretrained(made.path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    ids = torch.arange(4, 30)[None]
    with torch.no_grad():
        assert torch.allclose(theirs(ids).logits, load_model(small.path)(ids), atol=1e-4)


@pytest.mark.parametrize("bits", [8, 4])
def test_weights_are_read_as_what_they_were_rounded_to(bits: int, tmp_path: Path) -> None:
    model = Transformer(Shape(96, 64, 2, 4, 2, 100, 32, tie_embeddings=False), seed=1)
    save_model(tmp_path, model, bos_id=0, eos_ids=[0], pad_id=1, generation={}, bits=bits)
    read = load_model(tmp_path).state_dict()
    for name, weight in model.state_dict().items():
        outer = name in ("model.embed_tokens.weight", "lm_head.weight")
        if "norm" in name or "down_proj" in name:  # rows of 100 are not whole groups
            wanted = weight
        else:
            wanted = quantize(weight, 8 if outer else bits).dequantize()
        assert torch.equal(read[name], wanted), name


@pytest.mark.parametrize("damage", ["scales missing", "shape", "type"])
def test_damage_is_named(damage: str, tmp_path: Path) -> None:
    model = Transformer(Shape(96, 64, 1, 4, 2, 96, 32), seed=1)
    save_model(tmp_path, model, bos_id=0, eos_ids=[0], pad_id=1, generation={}, bits=4)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    name = "model.layers.0.mlp.up_proj.weight"
    scales = tensors.pop(f"{name}.scales")
    if damage == "shape":
        tensors[f"{name}.scales"] = scales[:, :1].contiguous()
    elif damage == "type":
        tensors[f"{name}.scales"] = scales.float()
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=name):
        load_model(tmp_path)


def test_another_ones_quantization_is_refused(tmp_path: Path) -> None:
    model = Transformer(Shape(96, 64, 1, 4, 2, 96, 32), seed=1)
    save_model(tmp_path, model, bos_id=0, eos_ids=[0], pad_id=1, generation={}, bits=8)
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"]["quant_method"] = "awq"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="quantization_config"):
        load_model(tmp_path)
