"""What every stage that trains decides alike."""

import pytest
import torch

from lilllm.config.schema import OptimizationConfig
from lilllm.events import Caution, Event, silent
from lilllm.stages.training_stage import COMPILE_PAYS_AFTER, wants_compile

LONG, SHORT = 1.1 * COMPILE_PAYS_AFTER, 0.9 * COMPILE_PAYS_AFTER


def test_auto_compiles_long_runs_and_no_short_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function: function)
    auto = OptimizationConfig(compile="auto")
    assert wants_compile(auto, "cpu", LONG, silent)
    assert not wants_compile(auto, "cpu", SHORT, silent)
    assert wants_compile(OptimizationConfig(compile=True), "cpu", SHORT, silent)
    assert not wants_compile(OptimizationConfig(compile=False), "cpu", LONG, silent)


def test_without_a_compiler_auto_goes_without_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(function: object) -> object:
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", broken)
    told: list[Event] = []
    assert not wants_compile(OptimizationConfig(compile="auto"), "cpu", LONG, told.append)
    assert isinstance(told[0], Caution) and "does not work here" in str(told[0])
