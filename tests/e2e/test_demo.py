"""`make demo`'s config, raised for real: what it writes reads as English and does as asked."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.machine import describe
from tests.e2e.conftest import Lilllm, result

ROOT = Path(__file__).parents[2]
WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")
ASKED = [
    ("garden", "find", "happy"), ("rabbit", "jump", "brave"), ("boat", "sail", "little"),
    ("kite", "fly", "red"), ("bridge", "walk", "old"), ("umbrella", "hold", "wet"),
    ("tree", "climb", "tall"), ("friend", "share", "kind"), ("seed", "plant", "tiny"),
    ("map", "look", "lost"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_fifty_answers_of_the_demo_read_as_english_and_hold_the_asked_words(
    lilllm: Lilllm, tmp_path: Path
) -> None:
    from lilllm.data.stories import vocabulary

    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    done = subprocess.run(
        [sys.executable, "-m", "lilllm", "run", "configs/demo.yaml", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=2700,
        check=False,
    )
    bpb = result(done)["stages"]["pretrain"]["val_bpb"]
    prompts = [f"Write a story with the words: {', '.join(words)}." for words in ASKED]
    arguments = [part for prompt in prompts for part in ("--prompt", prompt)]
    answers = result(
        lilllm("generate", "runs/demo", "--chat", *arguments, "--samples", "5", "--json")
    )["samples"]
    assert len(answers) == 50
    known = vocabulary()
    words = [word.lower() for answer in answers for word in WORD.findall(answer["text"])]
    share_known = sum(word in known for word in words) / len(words)
    present = [
        asked in {word.lower() for word in WORD.findall(answer["text"])}
        for number, answer in enumerate(answers)
        for asked in ASKED[number // 5]
    ]
    figures = {
        "val_bpb": bpb,
        "words_of_the_generators_vocabulary": round(share_known, 4),
        "asked_words_present": round(sum(present) / len(present), 3),
        "answers_with_all_three": round(
            sum(all(present[i : i + 3]) for i in range(0, 150, 3)) / 50, 3
        ),
        "answers_that_end": sum(a["finish_reason"] == "stop" for a in answers) / 50,
    }
    text = json.dumps(describe() | figures, indent=2)
    (ROOT / "benchmarks/results/demo.json").write_text(text + "\n")
    texts = ({"asked": ASKED[i // 5], "text": a["text"]} for i, a in enumerate(answers))
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
    assert share_known >= 0.98, figures
    assert figures["asked_words_present"] >= 0.98, figures
    assert figures["answers_with_all_three"] >= 0.96, figures
    assert figures["answers_that_end"] >= 0.95, figures


@pytest.mark.slow
def test_the_39m_config_takes_its_first_steps_on_built_in_stories(
    lilllm: Lilllm, tmp_path: Path
) -> None:
    done = result(
        lilllm(
            *("pretrain", str(ROOT / "configs/39m.yaml"), "data.sources=[builtin:stories]"),
            *("pretrain.max_tokens=40960", "pretrain.batch_tokens=2048", "pretrain.warmup_steps=5"),
            *("pretrain.micro_batch_size=4", "pretrain.log_every=1", "pretrain.eval_tokens=4096"),
            *("eval.max_documents=20", "--json"),
        )
    )
    lines = (tmp_path / "runs/39m/pretrain/metrics.jsonl").read_text().splitlines()
    losses = [event["loss"] for event in map(json.loads, lines) if event["event"] == "step"]
    assert len(losses) == 20
    assert losses[-1] < losses[0] - 0.5
    # the built-in stories cannot fill a vocabulary of 8,192, so the embedding is smaller
    assert 34.8e6 < done["parameters"] < 39.1e6
