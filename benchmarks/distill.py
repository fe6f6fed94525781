"""Bits per byte of a student with and without a teacher, at equal tokens, for three seeds.

    python benchmarks/distill.py [FOLDER] [--seeds N]

A teacher is pretrained on built-in stories. For each seed a student with a tenth of its parameters
begins with the same weights twice and sees the same rows in the same order; once the loss is the
rows' own tokens, once a part of it is the teacher's distribution. Both are scored by `lilllm eval`
on the teacher's validation stories, which neither has seen. What is done is kept in FOLDER, so that
an interrupted call goes on. The result goes to benchmarks/results/distill.json.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from machine import describe

ROOT = Path(__file__).parents[1]
OPTIMIZER = {
    "batch_tokens": 2048,
    "micro_batch_size": 8,
    "optimizer": "muon",
    "lr": 3e-3,
    "warmup_steps": 5,
    "schedule": "linear",
    "min_lr_ratio": 0.05,
    "eval_every": 0,
    "eval_tokens": 2048,
    "save_every": 100,
    "compile": False,
}
LENGTH = {"max_seq_len": 256, "qk_norm": True, "zero_init": False}
TEACHER = {
    "name": "teacher",
    "seed": 7,
    "tokenizer": {"vocab_size": 512, "train_bytes": 1_000_000},
    "data": {"sources": [{"path": "builtin:stories", "documents": 6_000}], "val_fraction": 0.02},
    "model": {"d_model": 96, "n_layers": 3, "n_heads": 3, "n_kv_heads": 3, "d_ff": 256} | LENGTH,
    "pretrain": OPTIMIZER | {"max_steps": 400},
}
STUDENT_MODEL = {"d_model": 32, "n_layers": 2, "n_heads": 2, "n_kv_heads": 2, "d_ff": 88} | LENGTH
STUDENT_STEPS = 120
TEACHER_WEIGHT = 0.7
DOCUMENTS = 100


def student(seed: int) -> dict[str, Any]:
    """A config whose two steps differ in the teacher alone."""
    base = f"runs/student-{seed}/pretrain/step-00000001"
    step = OPTIMIZER | {
        "base": base,
        "sources": [{"path": "builtin:stories", "documents": 3_000}],
        "too_long": "split",
        "max_steps": STUDENT_STEPS,
    }
    return {
        "name": f"student-{seed}",
        "seed": seed,
        "tokenizer": {"path": "runs/teacher/tokenizer"},
        "data": {"path": "runs/teacher/data"},
        "model": STUDENT_MODEL,
        "pretrain": OPTIMIZER | {"max_steps": 1, "warmup_steps": 0},
        "finetune": {
            "alone": step | {"method": "sft"},
            "taught": step
            | {"method": "distill", "teacher": "runs/teacher", "teacher_weight": TEACHER_WEIGHT},
        },
    }


def lilllm(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run a command; its result."""
    command = [sys.executable, "-m", "lilllm", *arguments, "--json"]
    done = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def bits_per_byte(folder: Path, checkpoint: str) -> float:
    """Of a checkpoint on the validation stories."""
    answer = lilllm(folder, "eval", checkpoint, f"eval.max_documents={DOCUMENTS}")
    return float(answer["tasks"]["bpb"]["bpb"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("distill-benchmark"))
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "teacher.yaml").write_text(yaml.safe_dump(TEACHER))
    teacher = lilllm(folder, "pretrain", "teacher.yaml")
    seeds = {}
    for seed in range(arguments.seeds):
        name = f"student-{seed}.yaml"
        (folder / name).write_text(yaml.safe_dump(student(seed)))
        lilllm(folder, "pretrain", name)
        steps = lilllm(folder, "finetune", name)["steps"]
        seeds[seed] = {step: bits_per_byte(folder, steps[step]["checkpoint"]) for step in steps}
        print(seed, seeds[seed], file=sys.stderr)
    result = {
        **describe(),
        "command": "python benchmarks/distill.py",
        "teacher": {
            "tokens": teacher["tokens"],
            "parameters": teacher["parameters"],
            "bpb": bits_per_byte(folder, teacher["checkpoint"]),
        },
        "student_tokens": STUDENT_STEPS * OPTIMIZER["batch_tokens"],
        "teacher_weight": TEACHER_WEIGHT,
        "bpb_by_seed": seeds,
        "mean_bpb": {
            step: sum(bpb[step] for bpb in seeds.values()) / len(seeds)
            for step in ("alone", "taught")
        },
    }
    path = ROOT / "benchmarks" / "results" / "distill.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
