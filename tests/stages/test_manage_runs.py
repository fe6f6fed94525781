"""Runs are listed while they are being trained."""

from pathlib import Path

import pytest

from lilllm.errors import RunError
from lilllm.files import lock_folder
from lilllm.stages.manage_runs import list_runs, remove_run
from tests.cli.small_app import run


def test_a_file_that_vanishes_meanwhile_is_left_out(tmp_path: Path) -> None:
    step = tmp_path / "demo/pretrain/step-00000001"
    step.mkdir(parents=True)
    (step / "model.safetensors").write_bytes(b"1234")
    (step / "pruned").symlink_to(step / "gone")
    (run,) = list_runs(tmp_path)
    assert run.bytes == 4


def test_a_run_that_is_being_trained_is_not_removed(tmp_path: Path) -> None:
    stage = tmp_path / "demo/pretrain"
    with lock_folder(stage), pytest.raises(RunError, match="another process is working on it"):
        remove_run("demo", tmp_path)
    (stage.parent / ".lock-pretrain").touch()  # as a killed process leaves it
    assert remove_run("demo", tmp_path) == tmp_path / "demo"
    assert not (tmp_path / "demo").exists()


def test_what_is_no_run_is_told_before_anything_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/demo").mkdir(parents=True)
    said = run("runs", "remove", "nope", code=2).stderr
    assert "no such run" in said and "runs here: demo" in said
    assert "--yes" in run("runs", "remove", "demo", code=2).stderr
    assert (tmp_path / "runs/demo").is_dir()


def test_a_link_to_a_run_is_removed_and_not_the_run(tmp_path: Path) -> None:
    (tmp_path / "far/pretrain").mkdir(parents=True)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/near").symlink_to(tmp_path / "far")
    remove_run("near", tmp_path / "runs")
    assert (tmp_path / "far/pretrain").is_dir() and not (tmp_path / "runs/near").exists()


def test_lines_that_no_run_wrote_are_passed_over(tmp_path: Path) -> None:
    step = tmp_path / "demo/pretrain/step-00000001"
    step.mkdir(parents=True)
    (step / "manifest.json").write_text("{}")
    (step.parent / "metrics.jsonl").write_text('5\n{"loss": 3}\n')
    (run,) = list_runs(tmp_path)
    assert all(stage.val_loss is None for stage in run.stages)
