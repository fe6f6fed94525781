"""Figures of a training in the loggers of others, without a network."""

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from lilllm.errors import ConfigError
from lilllm.training.loop import train
from lilllm.training.trackers import Tracker, open_trackers
from tests.training.test_loop import config, losses, make_run


def trained(folder: Path, name: str) -> list[float]:
    """Six steps with a validation, logged with one tracker; the losses."""
    run, events = make_run(folder, 6, config("pretrain.eval_every=3", "pretrain.save_every=3"))

    def trackers(step: int) -> list[Tracker]:
        return open_trackers([name], folder, "tiny/pretrain", step, {"seed": 1})

    run.hooks = replace(run.hooks, trackers=trackers, validate=lambda poll: {"val_loss": 2.5})
    train(run, None)
    return losses(events)


def test_tensorboard_has_every_step(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra `track`")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    expected = trained(tmp_path, "tensorboard")
    seen = EventAccumulator(str(tmp_path / "tensorboard"))
    seen.Reload()
    assert [event.step for event in seen.Scalars("loss")] == [1, 2, 3, 4, 5, 6]
    assert [event.value for event in seen.Scalars("loss")] == pytest.approx(expected, rel=1e-6)
    assert [event.step for event in seen.Scalars("val_loss")] == [3, 6]


def test_weights_and_biases_works_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="the extra `track`")
    monkeypatch.setenv("WANDB_MODE", "offline")
    trained(tmp_path, "wandb")
    import wandb

    assert wandb.run is not None
    assert wandb.run.summary["loss"] > 0
    assert wandb.run.summary["step"] == 6
    wandb.finish()
    assert list(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))


def test_a_stage_folder_keeps_its_run_and_a_fresh_one_has_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = []
    run = SimpleNamespace(define_metric=lambda *given, **more: None)
    theirs = ModuleType("wandb")
    theirs.init = lambda **given: ids.append(given["id"]) or run  # type: ignore[attr-defined]
    theirs.Settings = dict  # type: ignore[attr-defined]
    theirs.errors = SimpleNamespace(Error=OSError)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", theirs)
    for _ in range(2):
        open_trackers(["wandb"], tmp_path, "tiny/pretrain", 0, {})
    (tmp_path / "wandb-id").unlink()
    open_trackers(["wandb"], tmp_path, "tiny/pretrain", 0, {})
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_logger_that_is_not_installed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=f"track={name}") as caught:
        open_trackers([name], tmp_path, "tiny/pretrain", 0, {})
    assert f"pip install {name}" in caught.value.hint
