"""`lilllm export` as it is typed, and `lilllm import` of what it wrote."""

import json
from pathlib import Path

import pytest
import torch

from lilllm.model import load_model, save_model
from lilllm.tokenizer import Tokenizer
from tests.cli.small_app import run, run_json
from tests.stages.tiny_run import tiny_model, write_checkpoint

torch.set_num_threads(1)
gguf = pytest.importorskip("gguf", reason="the package gguf is not installed")

TALK = [{"role": "user", "content": "Hi 12"}, {"role": "assistant", "content": "Yes."}]


@pytest.fixture(autouse=True)
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_checkpoint(Path("runs/tiny/finetune/sft/step-00000001"), base="x")


def test_an_exported_file_can_be_imported_and_writes_the_same_text(checkpoint: Path) -> None:
    fields = run_json("export")
    assert fields["path"] == "exports/tiny-sft-f32.gguf" and fields["format"] == "gguf"
    assert fields["bytes"] == Path(fields["path"]).stat().st_size
    assert fields["checkpoint"] == str(checkpoint)
    run("import", fields["path"], "--to", "back")
    for name, weight in load_model(checkpoint).state_dict().items():
        assert torch.equal(weight, load_model(Path("back")).state_dict()[name])
    options = ("-p", "The cat", "--temperature", 0, "--max-new-tokens", 20, "--no-chat")
    assert run("generate", "back", *options).stdout == run("generate", *options).stdout
    again = run_json("export", "--dtype", "q8_0", "--out", "exports/tiny-sft-f32.gguf")
    assert again["bytes"] < fields["bytes"]
    assert not list(Path("exports").glob(".partial*"))


def test_an_exported_folder_is_loaded_by_transformers_as_it_is(checkpoint: Path) -> None:
    transformers = pytest.importorskip("transformers")
    fields = run_json("export", "--to", "hf")
    folder = Path(fields["path"])
    assert folder == Path("exports/tiny-sft-hf")
    assert not (folder / "lilllm.yaml").exists()
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    ours = Tokenizer.load(checkpoint)
    assert theirs.apply_chat_template(TALK, return_dict=False) == ours.encode_chat(TALK)
    prompt = theirs.apply_chat_template(TALK[:1], add_generation_prompt=True, return_dict=False)
    assert prompt == ours.encode_chat(TALK[:1], add_generation_prompt=True)
    assert theirs("The cat 🐈").input_ids == ours.encode_prompt("The cat 🐈")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.tensor([ours.encode_prompt("The cat")])
    assert torch.allclose(model(ids).logits, load_model(checkpoint)(ids), atol=1e-4)
    model.save_pretrained("theirs", max_shard_size="20KB")  # several files and their index
    theirs.save_pretrained("theirs")
    assert len(list(Path("theirs").glob("*.safetensors"))) > 1
    run("import", "theirs", "--to", "back")
    for name, weight in load_model(checkpoint).state_dict().items():
        assert torch.equal(weight, load_model(Path("back")).state_dict()[name])
    assert Tokenizer.load(Path("back")).encode_chat(TALK) == ours.encode_chat(TALK)


def test_the_folder_has_what_vllm_reads() -> None:
    folder = Path(run_json("export", "--to", "hf", "--dtype", "bf16")["path"])
    names = {file.name for file in folder.iterdir()}
    assert names == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "manifest.json",
    }
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"] and config["model_type"] == "llama"
    assert config["torch_dtype"] == config["dtype"] == "bfloat16"
    for key in (
        "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads "
        "num_key_value_heads head_dim max_position_embeddings rms_norm_eps rope_theta "
        "tie_word_embeddings hidden_act bos_token_id eos_token_id"
    ).split():
        assert config[key] is not None, key
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert "auto_map" not in config and "auto_map" not in settings


def test_ollama_gets_a_folder_with_its_modelfile() -> None:
    fields = run_json("export", "--to", "ollama", "--dtype", "f16")
    folder = Path(fields["path"])
    text = (folder / "Modelfile").read_text()
    assert (folder / "tiny-sft.gguf").is_file() and text.startswith("FROM ./tiny-sft.gguf\n")
    assert "<|im_start|>user\n{{ .Content }}<|im_end|>" in text
    assert "PARAMETER temperature 0.7" in text and "PARAMETER num_ctx 64" in text
    shown = run("export", "--to", "ollama")  # replaces the earlier one
    assert "ollama create tiny-sft" in shown.stderr


def test_wrong_wishes_have_their_exit_codes(checkpoint: Path) -> None:
    assert "gguf, hf, ollama" in run("export", "--to", "onnx", code=2).stderr
    assert "q8_0" in run("export", "--dtype", "int3", code=2).stderr
    assert "f16" in run("export", "--to", "hf", "--dtype", "q8_0", code=2).stderr
    for other in (("--to", "gguf"), ("--dtype", "f16")):
        said = run("export", "--quantize", "int8", *other, code=2).stderr
        assert f"--quantize int8 and {' '.join(other)}: one or the other" in said
    Path("mine").mkdir()
    Path("mine/letter").write_text("dear")
    assert "mine" in run("export", "--to", "hf", "--out", "mine", code=2).stderr
    assert "mine" in run("export", "--out", "mine", code=2).stderr
    Path("notes.txt").write_text("mine")
    assert "notes.txt" in run("export", "--to", "gguf", "--out", "notes.txt", code=2).stderr
    assert Path("notes.txt").read_text() == "mine"
    theirs = gguf.GGUFWriter("theirs.gguf", "llama")
    theirs.add_name("downloaded")
    theirs.write_header_to_file()
    theirs.write_kv_data_to_file()
    theirs.close()
    before = Path("theirs.gguf").read_bytes()
    assert "not marked as an export" in run("export", "--out", "theirs.gguf", code=2).stderr
    assert Path("theirs.gguf").read_bytes() == before
    assert "runs" in run("export", "--to", "hf", "--out", checkpoint, code=2).stderr
    assert run("export", "nowhere", code=4)
    parsed = json.loads((checkpoint / "tokenizer.json").read_text())
    parsed["normalizer"] = {"type": "Lowercase"}
    foreign = Path("foreign")
    run("export", "--to", "hf", "--out", foreign)
    (foreign / "manifest.json").unlink()
    (foreign / "tokenizer.json").write_text(json.dumps(parsed))
    assert "cannot follow this tokenizer" in run("export", foreign, code=2).stderr
    assert not list(Path("exports").glob("*"))


@pytest.mark.parametrize(("qk_norm", "name"), [(False, "Llama"), (True, "Qwen3")])
def test_a_classifier_keeps_its_classes_and_is_none_for_llama_cpp(
    checkpoint: Path, qk_norm: bool, name: str
) -> None:
    transformers = pytest.importorskip("transformers")
    model = tiny_model(qk_norm=qk_norm)
    model.add_head(2, seed=0)
    folder = Path("classifier")
    folder.mkdir()
    save_model(
        folder, model, bos_id=0, eos_ids=[0], pad_id=3, generation={}, labels=["bad", "good"]
    )
    Tokenizer.load(checkpoint).save(folder)
    for dtype in ("f32", "bf16"):
        made = Path(run_json("export", folder, "--to", "hf", "--dtype", dtype)["path"])
        theirs = transformers.AutoModelForSequenceClassification.from_pretrained(made)
        assert type(theirs).__name__ == f"{name}ForSequenceClassification"
        assert theirs.config.id2label == {0: "bad", 1: "good"}
    assert "classification head" in run("export", folder, code=2).stderr
