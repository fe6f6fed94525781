"""Distillation and GRPO as steps of a config: resumed exactly, bad input told."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from lilllm.cli.app import app
from lilllm.files import remove, sha256_file
from lilllm.stages.methods.rollouts import Answer, Rollouts
from lilllm.tokenizer import Tokenizer, train_bpe
from tests.stages.tiny_run import CONFIG, write_checkpoint

torch.set_num_threads(1)
ROWS = [
    {"prompt": f"Say {word}.", "completion": f"I say {word}.", "words": [word]}
    for word in ("sun", "cat", "dog", "moon", "hill", "stone")
]
STEP = {"base": "runs/base/pretrain/step-00000001", "sources": ["rows.jsonl"], "val_fraction": 0}
STEP |= {"max_steps": 4, "save_every": 2, "keep_last": 9, "micro_batch_size": 2, "lr": 1e-3}
STEP |= {"warmup_steps": 0, "batch_tokens": 128}
DISTILL = STEP | {"method": "distill", "teacher": "runs/teacher"}
GRPO = STEP | {"method": "grpo", "rewards": [{"kind": "words"}], "group_size": 3}
GRPO |= {"answer_tokens": 8, "batch_rows": 4}


@pytest.fixture(autouse=True)
def _a_base_a_teacher_and_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_checkpoint(Path("runs/base/pretrain/step-00000001"))
    write_checkpoint(Path("runs/teacher/pretrain/step-00000001"), seed=1)
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))


def finetune(step: dict[str, Any], code: int = 0) -> dict[str, Any]:
    sections = {"pretrain": {"batch_tokens": 64, "micro_batch_size": 1}, "finetune": {"x": step}}
    Path("c.yaml").write_text(json.dumps(CONFIG | sections))
    done = CliRunner().invoke(app, ["finetune", "c.yaml", "--json"])
    assert "Traceback" not in done.output + done.stderr
    assert done.exit_code == code, done.output + done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result["error"] if code else result["steps"]["x"]


def steps() -> list[dict[str, Any]]:
    lines = Path("runs/tiny/finetune/x/metrics.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == "step"]


class Said(Rollouts):
    """Gives the same three answers to everything."""

    def __call__(self, prompts: Sequence[list[int]], keys: Sequence[int]) -> list[list[Answer]]:
        texts = ("I say sun.", "I say cat and dog.", "no")
        group = [Answer([*self.tokenizer.encode(text), self.end_id], text, True) for text in texts]
        return [group for _ in prompts]


@pytest.mark.parametrize("step", [DISTILL, DISTILL | {"teacher_logits": "stored"}, GRPO])
def test_interrupted_and_resumed_ends_with_the_same_bits(step: dict[str, Any]) -> None:
    last = Path(finetune(step | {"log_every": 1})["checkpoint"])
    expected, folder = sha256_file(last / "model.safetensors"), last.parent
    remove(last)
    (folder / "result.json").unlink()
    (folder / "latest").write_text("step-00000002\n")
    finetune(step | {"log_every": 1})
    assert sha256_file(last / "model.safetensors") == expected


@pytest.mark.parametrize(
    ("top_k", "rounding"),
    [(64, 2e-3), (1000, 5e-3)],  # all 304 tokens, each kept in fp16
)
def test_stored_logits_teach_like_live_ones(top_k: int, rounding: float) -> None:
    losses = []
    for how in ("live", "stored"):
        finetune(DISTILL | {"teacher_logits": how, "teacher_top_k": top_k, "log_every": 1})
        losses.append([step["kl"] for step in steps()])
        Path("runs/tiny").rename(f"runs/{how}")
    assert losses[0] == pytest.approx(losses[1], rel=rounding) and losses[0][0] > 0
    assert list(Path("runs/stored/finetune/x").glob("teacher-*/train.logprobs"))


def test_rows_that_are_refused_cost_no_stored_logits() -> None:
    step = DISTILL | {"teacher_logits": "stored"}
    finetune(step)
    (stored,) = Path("runs/tiny/finetune/x").glob("teacher-*")
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS[:-1]))
    assert "rows_hash" in finetune(step, code=2)["message"]
    assert list(stored.parent.glob("teacher-*")) == [stored]


def test_a_teacher_with_another_vocabulary_is_refused() -> None:
    other = Tokenizer.trained(train_bpe(["another vocabulary than the other one"] * 3, 290))
    folder = Path("runs/teacher/pretrain/step-00000001").rename("foreign")
    other.save(folder)
    for name in ("manifest.json", "lilllm.yaml"):  # as an imported model has none
        (folder / name).unlink()
    error = finetune(DISTILL | {"teacher": "foreign"}, code=4)
    assert "another tokenizer" in error["message"] and "data synth" in error["hint"]
    assert "nowhere" in finetune(DISTILL | {"teacher": "nowhere"}, code=4)["message"]
    assert "teacher" in finetune(STEP | {"method": "distill"}, code=2)["message"]


def test_rewards_are_learnt_from_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lilllm.stages.methods.grpo.Rollouts", Said)
    finetune(GRPO | {"log_every": 1, "max_steps": 3, "val_fraction": 0.3})
    seen = steps()
    assert all(0 <= step["success"] <= step["reward"] + 1e-6 for step in seen)
    assert seen[0]["kl_per_token"] == pytest.approx(0, abs=1e-6)
    assert seen[2]["kl_per_token"] > 1e-6
    lines = Path("runs/tiny/finetune/x/rollouts.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert {row["split"] for row in rows} == {"train", "val"}
    assert rows[0]["prompt"].startswith("Say ") and rows[0]["answer"] == "I say sun."


@pytest.mark.parametrize(("epochs", "expected"), [(0.5, 1), (1, 2), (2, 3)])
def test_epochs_are_passes_over_the_prompts(
    epochs: float, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lilllm.stages.methods.grpo.Rollouts", Said)
    assert finetune(GRPO | {"max_steps": None, "epochs": epochs})["step"] == expected
    lines = Path("runs/tiny/finetune/x/rollouts.jsonl").read_text().splitlines()
    asked = Counter(json.loads(line)["prompt"] for line in lines)
    samples = expected * GRPO["batch_rows"]
    assert asked.total() == samples and max(asked.values()) == -(-samples // len(ROWS))


@pytest.mark.parametrize(
    ("body", "said"), [("1 / 0", "ZeroDivisionError"), ("float('nan')", "nan"), ("None", "None")]
)
def test_a_reward_that_fails_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, body: str, said: str
) -> None:
    monkeypatch.setattr("lilllm.stages.methods.grpo.Rollouts", Said)
    Path("mine.py").write_text(f"def reward(prompt, answer, row):\n    return {body}\n")
    rewards = [{"kind": "python", "function": "mine.py:reward"}]
    error = finetune(GRPO | {"rewards": rewards}, code=5)
    assert said in error["message"] and "mine.py:reward" in error["message"]
    rewards = [{"kind": "python", "function": "mine.py:other"}]
    assert "other" in finetune(GRPO | {"rewards": rewards}, code=2)["message"]


def test_rows_that_cannot_be_checked_or_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lilllm.stages.methods.grpo.Rollouts", Said)
    error = finetune(GRPO | {"rewards": [{"kind": "number"}]}, code=3)
    assert "'answer'" in error["message"]
    assert "no prompts" in finetune(GRPO | {"answer_tokens": 60}, code=3)["message"]
    assert "rewards" in finetune(STEP | {"method": "grpo"}, code=2)["message"]
    Path("rows.jsonl").write_text('{"prompt": " "}\n')
    assert "rows.jsonl:1" in finetune(GRPO, code=3)["message"]


def test_one_question_with_other_words_is_another_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lilllm.stages.methods.grpo.Rollouts", Said)
    rows = [{"prompt": "Say it.", "words": [word], "n": n} for n in "12" for word in ("sun", "cat")]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert finetune(GRPO)["rows"] == 2


def test_another_teacher_or_reward_is_other_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lilllm.stages.methods.grpo.Rollouts", Said)
    finetune(DISTILL)
    teacher = Path("runs/teacher/pretrain/step-00000001")
    remove(teacher)
    write_checkpoint(teacher, seed=2)
    assert "--fresh" in finetune(DISTILL, code=2)["hint"]
    remove(Path("runs/tiny"))
    Path("mine.py").write_text("def reward(prompt, answer, row):\n    return 1\n")
    step = GRPO | {"rewards": [{"kind": "python", "function": "mine.py:reward"}], "max_steps": 1}
    finetune(step)
    Path("mine.py").write_text("def reward(prompt, answer, row):\n    return 2\n")
    assert "--fresh" in finetune(step, code=2)["hint"]
    remove(Path("runs/tiny"))
    finetune(GRPO)
    rows = [row | {"words": ["other"]} for row in ROWS]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "--fresh" in finetune(GRPO, code=2)["hint"], "rewards read the words"


class Cut(Said):
    """The same, cut off."""

    def __call__(self, prompts: Sequence[list[int]], keys: Sequence[int]) -> list[list[Answer]]:
        groups = super().__call__(prompts, keys)
        return [[replace(answer, complete=False) for answer in group] for group in groups]


@pytest.mark.parametrize("judged", [False, True])
def test_answers_that_were_cut_off_are_judged_if_asked(
    judged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lilllm.stages.methods.grpo.Rollouts", Cut)
    finetune(GRPO | {"judge_cut_answers": judged, "likelihood_weight": 1})
    assert (sum(step["reward"] for step in steps()) > 0) is judged


def test_likely_answers_are_rewarded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lilllm.stages.methods.grpo.Rollouts", Said)
    rewards = []
    for weight in (0, 1):
        finetune(GRPO | {"likelihood_weight": weight})
        line = Path("runs/tiny/finetune/x/rollouts.jsonl").read_text().splitlines()[0]
        rewards.append(json.loads(line)["reward"])
        remove(Path("runs/tiny"))
    assert 0 < rewards[1] - rewards[0] < 1, "a mean probability"


def test_answers_are_not_filled_up_beyond_the_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lilllm.stages.methods.grpo.ROUND_TO", 1000)
    assert finetune(GRPO)["step"] == 4


def test_questions_are_shown_as_they_are_asked() -> None:
    sections = {"pretrain": {"batch_tokens": 64, "micro_batch_size": 1}, "finetune": {"x": GRPO}}
    Path("c.yaml").write_text(json.dumps(CONFIG | sections))
    done = CliRunner().invoke(app, ["data", "inspect", "c.yaml", "--rows", "--json"])
    assert done.exit_code == 0, done.output + done.stderr
    sample = json.loads(done.stdout)["steps"]["x"][0]["samples"][0]
    assert sample["shape"] == "question" and "Say sun." in sample["seen"][0][0]["text"]


@pytest.mark.slow
def test_grpo_learns_what_is_rewarded() -> None:
    asked = [{"prompt": row["prompt"], "words": ["sun"]} for row in ROWS]
    said = [{**row, "completion": other["completion"]} for row in ROWS for other in ROWS]
    Path("said.jsonl").write_text("".join(json.dumps(row) + "\n" for row in said * 20))
    Path("asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    sft = STEP | {"sources": ["said.jsonl"], "max_steps": 60, "lr": 1e-2, "batch_tokens": 1024}
    chat = finetune(sft | {"micro_batch_size": 16})["checkpoint"]
    Path("runs/tiny").rename("runs/chat")
    more = {"base": chat.replace("runs/tiny", "runs/chat"), "sources": ["asked.jsonl"]}
    more |= {"group_size": 8, "answer_tokens": 12, "batch_rows": 6, "micro_batch_size": 6}
    finetune(GRPO | more | {"max_steps": 15, "lr": 3e-3, "log_every": 1, "kl_weight": 0.02})
    success = [step["success"] for step in steps()]
    assert success[0] < 0.4 and min(success[-3:]) > 0.8, success
