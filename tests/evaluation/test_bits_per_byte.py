"""Bits per byte against a slow loop over single tokens and against transformers' loss."""

import importlib
import math
import random
from pathlib import Path

import pytest
import torch
import transformers

from lilllm.errors import DataError, RunError
from lilllm.evaluation import bits_per_byte
from lilllm.model import Shape, Transformer, save_model

torch.set_num_threads(1)

SHAPE = Shape(
    vocab_size=61, d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, d_ff=48, max_seq_len=16
)
BOS, END = 1, 2


def random_model() -> Transformer:
    model = Transformer(SHAPE, seed=4)
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(10)
    return model


def random_documents(count: int = 40, longest: int = 50) -> list[list[int]]:
    draw = random.Random(0)
    lengths = [0, 1, 14, 15, 16, 17, 31, 32, 33]  # around the borders of windows
    lengths += [draw.randint(1, longest) for _ in range(count - len(lengths))]
    return [[draw.randrange(3, 61) for _ in range(length)] for length in lengths]


@torch.no_grad()
def slow_nats(model: Transformer, documents: list[list[int]]) -> float:
    """One forward pass per predicted token."""
    nats = 0.0
    for document in documents:
        inputs, targets = [BOS, *document], [*document, END]
        for at, target in enumerate(targets):
            window_start = at - at % SHAPE.max_seq_len
            logits = model(torch.tensor([inputs[window_start : at + 1]]))[0, -1].double()
            nats -= logits.log_softmax(-1)[target].item()
    return nats


def test_it_equals_a_loop_over_single_tokens() -> None:
    model, documents = random_model(), random_documents()
    result = bits_per_byte(model, documents, 1000, bos_id=BOS, end_id=END, batch_tokens=64)
    nats = slow_nats(model, documents)
    tokens = sum(len(document) + 1 for document in documents)
    assert result["documents"] == 40 and result["tokens"] == tokens and result["bytes"] == 1000
    assert result["loss"] == pytest.approx(nats / tokens, rel=1e-6)
    assert result["perplexity"] == pytest.approx(math.exp(nats / tokens), rel=1e-5)
    assert result["bpb"] == pytest.approx(nats / math.log(2) / 1000, rel=1e-6)


def test_neither_batch_size_nor_order_changes_it(monkeypatch) -> None:
    model, documents = random_model(), random_documents()
    results = [
        bits_per_byte(model, docs, 1000, bos_id=BOS, end_id=END, batch_tokens=batch_tokens)["bpb"]
        for docs in (documents, documents[::-1])
        for batch_tokens in (1, 33, 100_000)
    ]
    module = importlib.import_module("lilllm.evaluation.bits_per_byte")
    monkeypatch.setattr(module, "LOGITS_BYTES", 1000)
    results.append(bits_per_byte(model, documents, 1000, bos_id=BOS, end_id=END)["bpb"])
    assert max(results) - min(results) < 1e-6 * results[0]


def test_it_equals_the_loss_of_transformers(tmp_path: Path) -> None:
    model = random_model()
    save_model(tmp_path, model, bos_id=BOS, eos_ids=[END], pad_id=0, generation={})
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    document = [5, 6, 7, 8, 9]
    ids = torch.tensor([[BOS, *document, END]])
    wanted = theirs(ids, labels=ids).loss.item()
    result = bits_per_byte(model, [document], 5, bos_id=BOS, end_id=END)
    assert result["loss"] == pytest.approx(wanted, rel=1e-5)
    assert result["tokens"] == 6


def test_a_uniform_model_needs_log2_of_its_vocabulary_per_token() -> None:
    model = Transformer(SHAPE, seed=0)
    torch.nn.init.zeros_(model.model.embed_tokens.weight)
    result = bits_per_byte(model, [[3, 4, 5]], lambda: 8, bos_id=BOS, end_id=END)
    assert result["bpb"] == pytest.approx(4 * math.log2(61) / 8)
    assert result["perplexity"] == pytest.approx(61, rel=1e-5)


def test_dropout_is_off_and_training_mode_comes_back() -> None:
    shape = Shape(61, 32, 2, 4, 2, 48, 16, dropout=0.5)
    model = Transformer(shape, seed=0)
    values = {bits_per_byte(model, [[3, 4]], 2, bos_id=BOS, end_id=END)["bpb"] for _ in range(2)}
    assert len(values) == 1 and model.training


def test_nothing_to_score_and_a_broken_model_are_errors() -> None:
    model = random_model()
    with pytest.raises(DataError, match="nothing to score"):
        bits_per_byte(model, [], 0, bos_id=BOS, end_id=END)
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(RunError, match="nan"):
        bits_per_byte(model, [[3]], 1, bos_id=BOS, end_id=END)
