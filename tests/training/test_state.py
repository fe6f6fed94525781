from pathlib import Path

import pytest
import torch

from lilllm.errors import CheckpointError, RunError
from lilllm.events import Caution, Event
from lilllm.training.state import (
    Counters,
    checkpoints,
    load_state,
    newest_valid,
    read_marker,
    save_checkpoint,
)

STATE = {"w.exp_avg": torch.arange(6.0).reshape(2, 3), "w.step": torch.tensor(3.0)}


def write(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"weights" * 1000)


def save(stage: Path, step: int) -> Path:
    return save_checkpoint(stage, Counters(step, step * 4, step * 64), write, STATE)


def test_counters_and_optimizer_state_come_back_as_they_were(tmp_path: Path) -> None:
    counters, tensors = load_state(save(tmp_path, 3))
    assert counters == Counters(3, 12, 192)
    assert tensors.keys() == STATE.keys()
    assert all(torch.equal(tensors[name], STATE[name]) for name in STATE)


@pytest.mark.parametrize("damage", ["cut", "flip", "no manifest", "missing file"])
def test_a_damaged_newest_checkpoint_is_told_and_the_one_before_is_used(
    tmp_path: Path, damage: str
) -> None:
    before, newest = save(tmp_path, 3), save(tmp_path, 6)
    weights = newest / "model.safetensors"
    content = weights.read_bytes()
    if damage == "cut":
        weights.write_bytes(content[:-1])
    elif damage == "flip":
        weights.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    elif damage == "missing file":
        weights.unlink()
    else:
        (newest / "manifest.json").unlink()
    events: list[Event] = []
    assert newest_valid(tmp_path, events.append) == before
    assert isinstance(events[0], Caution)
    assert str(newest) in events[0].text


def test_a_full_disk_during_a_save_loses_nothing(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    import signal

    good = save(tmp_path, 3)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(RunError, match="cannot be written") as caught:
            save(tmp_path, 6)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "free some space" in caught.value.hint
    assert checkpoints(tmp_path) == [good]
    assert newest_valid(tmp_path, lambda event: None) == good
    assert read_marker(tmp_path, "latest") == good.name
    assert not list(tmp_path.glob(".partial-*"))


def test_a_checkpoint_without_state_cannot_be_resumed(tmp_path: Path) -> None:
    folder = save(tmp_path, 3)
    (folder / "state" / "counters.json").write_text("{}x")
    with pytest.raises(CheckpointError, match=r"counters\.json"):
        load_state(folder)
