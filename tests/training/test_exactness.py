"""Curves that must not depend on how a step is cut, and runs that continue to the bit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lilllm.config import load_config
from lilllm.config.schema import Config
from lilllm.data.batches import PackedWindows, StreamWindows, documents_in
from lilllm.errors import ConfigError, DataError, RunError
from lilllm.files import sha256_file
from lilllm.training import hardware
from lilllm.training.hardware import Machine, choose_precision
from lilllm.training.loop import train
from lilllm.training.metrics import read_metrics
from lilllm.training.objectives.next_token import next_token_loss
from lilllm.training.state import Counters
from tests.training.processes import masked_windows
from tests.training.test_loop import SHAPE, config, losses, make_run, resumed

MUON = ("pretrain.optimizer=muon",)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def curve(folder: Path, settings: Config, **changes: Any) -> list[float]:
    run, events = make_run(folder, 20, settings, **changes)
    train(run, None)
    return losses(events)


@pytest.mark.parametrize(("overrides", "bound"), [((), 1e-5), (MUON, 1e-3)], ids=["adamw", "muon"])
def test_accumulation_of_masked_targets_gives_the_same_losses(
    tmp_path: Path, overrides: tuple[str, ...], bound: float
) -> None:
    curves = [
        curve(
            tmp_path / str(size),
            config(f"pretrain.micro_batch_size={size}", *overrides),
            windows=masked_windows(),
        )
        for size in (4, 2, 1)
    ]
    assert curves[1] == pytest.approx(curves[0], rel=bound)
    assert curves[2] == pytest.approx(curves[0], rel=bound)


@pytest.mark.parametrize("overrides", [(), MUON], ids=["adamw", "muon"])
def test_killed_within_an_accumulation_and_resumed_equals_undisturbed(
    tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    settings = config("pretrain.micro_batch_size=1", "pretrain.save_every=10", *overrides)
    whole, part = tmp_path / "whole", tmp_path / "part"
    curve(whole, settings)
    run, _ = make_run(part, 20, settings)
    calls = 0

    def objective(*batch: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 11 * 4 + 3:  # the third of four micro-steps
            raise KeyboardInterrupt  # as good as a kill: nothing is saved
        return next_token_loss(*batch)

    run.objective = objective
    with pytest.raises(KeyboardInterrupt):
        train(run, None)
    resumed(part, 20, settings)
    assert len(run.windows) < 20 * 4, "an epoch ends on the way"
    name = "step-00000020/model.safetensors"
    assert sha256_file(whole / name) == sha256_file(part / name)


def test_checkpointed_activations_give_the_same_bits(tmp_path: Path) -> None:
    shape = replace(SHAPE, dropout=0.1)
    plain = curve(tmp_path / "plain", config(), shape=shape)
    again = config("pretrain.activation_checkpointing=true")
    assert curve(tmp_path / "again", again, shape=shape) == plain


def test_fp16_learns_as_fp32_does_and_an_overflow_costs_one_step(tmp_path: Path) -> None:
    machine = Machine("cpu", "fp16", 1, 1e11, "test")
    half = curve(tmp_path / "fp16", config(), machine=machine)
    assert half == pytest.approx(curve(tmp_path / "fp32", config()), rel=0.02)

    run, _ = make_run(tmp_path / "overflow", 3, config("pretrain.save_every=1"), machine=machine)
    run.counters = Counters(loss_scale=2.0**30)
    before = {name: weight.clone() for name, weight in run.model.state_dict().items()}
    run.steps = 1
    train(run, None)
    assert run.counters == Counters(1, 4, 64, 2.0**29, 0)
    after = run.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before), "nothing was updated"


def test_the_loss_scale_grows_again_after_many_good_steps() -> None:
    counters = Counters(loss_scale=8.0)
    for _ in range(1000):
        counters = counters.after_step(1, 1, finite=True)
    assert (counters.loss_scale, counters.steady_steps) == (16.0, 0)
    assert counters.after_step(1, 1, finite=False).loss_scale == 8.0


@pytest.mark.parametrize(
    ("device", "peaks", "chosen"),
    [
        ("cuda", {"fp32": 50, "bf16": 700, "fp16": 700}, "bf16"),
        ("cuda", {"fp32": 8, "bf16": 3, "fp16": 40}, "fp16"),  # T4, V100, RTX 20
        ("cuda", {"fp32": 8, "bf16": 0, "fp16": 8}, "fp32"),
        ("cpu", {"fp32": 1, "bf16": 2, "fp16": 0}, "bf16"),
        ("cpu", {"fp32": 1, "bf16": 1, "fp16": 9}, "fp32"),
        ("mps", {"fp32": 1, "bf16": 9, "fp16": 9}, "fp32"),
    ],
)
def test_precision_follows_what_the_hardware_is_fast_at(
    device: str, peaks: dict[str, float], chosen: str
) -> None:
    assert choose_precision(device, peaks) == chosen


@pytest.mark.parametrize(("units", "chosen"), [(True, "bf16"), (False, "fp32"), (None, "fp32")])
def test_a_busy_machine_does_not_change_the_precision(
    units: bool | None, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "_measure_peak", lambda device, dtype: 1e9)  # all alike
    monkeypatch.setattr(hardware, "_has_bf16_units", lambda: units)
    assert hardware.resolve_machine(Config(device="cpu")).precision == chosen


def test_a_loss_that_is_not_finite_names_the_documents_of_its_batch(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path, 10, config("pretrain.save_every=2"))
    run.hooks = replace(run.hooks, documents=lambda rows: [f"a {row}" for row in rows.tolist()])

    def objective(*batch: Any) -> Any:
        loss = next_token_loss(*batch)
        return loss._replace(total=loss.total * float("inf")) if run.counters.step == 5 else loss

    run.objective = objective
    with pytest.raises(RunError, match=r"step 6.*its batch: a \d+, a \d+.*step-00000004"):
        train(run, None)
    logged = read_metrics(tmp_path / "metrics.jsonl")[-1]
    assert logged["event"] == "not finite"
    assert logged["documents"] == [f"a {row}" for row in logged["samples"]]


@pytest.mark.parametrize("kind", ["packed", "stream"])
def test_documents_of_samples_are_those_whose_tokens_are_read(kind: str) -> None:
    ends = np.array([3, 10, 11, 30, 36])
    owner = np.repeat(np.arange(5), np.diff(ends, prepend=0))
    asked: list[tuple[int, int]] = []

    def read(start: int, stop: int) -> Any:
        asked.append((start, stop))
        return owner[start:stop]

    windows = (
        PackedWindows(read, ends, 8, before_id=None)
        if kind == "packed"
        else StreamWindows(read, 36, 8)
    )
    for row in range(len(windows)):
        asked.clear()
        windows.read(np.array([row]))
        touched = sorted({int(owner[i]) for a, b in asked for i in range(a, b)})
        assert documents_in(windows.spans(np.array([row])), ends).tolist() == touched


def test_batches_that_cannot_be_shared_or_filled_are_refused(tmp_path: Path) -> None:
    from lilllm.training.distributed import World

    def refused(error: type[Exception], match: str, size: int, *overrides: str) -> None:
        with pytest.raises(error, match=match):
            replace(make_run(tmp_path, 3, config(*overrides))[0], world=World(size=size))

    refused(ConfigError, "4 sequences of 16 tokens, which 3 processes cannot share", 3)
    refused(ConfigError, "4 sequences of 16 tokens, which 8 processes cannot share", 8)
    sizes = "pretrain.batch_tokens=96", "pretrain.micro_batch_size=2"
    refused(ConfigError, "micro_batch_size=2 does not divide the 3 sequences", 2, *sizes)
    sizes = "pretrain.batch_tokens=16384", "pretrain.micro_batch_size=64"
    refused(DataError, r"samples are all there is .* fewer than the 1024 of one step", 1, *sizes)


@pytest.mark.parametrize("rate", ["0", "-1", "1e6", ".nan", ".inf"])
def test_learning_rates_that_cannot_work_are_refused(rate: str) -> None:
    with pytest.raises(ConfigError, match=r"pretrain\.lr"):
        load_config(None, [f"pretrain.lr={rate}"])


@pytest.mark.parametrize("section", ["pretrain", "finetune.chat"])
def test_muon_is_refused_with_shares_of_matrices(section: str) -> None:
    named = rf"{section}\.optimizer=adamw is needed .*muon needs whole matrices"
    with pytest.raises(ConfigError, match=named):
        load_config(None, [f"{section}.optimizer=muon", f"{section}.distributed=fsdp2"])
    with pytest.raises(ConfigError, match=r"pretrain\.optimizer=adamw is needed"):
        load_config(None, ["pretrain.distributed=fsdp2"])
    load_config(None, ["finetune.chat.distributed=fsdp2"])


@pytest.mark.parametrize("kind", ["cuda", "cpu"])
def test_out_of_memory_says_what_needs_less(tmp_path: Path, kind: str) -> None:
    run, _ = make_run(tmp_path, 3, config())

    def objective(*batch: Any) -> Any:
        if kind == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.empty(2**60)

    run.objective = objective
    with pytest.raises(RunError, match=r"step 1: out of memory with micro_batch_size=4") as caught:
        train(run, None)
    assert "pretrain.micro_batch_size=2" in caught.value.hint
    assert "activation_checkpointing" in caught.value.hint
    assert "lilllm plan" in caught.value.hint
