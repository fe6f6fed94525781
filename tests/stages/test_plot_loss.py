"""The picture of a run's losses."""

import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from lilllm.stages.plot_loss import plot_loss


def test_stages_are_drawn_in_the_order_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = {
        "finetune/chat": 30.0,
        "finetune/words": 20.0,
        "finetune/about": 40.0,
        "pretrain": 50.0,
    }
    for stage, time in begun.items():
        log = tmp_path / stage / "metrics.jsonl"
        log.parent.mkdir(parents=True)
        events = [{"event": "step", "time": time + n, "step": n, "loss": 3.0} for n in range(2)]
        log.write_text("".join(json.dumps(event) + "\n" for event in events))
    titles: list[str] = []

    def note(figure: Figure, path: Path, **given: Any) -> None:
        titles.extend(axis.get_title() for axis in figure.axes)
        path.touch()

    monkeypatch.setattr(Figure, "savefig", note)
    assert plot_loss(tmp_path) == tmp_path / "loss.png"
    assert titles == ["pretrain", "words", "chat", "about"]
    assert plot_loss(tmp_path / "finetune") is None
