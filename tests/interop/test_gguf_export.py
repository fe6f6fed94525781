"""GGUF files against llama.cpp as it is: the same ids, the same text; and back again."""

import gc
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
from tokenizers import models, normalizers, trainers
from tokenizers import pre_tokenizers as pre

from lilllm.config.schema import GenerateConfig
from lilllm.errors import ConfigError
from lilllm.inference import Engine
from lilllm.interop.gguf_file import GgufFile
from lilllm.interop.gguf_tokenizer import _splits, tokenizer_from_fields
from lilllm.interop.gguf_write import write_gguf
from lilllm.model import Transformer, load_model
from lilllm.stages.import_model import run as import_model
from lilllm.tokenizer import SPECIAL_TOKENS, Tokenizer
from lilllm.tokenizer.tokenizer import OUR_SETTINGS
from tests.interop.peers import (
    PIECES,
    draw_model,
    llama_greedy,
    llama_ids,
    open_llama,
    strings,
)
from tests.stages.tiny_run import TEXTS, tiny_tokenizer

torch.set_num_threads(1)

gguf = pytest.importorskip("gguf", reason="the package gguf is not installed")
SHAPES = {
    "llama": {},
    "qwen3": {"qk_norm": True, "head_dim": 32},
    "biases": {"attention_bias": True, "n_kv_heads": 1},
    "untied": {"tie_embeddings": False, "rope_theta": 5e5, "norm_eps": 1e-6},
    "more rows than tokens": {"vocab_size": 320},
}
TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hi <|im_end|> 12 🐈"},
    {"role": "assistant", "content": "Yes."},
    {"role": "user", "content": "ok?\n"},
]


def write(
    path: Path, tokenizer: Tokenizer, model: Transformer | None = None, dtype: str = "f32"
) -> Path:
    model = model or draw_model(tokenizer)
    write_gguf(path, model, tokenizer, name="tiny", dtype=dtype, warn=lambda text: None)
    return path


def trained(split: pre.PreTokenizer, **changes: Any) -> Tokenizer:
    """A tokenizer with another split than ours, trained on every script there is."""
    library = tokenizers.Tokenizer(models.BPE(**changes))
    library.pre_tokenizer = split
    library.decoder = tokenizers.decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre.ByteLevel.alphabet(),
        show_progress=False,
    )
    library.train_from_iterator([*TEXTS, *strings(300), "".join(PIECES) * 3], trainer)
    return Tokenizer(library.to_str(), OUR_SETTINGS)


def greedy(model: Transformer, ids: list[int], count: int) -> list[int]:
    options = GenerateConfig(temperature=0, max_new_tokens=count)
    return list(Engine(model).generate(ids, options).samples[0].ids)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_llama_cpp_writes_the_same_text(shape: dict[str, Any], tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    model = draw_model(tokenizer, **shape)
    llama = open_llama(write(tmp_path / "model.gguf", tokenizer, model))
    for prompt in ("", "The cat", "Once upon a time 🐈"):
        ids = tokenizer.encode_prompt(prompt)
        assert greedy(model, ids, 24) == llama_greedy(llama, ids, 24)


@pytest.mark.parametrize(("dtype", "error"), [("f16", 0.02), ("bf16", 0.15), ("q8_0", 0.5)])
def test_smaller_types_give_nearly_the_same_scores(
    dtype: str, error: float, tmp_path: Path
) -> None:
    tokenizer = tiny_tokenizer()
    model = draw_model(tokenizer)
    ids = tokenizer.encode_prompt("The cat sat on the warm stone")
    path = write(tmp_path / "model.gguf", tokenizer, model, dtype)
    llama = open_llama(path, logits_all=True)
    llama.eval(ids)
    theirs = torch.tensor(llama.scores[: len(ids)])
    ours = model(torch.tensor([ids]))[0]
    assert (theirs - ours).abs().max() < error
    import_model(path, tmp_path / "back", lambda event: None)
    back = load_model(tmp_path / "back").eval()(torch.tensor([ids]))[0]
    assert (theirs - back).abs().max() < error


def test_llama_cpp_gives_a_thousand_strings_the_same_ids(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    llama = open_llama(write(tmp_path / "model.gguf", tokenizer), vocab_only=True)
    for text in strings(1000):
        assert tokenizer.encode(text) == llama_ids(llama, text, bos=False), text
        assert tokenizer.encode_prompt(text) == llama_ids(llama, text, bos=True), text


@pytest.mark.parametrize("name", list(_splits()))
def test_llama_cpp_splits_as_the_tokenizer_does(name: str, tmp_path: Path) -> None:
    tokenizer = trained(_splits()[name], ignore_merges=name == "llama-bpe")
    if name == "qwen2":
        library = tokenizers.Tokenizer.from_str(tokenizer.text)
        library.normalizer = normalizers.NFC()
        tokenizer = Tokenizer(library.to_str(), OUR_SETTINGS)
    path = write(tmp_path / "model.gguf", tokenizer)
    file = GgufFile(path)
    assert file.fields["tokenizer.ggml.pre"] == name
    back = tokenizer_from_fields(file.fields, path)
    llama = open_llama(path, vocab_only=True)
    texts = [normalizers.NFC().normalize_str(text) for text in strings(300)]
    for text in texts:
        ids = tokenizer.encode(text)
        assert ids == back.encode(text) == llama_ids(llama, text, bos=True), text


def test_a_conversation_has_the_same_ids_and_one_bos(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    llama = open_llama(write(tmp_path / "model.gguf", tokenizer), vocab_only=True)
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter

    assert llama.metadata["tokenizer.chat_template"] == tokenizer.chat_template
    formatter = Jinja2ChatFormatter(
        template=llama.metadata["tokenizer.chat_template"],
        eos_token="<|endoftext|>",
        bos_token=llama._model.token_get_text(llama.token_bos()),
    )
    talk = [TALK[0], {"role": "user", "content": "Hi 12 🐈"}, *TALK[2:]]
    made = formatter(messages=talk)
    ids = llama_ids(llama, made.prompt, bos=not made.added_special, special=True)
    assert ids == tokenizer.encode_chat(talk, add_generation_prompt=True)
    assert ids.count(llama.token_bos()) == 1


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_weights_and_tokenizer_come_back_bit_by_bit(shape: dict[str, Any], tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    model = draw_model(tokenizer, **shape)
    folder = tmp_path / "back"
    path = write(tmp_path / "model.gguf", tokenizer, model)
    result = import_model(path, folder, lambda event: None)
    back = load_model(folder)
    assert back.shape == model.shape
    assert result.parameters == sum(weight.numel() for weight in model.parameters())
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, back.state_dict()[name]), name
    read = Tokenizer.load(folder)
    assert read.chat_template == tokenizer.chat_template
    assert (read.bos_id, read.pad_id, read.stop_ids) == (0, 3, tokenizer.stop_ids)
    assert read.encode_chat(TALK) == tokenizer.encode_chat(TALK)
    assert read.hash == tokenizer.hash
    ids = tokenizer.encode_prompt("The cat")
    assert greedy(back.eval(), ids, 20) == greedy(model, ids, 20)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_keep_their_type_and_bits(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    tokenizer = tiny_tokenizer()
    model = draw_model(tokenizer).to(dtype)
    short = {torch.float16: "f16", torch.bfloat16: "bf16"}[dtype]
    path = write(tmp_path / "model.gguf", tokenizer, model.float(), short)
    import_model(path, tmp_path / "back", lambda event: None)
    stored = json.loads((tmp_path / "back/config.json").read_text())["dtype"]
    assert stored == str(dtype).removeprefix("torch.")
    back = load_model(tmp_path / "back").state_dict()
    for name, weight in model.state_dict().items():
        assert torch.equal(weight.float(), back[name]), name


def test_rows_that_no_block_divides_are_f16_and_said(tmp_path: Path) -> None:
    tokenizer, said = tiny_tokenizer(), []
    model = draw_model(tokenizer, d_ff=72)
    path = tmp_path / "model.gguf"
    write_gguf(path, model, tokenizer, name="x", dtype="q8_0", warn=said.append)
    assert len(said) == 2 and "down_proj" in said[0]
    assert GgufFile(path).tensors["blk.0.ffn_down.weight"].type == gguf.GGMLQuantizationType.F16
    open_llama(path)


def changed(path: tuple[str, ...], value: Any) -> Tokenizer:
    """Our tokenizer with one part replaced."""
    parsed = json.loads(tiny_tokenizer().text)
    place = parsed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return Tokenizer(json.dumps(parsed), OUR_SETTINGS)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("normalizer",), {"type": "Lowercase"}, "normalizer 'Lowercase'"),
        (("pre_tokenizer",), {"type": "WhitespaceSplit"}, "pre_tokenizer"),
        (("pre_tokenizer", "add_prefix_space"), True, "pre_tokenizer"),
        (("pre_tokenizer", "use_regex"), False, "pre_tokenizer"),
        (("pre_tokenizer",), None, "pre_tokenizer"),
        (("model", "byte_fallback"), True, "byte-level BPE"),
        (("model", "ignore_merges"), True, "ignore_merges"),
        (("decoder",), None, "bytes"),
    ],
)
def test_a_tokenizer_that_llama_cpp_cannot_follow_is_refused(
    path: tuple[str, ...], value: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        write(tmp_path / "model.gguf", changed(path, value), draw_model(tiny_tokenizer()))
    assert not (tmp_path / "model.gguf").exists()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"logit_softcap": 15.0}, "logit_softcap"),
        ({"activation": "relu2"}, "activation"),
        ({"n_labels": 2}, "classification head"),
        ({"qk_norm": True, "attention_bias": True}, "attention_bias"),
    ],
)
def test_a_model_that_llama_cpp_cannot_run_is_refused(
    shape: dict[str, Any], message: str, tmp_path: Path
) -> None:
    tokenizer = tiny_tokenizer()
    with pytest.raises(ConfigError, match=message):
        write(tmp_path / "model.gguf", tokenizer, draw_model(tokenizer, **shape))


def test_weights_beyond_f16_are_refused_and_no_file_stays_open(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    model = draw_model(tokenizer)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, 0] = 1e5
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ResourceWarning)
        with pytest.raises(ConfigError, match=r"up_proj.*f16") as caught:
            write(tmp_path / "model.gguf", tokenizer, model, "f16")
        del caught
        gc.collect()
    assert [str(warning.message) for warning in said] == []


def test_without_the_package_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = tiny_tokenizer()
    plain = write(tmp_path / "plain.gguf", tokenizer, dtype="bf16")
    small = write(tmp_path / "small.gguf", tokenizer, dtype="q8_0")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ConfigError) as caught:
        write(tmp_path / "model.gguf", tokenizer)
    assert "pip install gguf" in caught.value.hint
    with pytest.raises(ConfigError) as caught:
        GgufFile(small)
    assert "pip install gguf" in caught.value.hint
    import_model(plain, tmp_path / "back", lambda event: None)  # floats need no package


def test_transformers_reads_what_came_back(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = tiny_tokenizer()
    model = draw_model(tokenizer)
    path = write(tmp_path / "model.gguf", tokenizer, model)
    import_model(path, tmp_path / "back", lambda event: None)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "back")
    ids = torch.tensor([tokenizer.encode_prompt("The cat")])
    assert torch.allclose(theirs(ids).logits, model(ids), atol=1e-4)
