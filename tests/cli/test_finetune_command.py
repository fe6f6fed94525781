"""`lilllm finetune`, `eval` and `data inspect --rows` from the outside: exit codes and JSON."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.stages.tiny_run import CONFIG, write_checkpoint

ROOT = Path(__file__).parents[2]
ROWS = [
    {"text": f"The {a} sat {n}", "label": y}
    for n in range(12)
    for a, y in [("cat", "1"), ("dog", "0")]
]


def lilllm(folder: Path, *arguments: str) -> Any:
    return subprocess.run(
        [sys.executable, "-m", "lilllm", *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    base = write_checkpoint(tmp_path / "base" / "step-00000001")
    (tmp_path / "rows.tsv").write_text("".join(f"{r['text']}\t{r['label']}\n" for r in ROWS))
    rows = {"path": "rows.tsv", "columns": ["text", "label"]}
    step = {
        **{"method": "classify", "base": str(base), "sources": [rows], "val_fraction": 0.25},
        **{"batch_rows": 4, "micro_batch_size": 4, "epochs": 2, "lr": 0.01, "warmup_steps": 0},
        **{"tasks": ["test"], "eval_every": 0},
    }
    tasks = {"test": {"kind": "classification", "sources": [rows]}}
    config = {**CONFIG, "finetune": {"spam": step}, "eval": {"tasks": tasks}}
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    return tmp_path


def test_measures_stand_in_the_results_of_finetune_and_eval(folder: Path) -> None:
    done = lilllm(folder, "finetune", "config.yaml", "--json")
    assert done.returncode == 0, done.stderr
    step = json.loads(done.stdout)["steps"]["spam"]
    assert {"checkpoint", "method", "step", "val_accuracy", "val_loss"} <= step.keys()
    assert step["test"]["rows"] == 24
    scored = lilllm(folder, "eval", step["checkpoint"], "--json")
    assert scored.returncode == 0, scored.stderr
    assert json.loads(scored.stdout)["tasks"]["test"]["accuracy"] == step["test"]["accuracy"]


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        (["finetune.spam.sources=[none.tsv]"], 3, "none.tsv: no such file"),
        (["finetune.spam.method=dpo"], 3, "rows.tsv:1: not a preference pair"),
        (["finetune.spam.tasks=[other]"], 2, "other: not in eval.tasks: test"),
        (["finetune.spam.base=nowhere"], 4, "nowhere: no such checkpoint, folder or config"),
        (["--step", "spma"], 2, "its steps: spam"),
    ],
)
def test_bad_input_ends_with_its_exit_code(
    folder: Path, changes: list[str], code: int, said: str
) -> None:
    done = lilllm(folder, "finetune", "config.yaml", *changes)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert said in done.stderr


def test_rows_are_shown_with_what_is_learnt(folder: Path) -> None:
    shown = lilllm(folder, "data", "inspect", "config.yaml", "--rows", "-n", "1", "--json")
    assert shown.returncode == 0, shown.stderr
    (source,) = json.loads(shown.stdout)["steps"]["spam"]
    (sample,) = source["samples"]
    assert sample["shape"] == "labelled"
    assert [span["learnt"] for span in sample["seen"][0]] == [False, True]
    assert sample["seen"][0][1]["text"].endswith("1")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["classify", "dpo"])
def test_two_processes_train_what_one_does(folder: Path, method: str) -> None:
    pairs = [{"prompt": f"{n}?", "chosen": f"Yes {n}", "rejected": f"No {n}"} for n in range(40)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    changes = ["finetune.spam.max_steps=6", "finetune.spam.micro_batch_size=2"]
    changes += ["precision=fp32"]  # bf16 rounds rows that are filled up otherwise differently
    if method == "dpo":
        changes += ["finetune.spam.method=dpo", "finetune.spam.sources=[pairs.jsonl]"]
        changes += ["finetune.spam.tasks=[]"]
    steps = []
    for count in ("1", "2"):
        arguments = ["config.yaml", "--nproc", count, f"name=with{count}", *changes, "--json"]
        done = lilllm(folder, "finetune", *arguments)
        assert done.returncode == 0, done.stderr
        steps.append(json.loads(done.stdout)["steps"]["spam"])
    one, two = steps
    assert two["train_loss"] == pytest.approx(one["train_loss"], rel=1e-5)
    assert two["val_loss"] == pytest.approx(one["val_loss"], rel=1e-3)
