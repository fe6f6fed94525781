"""Runs are listed while they are being trained."""

from pathlib import Path

from lilllm.stages.manage_runs import list_runs


def test_a_file_that_vanishes_meanwhile_is_left_out(tmp_path: Path) -> None:
    step = tmp_path / "demo/pretrain/step-00000001"
    step.mkdir(parents=True)
    (step / "model.safetensors").write_bytes(b"1234")
    (step / "pruned").symlink_to(step / "gone")
    (run,) = list_runs(tmp_path)
    assert run.bytes == 4
