import pytest
import torch

from lilllm.config import load_config
from lilllm.model.transformer import Shape, Transformer
from lilllm.training.muon import Muon, orthogonalize
from lilllm.training.optimizers import make_optimizers, set_lr
from lilllm.training.schedules import lr_scale

SHAPE = Shape(64, d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, d_ff=48, max_seq_len=16)


def test_muon_steps_equal_torchs_in_bf16() -> None:
    torch.manual_seed(0)
    start = [torch.randn(s) for s in ((64, 96), (96, 64), (64, 96), (8, 8))]
    ours = [torch.nn.Parameter(w.clone()) for w in start]
    theirs = [torch.nn.Parameter(w.clone()) for w in start]
    optimizers = (
        Muon(ours, lr=0.02, weight_decay=0.1),
        torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1),
    )
    for _ in range(5):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("shape", [(3, 20, 50), (2, 50, 20)])
def test_orthogonalized_matrices_have_singular_values_near_one(shape: tuple[int, ...]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalize(matrices, 5, torch.float32))
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_only_matrices_of_the_blocks_have_weight_decay() -> None:
    model = Transformer(SHAPE, seed=0)
    overrides = ["pretrain.optimizer=adamw", "pretrain.weight_decay=0.3"]
    section = load_config(None, overrides).pretrain
    (adamw,) = make_optimizers(model, section)
    names = {id(p): name for name, p in model.named_parameters()}
    for group in adamw.param_groups:
        for parameter in group["params"]:
            decayed = names[id(parameter)].endswith("proj.weight")
            assert group["weight_decay"] == (0.3 if decayed else 0.0)


def test_muon_takes_the_matrices_of_the_blocks_and_adamw_the_rest() -> None:
    model = Transformer(SHAPE, seed=0)
    section = load_config(None, ["pretrain.optimizer=muon"]).pretrain
    muon, adamw = make_optimizers(model, section)
    set_lr([muon, adamw], 0.5)
    assert muon.param_groups[0]["lr"] == 0.01
    assert len(muon.param_groups[0]["params"]) == 2 * 7
    assert sum(len(g["params"]) for g in adamw.param_groups) == 1 + 2 * 2 + 1
    model.add_head(3, seed=0)
    muon, adamw = make_optimizers(model, section)
    assert len(muon.param_groups[0]["params"]) == 2 * 7
    (head,) = (g for g in adamw.param_groups if g["weight_decay"])
    assert head["params"][0] is model.score.weight


@pytest.mark.parametrize("schedule", ["cosine", "linear", "wsd"])
def test_schedules_warm_up_peak_at_one_and_end_at_the_floor(schedule: str) -> None:
    section = load_config(
        None,
        [
            *(f"pretrain.schedule={schedule}", "pretrain.decay_fraction=0.2"),
            *("pretrain.warmup_steps=10", "pretrain.min_lr_ratio=0.1"),
        ],
    ).pretrain
    scales = [lr_scale(step, 100, section) for step in range(100)]
    assert scales[:10] == sorted(scales[:10])
    assert max(scales) == 1.0
    assert scales[-1] == pytest.approx(0.1)
    assert scales[10:] == sorted(scales[10:], reverse=True)
    if schedule == "wsd":
        assert scales[10:79] == [1.0] * 69


@pytest.mark.parametrize("schedule", ["cosine", "linear", "wsd"])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_schedules_hold_in_very_short_runs(schedule: str, steps: int) -> None:
    section = load_config(None, [f"pretrain.schedule={schedule}"]).pretrain
    scales = [lr_scale(step, steps, section) for step in range(steps)]
    assert all(0 < scale <= 1 for scale in scales)
    assert scales[-1] == pytest.approx(section.min_lr_ratio)
