"""The steps that nobody waits for, tried on a CPU: the same numbers, and nothing bad applied."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lilllm.errors import RunError
from lilllm.training.ahead import Ahead
from lilllm.training.loop import train
from lilllm.training.objectives.next_token import next_token_loss
from tests.training.test_loop import config, losses, make_run


@pytest.fixture
def not_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ahead, "fits", staticmethod(lambda run, parallel: True))


def test_losses_and_weights_are_those_of_steps_that_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config("pretrain.micro_batch_size=2", "pretrain.grad_clip=0.5")
    waiting, events = make_run(tmp_path / "waiting", 20, settings)
    train(waiting, None)
    monkeypatch.setattr(Ahead, "fits", staticmethod(lambda run, parallel: True))
    settings = config(
        "pretrain.micro_batch_size=2", "pretrain.grad_clip=0.5", "pretrain.log_every=5"
    )
    ahead, few = make_run(tmp_path / "ahead", 20, settings)
    train(ahead, None)
    means = [sum(losses(events)[at : at + 5]) / 5 for at in range(0, 20, 5)]
    assert losses(few) == pytest.approx(means, rel=1e-5)
    for name, weight in waiting.model.state_dict().items():
        torch.testing.assert_close(ahead.model.state_dict()[name], weight, msg=name)


@pytest.mark.usefixtures("not_waiting")
@pytest.mark.parametrize("moment", ["pretrain.log_every=4", "pretrain.save_every=8"])
def test_a_step_that_is_not_finite_is_not_applied_and_told_before_anything_is_saved(
    tmp_path: Path, moment: str
) -> None:
    kept: list[dict[str, torch.Tensor]] = []

    def objective(*batch: Any) -> Any:
        loss = next_token_loss(*batch)
        if run.counters.step == 6:
            kept.append({n: w.clone() for n, w in run.model.state_dict().items()})
        return loss._replace(total=loss.total * float("nan" if run.counters.step >= 5 else 1))

    settings = config("pretrain.save_every=4", "pretrain.log_every=100", moment)
    run, _ = make_run(tmp_path, 20, settings, objective=objective)
    with pytest.raises(RunError, match=r"step 6: loss nan"):
        train(run, None)
    assert run.counters.step == 8
    for name, weight in run.model.state_dict().items():
        assert torch.isfinite(weight).all()
        assert torch.equal(weight, kept[0][name])
    assert sorted(p.name for p in tmp_path.glob("step-*")) == (
        ["step-00000004"] if moment == "pretrain.log_every=4" else []
    )


@pytest.mark.usefixtures("not_waiting")
def test_a_step_without_targets_is_told(tmp_path: Path) -> None:
    def objective(model: Any, ids: Any, targets: Any, segments: Any) -> Any:
        return next_token_loss(model, ids, torch.full_like(targets, -100), segments)

    run, _ = make_run(tmp_path, 3, config(), objective=objective)
    with pytest.raises(RunError, match="step 1: no target"):
        train(run, None)
