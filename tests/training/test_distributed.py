"""Several processes see the batches, and reach the losses, of one."""

from pathlib import Path

import pytest
import torch

from lilllm.files import sha256_file
from lilllm.training.metrics import read_metrics
from lilllm.training.state import checkpoints
from tests.training.processes import Recorded, part, start

KINDS = {
    "adamw": (),
    "muon": ("pretrain.optimizer=muon",),
    "fsdp2": ("pretrain.distributed=fsdp2",),
    "accumulating": ("pretrain.micro_batch_size=2",),
    "accumulating fsdp2": ("pretrain.micro_batch_size=2", "pretrain.distributed=fsdp2"),
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def curve(folder: Path) -> list[float]:
    events = read_metrics(folder / "metrics.jsonl")
    return [event["loss"] for event in events if event["event"] == "step"]


def together(records: list[Recorded]) -> dict[int, list[str]]:
    """The samples of each step over all processes, in the order of the global batch."""
    return {
        step: [sample for record in records for sample in record.samples[step]]
        for step in records[0].samples
    }


def test_1_then_2_then_1_processes_end_as_an_undisturbed_run(tmp_path: Path) -> None:
    folders = {kind: tmp_path / kind for kind in KINDS}
    undisturbed = {kind: part(tmp_path / f"{kind} alone", *KINDS[kind]) for kind in KINDS}
    before = {kind: part(folders[kind], *KINDS[kind], stop_after=7) for kind in KINDS}
    between = start(
        [
            {
                "folder": str(folders[kind]),
                "overrides": KINDS[kind],
                "stop_after": 14,
                "stop_rank": 1,
            }
            for kind in KINDS
        ]
    )
    for kind, records in zip(KINDS, between, strict=True):
        after = part(folders[kind], *KINDS[kind])
        seen = before[kind].samples | together(records) | after.samples
        assert seen == undisturbed[kind].samples, "the same batches"
        assert all("after step 14" in record.error for record in records), records[0].error
        assert records[1].losses == [], "the first process alone reports"
        names = [folder.name for folder in checkpoints(folders[kind])]
        assert names == ["step-00000014", "step-00000020"]
        expected = curve(tmp_path / f"{kind} alone")
        assert len(expected) == 20
        assert curve(folders[kind]) == pytest.approx(expected, rel=1e-3 if kind == "muon" else 1e-5)


def test_the_same_processes_twice_give_the_same_bits(tmp_path: Path) -> None:
    """In a process group that somebody else has made; the first process computes alone at times."""
    parts: list[dict[str, object]] = []
    for kind in ("ddp", "fsdp2"):
        overrides = ["pretrain.micro_batch_size=1", f"pretrain.distributed={kind}"]
        whole, resumed = str(tmp_path / f"{kind} whole"), str(tmp_path / f"{kind} resumed")
        parts += [
            {"folder": whole, "overrides": overrides, "sample_every": 5},
            {"folder": resumed, "overrides": overrides, "stop_after": 10},
            {"folder": resumed, "overrides": overrides},
        ]
    start(parts, group_ready=True)
    for kind in ("ddp", "fsdp2"):
        folders = tmp_path / f"{kind} whole", tmp_path / f"{kind} resumed"
        assert len({sha256_file(f / "step-00000020/model.safetensors") for f in folders}) == 1
        events = read_metrics(folders[0] / "metrics.jsonl")
        assert [e["step"] for e in events if e["event"] == "sample"] == [5, 10, 15, 20]


@pytest.mark.slow
@pytest.mark.parametrize("processes", [4, 8])
def test_more_processes_resume_with_the_same_bits_and_losses(
    tmp_path: Path, processes: int
) -> None:
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    start(
        [
            {"folder": str(whole)},
            {"folder": str(resumed), "stop_after": 10, "stop_rank": processes - 1},
            {"folder": str(resumed)},
        ],
        processes,
    )
    hashes = {sha256_file(f / "step-00000020/model.safetensors") for f in (whole, resumed)}
    assert len(hashes) == 1
    part(tmp_path / "alone")
    assert curve(whole) == pytest.approx(curve(tmp_path / "alone"), rel=1e-5)
