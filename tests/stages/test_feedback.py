"""Feedback: what is typed is kept, blind, and trains as it is."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from typer.testing import CliRunner

from lilllm.cli.app import app
from lilllm.data.feedback import Shown, edit_row, lacks, thumb_row, vote_row
from lilllm.data.preferences import to_preference
from lilllm.stages import collect_feedback
from tests.stages.tiny_run import CONFIG, write_checkpoint

torch.set_num_threads(1)
ONCE = ("make_engine", "weights_hash")
SHOWN = (Shown("left", "a", "h", 1), Shown("right", "b", "h", 2))


@pytest.fixture(autouse=True)
def _two_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_checkpoint(Path("runs/tiny/finetune/chat/step-00000001"), base="x")
    write_checkpoint(Path("runs/other/finetune/chat/step-00000001"), base="x", seed=1)
    Path("asked.txt").write_text("Hi?\n\nWho?\n")


def feedback(typed: str, *arguments: str, code: int = 0) -> dict[str, Any]:
    command = ["feedback", "runs/tiny", "--prompts", "asked.txt", *arguments, "--json"]
    done = CliRunner().invoke(app, command, input=typed)
    assert "Traceback" not in done.output + done.stderr
    assert done.exit_code == code, done.output + done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert code or "step-00000001" not in re.split(r"(?:Hi|Who)\?", done.stderr, maxsplit=1)[1], (
        "not blind"
    )
    return result["error"] if code else result


def rows(path: str = "runs/tiny/feedback.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_rows_are_pairs_and_answers_where_they_can_be() -> None:
    vote, tie = vote_row("q", SHOWN, 1, "shorter"), vote_row("q", SHOWN, None, "")
    assert to_preference(vote, "here").chosen == [{"role": "assistant", "content": "right"}]
    assert to_preference(vote, "here").rejected == [{"role": "assistant", "content": "left"}]
    up, down = (thumb_row("q", SHOWN, 0, good) for good in (True, False))
    edit = edit_row("q", SHOWN, 1, "better")
    assert to_preference(edit, "here").rejected == [{"role": "assistant", "content": "right"}]
    assert [lacks(row, "chosen", "rejected") for row in (vote, tie, up, down, edit)] == [
        *(False, True, True, True, False),
    ]
    assert [row.get("completion") for row in (vote, tie, up, down, edit)] == [
        *(None, None, "left", None, "better"),
    ]
    assert not lacks({"text": "of another file"}, "chosen")
    for same in ("right ", " "):
        with pytest.raises(ValueError, match="edit"):
            edit_row("q", SHOWN, 1, same)


def test_what_is_typed_is_kept() -> None:
    typed = "?\nx\n+1\n-2\ne1\nanother answer\ne2\n\n1\nmore fun\n=\n\n2\n\ns\nq\n"
    result = feedback(typed)
    assert {key: result[key] for key in ("rows", "votes", "ties", "thumbs", "edits")} == {
        "rows": 6,
        "votes": 2,
        "ties": 1,
        "thumbs": 2,
        "edits": 1,
    }
    kept = rows()
    assert [row["feedback"] for row in kept] == [
        *("thumb", "thumb", "edit", "vote", "vote", "vote"),
    ]
    assert kept[0]["good"] and not kept[1]["good"] and kept[2]["completion"] == "another answer"
    assert kept[3]["reason"] == "more fun" and kept[3]["chosen"] == kept[3]["shown"][0]["text"]
    assert kept[4]["better"] is None and "chosen" not in kept[4]
    assert [row["prompt"] for row in kept[3:]] == ["Hi?", "Who?", "Hi?"]
    assert feedback("")["rows"] == 6


def test_what_was_judged_is_not_asked_again() -> None:
    first = feedback("1\n\ns\nq\n")
    feedback("2\n\n2\n\nq\n")
    assert first["rows"] == 1 and len(rows()) == 3
    assert len({(row["prompt"], row["shown"][0]["seed"]) for row in rows()}) == 3
    assert [row["prompt"] for row in rows()] == ["Hi?", "Who?", "Hi?"]


def test_a_judgement_of_one_model_is_none_of_another_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    out = ("--out", "votes.jsonl")
    feedback("1\n\n2\n\nq\n", *out)
    spies = {name: Mock(wraps=getattr(collect_feedback, name)) for name in ONCE}
    for name, spy in spies.items():
        monkeypatch.setattr(collect_feedback, name, spy)
    feedback("1\n\n1\n\nq\n", *out, "--against", "runs/other")
    assert [spy.call_count for spy in spies.values()] == [2, 2]  # each once for each model
    feedback("1\n\nq\n", *out, "--against", "runs/other")
    judged = rows("votes.jsonl")
    assert [row["prompt"] for row in judged] == ["Hi?", "Who?", "Hi?", "Who?", "Hi?"]
    both = [len({answer["weights"] for answer in row["shown"]}) for row in judged]
    assert both == [1, 1, 2, 2, 2]
    of_tiny = [
        {answer["seed"] for answer in row["shown"] if "tiny" in answer["checkpoint"]}
        for row in judged
    ]
    assert of_tiny[2] < of_tiny[0] and not of_tiny[4] & of_tiny[2]  # that answer, beside another


def test_answers_that_never_differ_end_it() -> None:
    error = feedback("", "--temperature", "0", "--max-new-tokens", "3", code=3)
    assert "two equal answers" in error["message"] and "--against" in error["hint"]


def test_votes_are_json_lines() -> None:
    error = feedback("", "--out", "votes.txt", code=2)
    assert "JSON lines" in error["message"] and "votes.txt.jsonl" in error["hint"]
    assert not Path("votes.txt").exists()


def test_sides_are_drawn_and_told_nowhere() -> None:
    feedback("1\n\n" * 24, "--against", "runs/other", "--out", "votes.jsonl")
    sides = Counter(row["shown"][0]["checkpoint"] for row in rows("votes.jsonl"))
    assert len(sides) == 2 and min(sides.values()) >= 5
    shown = [{answer["checkpoint"] for answer in row["shown"]} for row in rows("votes.jsonl")]
    assert all(len(checkpoints) == 2 for checkpoints in shown)


def test_questions_that_are_not_there_are_named() -> None:
    done = CliRunner().invoke(app, ["feedback", "runs/tiny", "--prompts", "none.txt"])
    assert done.exit_code == 3 and "none.txt" in done.stderr


def test_a_torn_file_goes_on(tmp_path: Path) -> None:
    feedback("1\n\n2\n\nq\n")
    path = Path("runs/tiny/feedback.jsonl")
    path.write_bytes(path.read_bytes()[:-30])
    assert feedback("1\n\nq\n", "--seed", "1")["rows"] == 2


@pytest.mark.parametrize(("method", "rows", "passed"), [("sft", 2, "3 rows"), ("dpo", 2, "3 rows")])
def test_finetune_learns_from_the_file_as_it_is(method: str, rows: int, passed: str) -> None:
    feedback("e1\nanother answer\n+2\n-1\n1\n\n=\n\nq\n")  # an edit, thumbs, a vote, a tie
    step = {"base": "runs/tiny/finetune/chat/step-00000001", "val_fraction": 0, "max_steps": 1}
    step |= {"sources": ["runs/tiny/feedback.jsonl"], "micro_batch_size": 1, "method": method}
    sections = {"pretrain": {"batch_tokens": 64, "micro_batch_size": 1}}
    sections["finetune"] = {"x": step | {"batch_tokens": 64}}
    Path("c.yaml").write_text(json.dumps(CONFIG | sections))
    done = CliRunner().invoke(app, ["finetune", "c.yaml", "--json"])
    assert done.exit_code == 0, done.output + done.stderr
    assert json.loads(done.stdout)["steps"]["x"]["rows"] == rows
    assert f"{passed} of feedback" in done.stderr
