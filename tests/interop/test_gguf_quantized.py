"""GGUF files that llama.cpp quantized itself: the imported model says what llama.cpp says."""

from pathlib import Path

import pytest
import torch

from lilllm.interop.gguf_write import write_gguf
from lilllm.model import load_model
from lilllm.stages.import_model import run as import_model
from tests.interop.peers import NO_LLAMA, draw_model, open_llama
from tests.stages.tiny_run import tiny_tokenizer

torch.set_num_threads(1)

pytest.importorskip("gguf", reason="the package gguf is not installed")
TYPES = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K")
TYPES += ("IQ4_NL", "IQ4_XS", "TQ2_0")


@pytest.mark.parametrize("name", TYPES)
def test_what_llama_cpp_quantized_is_imported(name: str, tmp_path: Path) -> None:
    llama_cpp = pytest.importorskip("llama_cpp", reason=NO_LLAMA)
    tokenizer = tiny_tokenizer()
    model = draw_model(tokenizer, d_model=256, d_ff=512, n_layers=2)
    plain, small = tmp_path / "plain.gguf", tmp_path / "small.gguf"
    write_gguf(plain, model, tokenizer, name="x", dtype="f32", warn=lambda text: None)
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{name}")
    params.nthread = 1
    assert llama_cpp.llama_model_quantize(str(plain).encode(), str(small).encode(), params) == 0
    assert small.stat().st_size < 0.7 * plain.stat().st_size

    import_model(small, tmp_path / "imported", lambda event: None)
    ids = tokenizer.encode_prompt("The cat sat on the warm stone and slept.")
    llama = open_llama(small, logits_all=True)
    llama.eval(ids)
    theirs = torch.tensor(llama.scores[: len(ids)])
    with torch.no_grad():
        ours = load_model(tmp_path / "imported").eval()(torch.tensor([ids]))[0]
        exact = model(torch.tensor([ids]))[0]
    scale = float(exact.std())
    assert float((ours - theirs).std()) < 0.02 * scale  # llama.cpp also rounds what it multiplies
