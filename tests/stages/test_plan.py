"""The plan of a run against the model and the training it describes."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from lilllm.config import Config, load_config
from lilllm.events import silent
from lilllm.model.transformer import Shape, Transformer
from lilllm.stages import plan
from lilllm.stages.model_shape import planned_vocab_size
from lilllm.training.memory import StepMemory, step_memory
from lilllm.training.objectives.next_token import next_token_loss
from tests.stages.tiny_run import CONFIG, tiny_tokenizer

SMALL = (
    "model.d_model=64",
    "model.n_layers=2",
    "model.n_heads=4",
    "model.n_kv_heads=2",
    "model.d_ff=128",
    "model.max_seq_len=64",
    "model.qk_norm=false",
    "tokenizer.vocab_size=512",
    "pretrain.max_steps=10",
    "pretrain.optimizer=adamw",
    "pretrain.batch_tokens=512",
    "pretrain.micro_batch_size=4",
    "device=cpu",
    "precision=fp32",
)


def loss(model: Transformer, ids: Tensor, targets: Tensor) -> Tensor:
    return next_token_loss(model, ids, targets, None).total


def test_counts_and_time_are_those_of_the_model() -> None:
    found = plan.run(load_config(None, SMALL), silent)
    model = Transformer(Shape(512, 64, 2, 4, 2, 128, 64))
    assert found.parameters["total"] == sum(p.numel() for p in model.parameters())
    assert found.tokens == 5120
    assert found.memory_bytes["weights"] == 4 * found.parameters["total"]
    assert found.memory_bytes["optimizer"] == 8 * found.parameters["total"]
    assert found.memory_bytes["total"] == sum(
        size for name, size in found.memory_bytes.items() if name != "total"
    )
    assert found.tokens_per_s and found.seconds == pytest.approx(5120 / found.tokens_per_s)


def test_activations_follow_the_batch_and_muon_keeps_one_moment() -> None:
    shape = Shape(512, 64, 2, 4, 2, 128, 64)
    section = load_config(None, SMALL).pretrain
    one = step_memory(shape, section.model_copy(update={"micro_batch_size": 4}), loss)
    two = step_memory(shape, section.model_copy(update={"micro_batch_size": 8}), loss)
    assert 1.7 < two.activations / one.activations < 2.1
    muon = step_memory(shape, section.model_copy(update={"optimizer": "muon"}), loss)
    assert one.optimizer / 2 < muon.optimizer < one.optimizer


def test_planned_activations_are_what_autograd_really_keeps() -> None:
    shape = Shape(512, 64, 2, 4, 2, 128, 64)
    section = load_config(None, SMALL).pretrain
    model = Transformer(shape, seed=0)
    owned = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in owned:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    ids = torch.zeros(4, 64, dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss(model, ids, ids)
    planned = step_memory(shape, section, loss).activations
    assert sum(kept.values()) <= planned <= 2 * sum(kept.values())


def test_a_step_has_no_more_rows_than_its_batch_and_recomputing_keeps_less() -> None:
    def activations(*overrides: str) -> int:
        config = load_config(None, [*SMALL, *overrides])
        shape = plan.resolve_shape(config.model, 512)
        return step_memory(shape, config.pretrain, loss).activations

    one_batch = activations("pretrain.batch_tokens=128", "pretrain.micro_batch_size=2")
    assert activations("pretrain.batch_tokens=128", "pretrain.micro_batch_size=64") == one_batch
    assert activations("pretrain.activation_checkpointing=true") < 0.8 * activations()


def test_advice_is_the_largest_micro_batch_that_fits() -> None:
    section = load_config(None, SMALL).pretrain
    memory = StepMemory(weights=100, gradients=100, optimizer=200, activations=4000)
    assert "micro_batch_size=2" in plan.advise(section, memory, memory.total, available=2500)
    assert "micro_batch_size=1" in plan.advise(section, memory, memory.total, available=1500)
    assert "smaller" in plan.advise(section, memory, memory.total, available=500)


def test_a_given_tokenizer_says_the_vocabulary(tmp_path: Path) -> None:
    tiny_tokenizer().save(tmp_path)
    config = Config.model_validate({**CONFIG, "tokenizer": {"path": str(tmp_path)}})
    assert planned_vocab_size(config) == tiny_tokenizer().vocab_size
    assert planned_vocab_size(Config.model_validate(CONFIG)) == 8192
