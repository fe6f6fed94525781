import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lilllm.config import Config, load_config
from lilllm.data.batches import PackedWindows
from lilllm.errors import Interrupted, RunError
from lilllm.events import Event, StepDone
from lilllm.files import sha256_file, write_json
from lilllm.model.transformer import Shape, Transformer
from lilllm.training.distributed import World
from lilllm.training.hardware import Machine
from lilllm.training.loop import train
from lilllm.training.metrics import read_metrics
from lilllm.training.objectives import Loss
from lilllm.training.objectives.next_token import next_token_loss
from lilllm.training.run import Hooks, Run
from lilllm.training.state import checkpoints, newest_valid, read_marker

SHAPE = Shape(64, d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, d_ff=48, max_seq_len=16)
MACHINE = Machine("cpu", "fp32", 1, 1e11, "test")
Events = list[Event]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def config(*overrides: str) -> Config:
    return load_config(
        None,
        [
            *("model.max_seq_len=16", "pretrain.batch_tokens=64", "pretrain.micro_batch_size=4"),
            *("pretrain.log_every=1", "pretrain.warmup_steps=2", "pretrain.lr=1e-2"),
            *("pretrain.optimizer=adamw", "pretrain.schedule=cosine", "pretrain.min_lr_ratio=0.1"),
            *("pretrain.eval_every=0", "pretrain.save_every=100", *overrides),
        ],
    )


def windows() -> PackedWindows:
    rng = np.random.default_rng(0)
    ends = np.cumsum(rng.integers(3, 20, 60))
    tokens = rng.integers(1, 64, ends[-1])
    tokens[1::2] = tokens[::2][: len(tokens[1::2])] // 2  # something to learn
    tokens[ends - 1] = 0
    return PackedWindows(lambda a, b: tokens[a:b], ends, 16, before_id=0)


def make_run(folder: Path, steps: int, settings: Config, **changes: Any) -> tuple[Run, Events]:
    model = changes.pop("model", None) or Transformer(changes.pop("shape", SHAPE), seed=1)
    events: Events = []

    def write_weights(partial: Path, counters: object, weights: dict[str, torch.Tensor]) -> None:
        from safetensors.torch import save_file

        save_file(weights, partial / "model.safetensors")

    run = Run(
        stage="pretrain",
        folder=folder,
        model=model,
        objective=changes.pop("objective", next_token_loss),
        windows=windows(),
        config=settings.pretrain,
        steps=steps,
        seed=5,
        machine=MACHINE,
        hooks=changes.pop("hooks", Hooks(write_weights)),
        report=events.append,
        world=changes.pop("world", World()),
    )
    if isinstance(run.hooks, Hooks):
        run.hooks = replace(run.hooks, write_weights=write_weights)
    for name, value in changes.items():
        setattr(run, name, value)
    return run, events


def resumed(folder: Path, steps: int, settings: Config, shape: Shape = SHAPE) -> Run:
    from safetensors.torch import load_file

    latest = newest_valid(folder, lambda event: None)
    assert latest is not None
    model = Transformer(shape)
    model.load_state_dict(load_file(latest / "model.safetensors"))
    run, _ = make_run(folder, steps, settings, model=model)
    train(run, latest)
    return run


def losses(events: Events) -> list[float]:
    return [event.loss for event in events if isinstance(event, StepDone)]


@pytest.mark.parametrize("overrides", [(), ("pretrain.optimizer=muon",)], ids=["adamw", "muon"])
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_interrupted_and_resumed_equals_uninterrupted_bit_for_bit(
    tmp_path: Path, overrides: tuple[str, ...], dropout: float
) -> None:
    shape = replace(SHAPE, dropout=dropout)
    settings = config("pretrain.save_every=7", *overrides)
    whole, _ = make_run(tmp_path / "whole", 40, settings, shape=shape)  # three epochs
    train(whole, None)

    part, _ = make_run(tmp_path / "part", 40, settings, shape=shape)
    stop_after = 20

    def objective(*batch: Any) -> Loss:
        if part.counters.step == stop_after:
            os.kill(os.getpid(), signal.SIGTERM)
        return next_token_loss(*batch)

    part.objective = objective
    with pytest.raises(Interrupted, match="stopped by SIGTERM after step 21"):
        train(part, None)
    done = resumed(tmp_path / "part", 40, settings, shape)
    assert done.counters == whole.counters
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, done.model.state_dict()[name]), name
    hashes = {
        sha256_file(tmp_path / name / "step-00000040" / "model.safetensors")
        for name in ("whole", "part")
    }
    assert len(hashes) == 1


def test_a_stop_at_a_step_with_validation_loses_neither_score_nor_sample_nor_the_best(
    tmp_path: Path,
) -> None:
    settings = config("pretrain.save_every=2", "pretrain.eval_every=2", "pretrain.keep_last=1")

    def scored(folder: Path) -> Run:
        run, _ = make_run(folder, 6, settings)
        get_worse = lambda poll: {"val_loss": float(run.counters.step)}  # noqa: E731
        run.hooks = replace(run.hooks, validate=get_worse, sample=lambda: [("a", "b")])
        run.sample_every = 2
        return run

    train(scored(tmp_path / "whole"), None)
    part = scored(tmp_path / "part")

    def objective(*batch: Any) -> Loss:
        if part.counters.step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return next_token_loss(*batch)

    part.objective = objective
    with pytest.raises(Interrupted, match="after step 2"):
        train(part, None)
    train(scored(tmp_path / "part"), tmp_path / "part" / "step-00000002")
    for name in ("whole", "part"):
        events = read_metrics(tmp_path / name / "metrics.jsonl")
        for kind in ("validation", "sample"):
            assert [event["step"] for event in events if event["event"] == kind] == [2, 4, 6]
        assert read_marker(tmp_path / name, "best") == "step-00000002"
        assert (tmp_path / name / "step-00000002").is_dir()


@pytest.mark.parametrize("signal_name", ["SIGINT", "SIGUSR1", "SIGHUP"])
def test_signals_save_and_exit_also_during_validation(tmp_path: Path, signal_name: str) -> None:
    number = getattr(signal, signal_name)
    if signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip(f"{signal_name} is ignored here, as under nohup")
    before = signal.getsignal(signal.SIGINT)

    def validate(poll: Callable[[], None]) -> dict[str, float]:
        os.kill(os.getpid(), number)
        poll()
        raise AssertionError("poll must raise")

    run, _ = make_run(tmp_path, 10, config("pretrain.eval_every=3"))
    run.hooks = replace(run.hooks, validate=validate)
    with pytest.raises(Interrupted, match=signal_name):
        train(run, None)
    assert [p.name for p in checkpoints(tmp_path)] == ["step-00000003"]
    assert signal.getsignal(signal.SIGINT) is before


def test_accumulation_of_1_2_and_4_micro_steps_gives_the_same_losses(tmp_path: Path) -> None:
    curves = []
    for size in (4, 2, 1):
        settings = config(f"pretrain.micro_batch_size={size}")
        run, events = make_run(tmp_path / str(size), 20, settings)
        train(run, None)
        curves.append(losses(events))
    assert curves[1] == pytest.approx(curves[0], rel=1e-5)
    assert curves[2] == pytest.approx(curves[0], rel=1e-5)


def test_training_learns_and_the_curve_is_golden(tmp_path: Path) -> None:
    run, events = make_run(tmp_path, 60, config())
    train(run, None)
    path = Path(__file__).with_name("golden_losses.json")
    if os.environ.get("LILLLM_GOLDEN"):
        write_json(path, [round(loss, 6) for loss in losses(events)])
    import json

    assert losses(events) == pytest.approx(json.loads(path.read_text()), rel=1e-3)
    assert losses(events)[-1] < losses(events)[0] - 0.5


def test_a_loss_that_is_not_finite_stops_before_the_update(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path, 10, config("pretrain.save_every=2"))

    def objective(*batch: Any) -> Loss:
        loss = next_token_loss(*batch)
        return loss._replace(total=loss.total * float("nan")) if run.counters.step == 5 else loss

    run.objective = objective
    with pytest.raises(RunError, match=r"step 6: loss nan.*step-00000004") as caught:
        train(run, None)
    assert "pretrain.lr" in caught.value.hint
    assert all(torch.isfinite(weight).all() for weight in run.model.state_dict().values())
    assert [p.name for p in checkpoints(tmp_path)] == ["step-00000002", "step-00000004"]


def test_a_step_without_any_target_is_an_error(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path, 3, config())
    rows = run.windows.read

    class Masked:
        length = 16

        def __len__(self) -> int:
            return 10

        def read(self, index: Any) -> Any:
            batch = rows(index)
            return batch._replace(targets=np.full_like(batch.targets, -100))

    run.windows = Masked()
    with pytest.raises(RunError, match="no target in"):
        train(run, None)


def test_old_checkpoints_are_pruned_but_the_best_one_is_kept(tmp_path: Path) -> None:
    scores = iter([3.0, 1.0, 2.0, 2.5, 2.6])
    settings = config("pretrain.save_every=2", "pretrain.eval_every=2", "pretrain.keep_last=2")
    run, _ = make_run(tmp_path, 10, settings)
    run.hooks = replace(run.hooks, validate=lambda poll: {"val_loss": next(scores)})
    train(run, None)
    names = [p.name for p in checkpoints(tmp_path)]
    assert names == ["step-00000004", "step-00000008", "step-00000010"]
    assert read_marker(tmp_path, "best") == "step-00000004"
    assert read_marker(tmp_path, "latest") == "step-00000010"


def test_a_resumed_run_counts_repeated_steps_once(tmp_path: Path) -> None:
    settings = config("pretrain.save_every=5")
    run, _ = make_run(tmp_path, 20, settings)

    def objective(*batch: Any) -> Loss:
        if run.counters.step == 8:
            raise KeyboardInterrupt  # as good as a crash: nothing is saved
        return next_token_loss(*batch)

    run.objective = objective
    with pytest.raises(KeyboardInterrupt):
        train(run, None)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"event": "step", "st')  # torn by the crash
    resumed(tmp_path, 20, settings)
    steps = [e["step"] for e in read_metrics(tmp_path / "metrics.jsonl") if e["event"] == "step"]
    assert steps == list(range(1, 21))


def test_the_last_step_uses_the_schedules_floor(tmp_path: Path) -> None:
    run, events = make_run(tmp_path, 12, config("pretrain.min_lr_ratio=0.25"))
    train(run, None)
    rates = [event.lr for event in events if isinstance(event, StepDone)]
    assert rates[-1] == pytest.approx(0.25 * 1e-2)
    assert max(rates) == pytest.approx(1e-2)


class Pairs:
    """Samples that are no windows: pairs of rows with a weight."""

    length = 8

    def __len__(self) -> int:
        return 12

    def read(self, rows: Any) -> tuple[Any, ...]:
        ids = np.stack(
            [(rows[:, None] + np.arange(8)) % 64, (rows[:, None] * 3) % 60 + np.arange(8)]
        )
        return ids.transpose(1, 0, 2), (rows + 1).astype(np.float32)


def pair_loss(model: Transformer, ids: torch.Tensor, weights: torch.Tensor) -> Loss:
    scores = model(ids.flatten(0, 1))[:, -1, 0].view(-1, 2)
    margins = (scores[:, 0] - scores[:, 1]) * weights
    losses = -torch.nn.functional.logsigmoid(margins)
    return Loss(losses.sum(), torch.tensor(len(ids)), {"accuracy": (margins > 0).sum()})


@pytest.mark.parametrize("micro", [2, 3, 6])
def test_an_objective_has_its_own_batches_unit_and_measures(tmp_path: Path, micro: int) -> None:
    run, events = make_run(
        tmp_path, 4, config("pretrain.batch_tokens=96", f"pretrain.micro_batch_size={micro}")
    )
    run.windows, run.objective, run.batch_rows = Pairs(), pair_loss, 6
    train(run, None)
    steps = [event for event in events if isinstance(event, StepDone)]
    assert steps[0].loss == pytest.approx(0.90469, rel=1e-3), "the mean over pairs, however cut"
    assert 0 <= steps[-1].measures["accuracy"] <= 1
    logged = [e for e in read_metrics(tmp_path / "metrics.jsonl") if e["event"] == "step"]
    assert [e["accuracy"] for e in logged] == [step.measures["accuracy"] for step in steps]
    assert run.counters.tokens == 4 * 6 * 8


def test_what_is_frozen_is_not_trained_and_has_no_state(tmp_path: Path) -> None:
    model = Transformer(SHAPE, seed=1)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("layers.1.mlp" in name)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run, _ = make_run(tmp_path, 3, config(), model=model)
    train(run, None)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) != ("layers.1.mlp" in name), name
    from safetensors import safe_open

    with safe_open(checkpoints(tmp_path)[-1] / "state" / "optimizer.safetensors", "pt") as state:
        assert {name.split(".mlp.")[0] for name in state.keys()} == {"model.layers.1"}  # noqa: SIM118
