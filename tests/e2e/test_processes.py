"""Training with torchrun and with `--nproc`, in real processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lilllm.training.metrics import read_metrics
from tests.e2e.conftest import ENVIRONMENT, Lilllm, refused, result

pytestmark = pytest.mark.long
FP32 = ("precision=fp32", "pretrain.log_every=1", "pretrain.optimizer=adamw")


def losses(folder: Path) -> list[float]:
    events = read_metrics(folder / "pretrain/metrics.jsonl")
    return [event["loss"] for event in events if event["event"] == "step"]


@pytest.mark.parametrize("kind", ["ddp", pytest.param("fsdp2", marks=pytest.mark.slow)])
def test_torchrun_builds_everything_once_and_reaches_the_losses_of_one_process(
    lilllm: Lilllm, tmp_path: Path, kind: str
) -> None:
    torchrun = "-m torch.distributed.run --standalone --nproc-per-node 2 -m lilllm".split()
    settings = *FP32, f"pretrain.distributed={kind}"
    done = subprocess.run(
        [sys.executable, *torchrun, "pretrain", "tiny.yaml", "--json", *settings],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env=ENVIRONMENT,
    )
    together = result(done)
    assert f"2 processes ({kind})" in done.stderr
    assert done.stderr.count("saved in") == 10, "one process reports"
    shared = "tokenizer.path=runs/tiny/tokenizer", "data.path=runs/tiny/data"
    alone = result(lilllm("pretrain", "tiny.yaml", "--json", "name=alone", *FP32, *shared))
    expected = losses(tmp_path / "runs/alone")
    assert losses(tmp_path / "runs/tiny") == pytest.approx(expected, rel=1e-5)
    for measure in ("val_loss", "val_bpb", "train_loss"):
        assert together[measure] == pytest.approx(alone[measure], rel=1e-5)
    folders = [tmp_path / f"runs/{name}/pretrain/step-00000040" for name in ("tiny", "alone")]
    manifests = [json.loads((folder / "manifest.json").read_text()) for folder in folders]
    sizes = [{name: entry["bytes"] for name, entry in m["files"].items()} for m in manifests]
    del sizes[0]["lilllm.yaml"], sizes[1]["lilllm.yaml"]  # the name of the run is in it
    assert sizes[0] == sizes[1], "checkpoints look the same whoever wrote them"


def start(tmp_path: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "lilllm", *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def wait_for(path: Path) -> None:
    for _ in range(600):
        if path.exists():
            return
        time.sleep(0.1)
    raise AssertionError(f"{path} did not come")


def test_nproc_trains_finetunes_and_tells_one_error(lilllm: Lilllm, tmp_path: Path) -> None:
    """One test, so that tokenizer and data are made once."""
    shared = "pretrain.max_steps=4000", "finetune.chat.lr=2e-3"
    process = start(tmp_path, "pretrain", "tiny.yaml", "--nproc", "2", "--json", *shared)
    folder = tmp_path / "runs/tiny/pretrain"
    wait_for(folder / "step-00000008")
    process.send_signal(signal.SIGTERM)
    out, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    error = json.loads(out)["error"]
    step = int(error["message"].split("after step ")[1].split(";")[0])
    assert (folder / f"step-{step:08d}").is_dir()
    assert said.count(f"step {step:,} saved in") == 1, "once"

    process = start(tmp_path, "pretrain", "tiny.yaml", "--nproc", "2", "--json", *shared)
    wait_for(folder / f"step-{step // 4 * 4 + 8:08d}")
    os.kill(last_child(process.pid), signal.SIGKILL)
    out, said = process.communicate(timeout=120)
    assert process.returncode == 5, said
    assert "Traceback" not in said
    assert "killed" in json.loads(out)["error"]["message"]
    assert said.count("lilllm: error") == 1

    refused(
        lilllm("pretrain", "tiny.yaml", "--nproc", "3", "name=other"),
        *(2, "8 sequences of 64 tokens, which 3 processes cannot share equally"),
    )
    base = "finetune.chat.base=" + newest(folder)
    done = result(lilllm("finetune", "tiny.yaml", "--nproc", "2", "--json", base))
    assert done["steps"]["chat"]["step"] == 12


def newest(folder: Path) -> str:
    return str(folder / (folder / "latest").read_text().strip())


def last_child(pid: int) -> int:
    psutil = pytest.importorskip("psutil")
    children = psutil.Process(pid).children()
    ranked = [c for c in children if c.environ().get("RANK") == "1"]
    return int(ranked[0].pid)
