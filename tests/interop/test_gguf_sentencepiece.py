"""SentencePiece tokenizers in GGUF files: llama.cpp's ids, and the story of stories260K."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lilllm.config.schema import GenerateConfig
from lilllm.errors import CheckpointError
from lilllm.inference import Engine
from lilllm.interop import gguf_write
from lilllm.interop.gguf_tokenizer import tokenizer_from_fields
from lilllm.interop.llama2c import read_model, read_tokenizer
from lilllm.model import load_model
from lilllm.stages.import_model import run as import_model
from lilllm.tokenizer import Tokenizer
from tests.interop.peers import llama_greedy, llama_ids, open_llama, strings
from tests.stages.tiny_run import tiny_tokenizer

torch.set_num_threads(1)
pytest.importorskip("gguf", reason="the package gguf is not installed")

STORIES = Path(__file__).parents[2].parent / "shared" / "data" / "stories260K"
TEMPLATE = "{{ bos_token }}{% for m in messages %}[{{ m.content }}]</s> {% endfor %}"
needs_stories = pytest.mark.skipif(
    not STORIES.is_dir(), reason="../shared/data/stories260K is not on this machine"
)


def story_fields() -> dict[str, Any]:
    """The fields of stories260K's tokenizer, as llama.cpp's own converter writes them."""
    entries = read_tokenizer(STORIES / "tok512.bin", 512)
    texts = ["<unk>", "<s>", "</s>", *(entry.text.replace(" ", "\u2581") for entry in entries[3:])]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": texts,
        "tokenizer.ggml.scores": [entry.score for entry in entries],
        "tokenizer.ggml.token_type": [2, 3, 3] + [6] * 256 + [1] * (512 - 259),
        "tokenizer.chat_template": TEMPLATE,
    }


@pytest.fixture
def story_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(gguf_write, "tokenizer_to_fields", lambda tokenizer, rows: story_fields())
    path = tmp_path / "stories.gguf"
    model = read_model(STORIES / "stories260K.bin")
    gguf_write.write_gguf(
        path, model, tiny_tokenizer(), name="x", dtype="f32", warn=lambda text: None
    )
    return path


@needs_stories
def test_the_story_is_told_by_both(story_file: Path, tmp_path: Path) -> None:
    import_model(story_file, tmp_path / "imported", lambda event: None)
    tokenizer = Tokenizer.load(tmp_path / "imported")
    ids = tokenizer.encode_prompt("Once upon a time")
    options = GenerateConfig(temperature=0, max_new_tokens=60)
    made = Engine(load_model(tmp_path / "imported").eval()).generate(ids, options).samples[0].ids
    text = tokenizer.decode([*ids, *made])
    assert text.startswith("Once upon a time, there was a little girl named Lily.")
    assert list(made) == llama_greedy(open_llama(story_file, n_ctx=128), ids, 60)


@needs_stories
def test_ids_are_those_of_llama_cpp(story_file: Path, tmp_path: Path) -> None:
    import_model(story_file, tmp_path / "imported", lambda event: None)
    tokenizer = Tokenizer.load(tmp_path / "imported")
    llama = open_llama(story_file, vocab_only=True)
    for text in ["", " ", "<s>", "<0x0A>", *strings(1000)]:
        assert tokenizer.encode(text) == llama_ids(llama, text, bos=False), text
        assert tokenizer.encode_prompt(text) == llama_ids(llama, text, bos=True), text
        assert tokenizer.decode(tokenizer.encode(text)) == text
    talk = [{"role": "user", "content": text} for text in ("Hi", "a 🐈", " b")]
    rendered = tokenizer.render_chat(talk)
    assert tokenizer.encode_chat(talk) == llama_ids(llama, rendered, bos=False, special=True)


@needs_stories
def test_scores_and_kinds_must_be_there(tmp_path: Path) -> None:
    fields = story_fields() | {
        "tokenizer.ggml.scores": np.array(story_fields()["tokenizer.ggml.scores"], np.float32),
        "tokenizer.ggml.token_type": np.array(story_fields()["tokenizer.ggml.token_type"]),
    }
    assert tokenizer_from_fields(fields, tmp_path).vocab_size == 512
    for key in ("tokens", "scores", "token_type"):
        name = f"tokenizer.ggml.{key}"
        for value in (None, fields[name][:-1], "x", 3):
            with pytest.raises(CheckpointError, match=r"tokenizer\.ggml\."):
                tokenizer_from_fields({**fields, name: value}, tmp_path)
