"""Success at "a story with these three words" before and after GRPO, on held-out prompts.

    python benchmarks/grpo.py FOLDER START BASE [key=value ...]

START is a chat checkpoint, BASE the pretrained model that it comes from. Two steps of GRPO: first
on the openings alone, then on whole stories. Held-out prompts are three words each that no training
prompt has together; a success is a story that ends by itself and holds all three as whole words.
Before and after are decoded alike, with START's own sampling options and the same seeds. The bits
per byte of the stories are BASE's: text that only serves the reward would be unlikely to it. What
is done is kept in FOLDER, so that an interrupted call goes on. The result goes to
benchmarks/results/grpo.json.

A START that is right less than half of the time is the demo with fewer steps, decoded as it is:

    lilllm finetune configs/demo.yaml --step chat name=weak finetune.words.max_steps=370 \\
        finetune.chat.max_steps=900 generate.temperature=1.0 generate.top_p=1.0

of which runs/weak/finetune/chat/step-00000600 is START, and runs/weak/pretrain/step-00000280 BASE.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from machine import describe

from lilllm.data.stories import word_request_rows
from lilllm.data.words import missing_words, words_of

ROOT = Path(__file__).parents[1]
HELD_OUT_SEED = 99
HELD_OUT = 120
TRAINING = 4000
STEP = {
    "method": "grpo",
    "sources": [{"path": "builtin:stories-words", "documents": TRAINING}],
    "val_fraction": 0.005,
    "likelihood_weight": 0.5,
    "group_size": 8,
    "micro_batch_size": 8,
    "lr": 2e-4,
    "weight_decay": 0.0,
    "warmup_steps": 5,
    "schedule": "linear",
    "min_lr_ratio": 0.0,
    "log_every": 5,
    "save_every": 20,
    "eval_every": 0,
    "eval_tokens": 40_000,
    "compile": False,
}
STEPS = {
    "openings": STEP  # where the words come; nothing is learnt there about how a story ends
    | {
        "rewards": [{"kind": "words"}],
        "answer_tokens": 72,
        "judge_cut_answers": True,
        "batch_rows": 16,
        "kl_weight": 0.01,
        "max_steps": 200,
    },
    "stories": STEP
    | {
        "rewards": [
            {"kind": "words"},
            {"kind": "no_repetition", "weight": 0.3, "passes": 0.8},
            {"kind": "length", "weight": 0.5, "min_words": 90, "passes": 0.0},
        ],
        "answer_tokens": 250,
        "batch_rows": 8,
        "kl_weight": 0.02,
        "max_steps": 80,
    },
}


def lilllm(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run a command; its result."""
    command = [sys.executable, "-m", "lilllm", *arguments, "--json"]
    done = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def held_out_prompts() -> list[dict[str, Any]]:
    """Requests whose three words no training prompt has together."""
    trained = {frozenset(row["words"]) for row in word_request_rows(0, 0, TRAINING)}
    rows = word_request_rows(HELD_OUT_SEED, 0, 2 * HELD_OUT)
    return [row for row in rows if frozenset(row["words"]) not in trained][:HELD_OUT]


def judge(folder: Path, name: str, checkpoint: str, base: str) -> dict[str, Any]:
    """How often a checkpoint does what it is asked, and how likely its stories are to BASE."""
    path = folder / f"{name}.json"
    if path.is_file():
        kept: dict[str, Any] = json.loads(path.read_text())
        return kept
    prompts = held_out_prompts()
    asked = [part for row in prompts for part in ("--prompt", row["prompt"])]
    samples = lilllm(folder, "generate", checkpoint, *asked, "--chat", "--seed", "1")["samples"]
    texts = [sample["text"].strip() for sample in samples]
    missing = [missing_words(text, row["words"]) for text, row in zip(texts, prompts, strict=True)]
    ended = [sample["finish_reason"] == "stop" for sample in samples]
    stories = folder / f"{name}.jsonl"
    stories.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts if text))
    result = {
        "success": sum(e and not m for e, m in zip(ended, missing, strict=True)) / len(texts),
        "words_present": 1 - sum(map(len, missing)) / (3 * len(texts)),
        "ended": sum(ended) / len(texts),
        "mean_words": sum(len(words_of(text)) for text in texts) / len(texts),
        "bpb_under_base": lilllm(folder, "eval", base, "--text", str(stories.resolve()))["tasks"][
            "bpb"
        ]["bpb"],
        "samples": [
            {"prompt": row["prompt"], "text": text}
            for row, text in list(zip(prompts, texts, strict=True))[:10]
        ],
    }
    path.write_text(json.dumps(result, indent=2) + "\n")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("start", type=Path)
    parser.add_argument("base", type=Path)
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    start, base = (str(path.resolve()) for path in (arguments.start, arguments.base))
    shape = yaml.safe_load((Path(start) / "lilllm.yaml").read_text())["config"]
    config = {
        "name": "grpo",
        "seed": 0,
        "model": shape["model"],
        "generate": shape["generate"],
        "pretrain": {"batch_tokens": shape["model"]["max_seq_len"], "micro_batch_size": 1},
        "finetune": STEPS | {"openings": STEPS["openings"] | {"base": start}},
    }
    (folder / "grpo.yaml").write_text(yaml.safe_dump(config))
    before = judge(folder, "before", start, base)
    trained = lilllm(folder, "finetune", "grpo.yaml", *arguments.overrides)["steps"]
    after = judge(folder, "after", trained["stories"]["checkpoint"], base)
    result = {
        **describe(),
        "command": "python benchmarks/grpo.py FOLDER START BASE " + " ".join(arguments.overrides),
        "prompts": HELD_OUT,
        "steps": {name: done["step"] for name, done in trained.items()},
        "kl_per_token_from_the_step_before": {
            name: done["val_kl_per_token"] for name, done in trained.items()
        },
        "bpb_ratio": after["bpb_under_base"] / before["bpb_under_base"],
        "before": before,
        "after": after,
    }
    path = ROOT / "benchmarks" / "results" / "grpo.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps({key: value for key, value in result.items() if key[0] not in "ba"}))


if __name__ == "__main__":
    main()
