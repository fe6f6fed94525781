"""DPO where every question is held out once: reward accuracy beside preferring the longer answer.

    python benchmarks/preference_folds.py NAME BASE PAIRS FOLDER [--only K,...] [key=value ...]

A file of few questions says little by one split. Here the questions are dealt into folds, a model
is trained for each on the pairs of the others, and all pairs together are counted. `--only` trains
and counts some folds (0 to 4), so that several calls can run at once; FOLDER keeps what is done
with one base and one set of overrides. The result of all folds goes to
benchmarks/results/dpo-NAME.json, the loss of the first one to dpo-NAME.png; that of some has their
numbers behind its NAME. Beside the model stands what counting characters or tokens knows.
Whatever finds both answers alike is half right.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from dpo import (
    CONFIG,
    RESULTS,
    STEP,
    accuracies,
    answer_tokens,
    curve,
    encode,
    good_pairs,
    rewards_of,
    scores,
)
from machine import describe

from lilllm.cli.display import Display
from lilllm.config.load import load_config
from lilllm.config.schema import SourceConfig
from lilllm.files import sha256_json
from lilllm.model.checkpoint import load_model
from lilllm.stages.encode_rows import RowEncoder
from lilllm.stages.finetune import run_step
from lilllm.tokenizer import Tokenizer

SETTINGS = ("finetune.polite.val_fraction=1e-9", "finetune.polite.eval_every=0")
PICTURE = "loss.png"
FOLDS = 5
RESAMPLES = 2000


def deal(pairs: Path, folds: int) -> list[list[dict[str, Any]]]:
    """Rows by fold; all rows of a question are in one."""
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    questions = sorted(
        {row["instruction"] for row in rows}, key=lambda q: hashlib.sha256(q.encode()).digest()
    )
    fold_of = {question: i % folds for i, question in enumerate(questions)}
    return [[row for row in rows if fold_of[row["instruction"]] == fold] for fold in range(folds)]


def run_fold(
    folds: list[list[dict[str, Any]]], number: int, base: Path, work: Path, overrides: list[str]
) -> dict[str, Any]:
    """Train without a fold, judge its pairs, and keep what was found."""
    folder = work / f"fold-{number}"
    kept = folder / "found.json"
    asked = {"base": str(base), "overrides": overrides, "pairs": sha256_json(folds)}
    if kept.is_file():
        found: dict[str, Any] = json.loads(kept.read_text())
        if found["asked"] != asked:
            sys.exit(f"{kept}: was made with {found['asked']}; name another FOLDER")
        return found
    folder.mkdir(parents=True, exist_ok=True)
    train, held_out = folder / "train.jsonl", folder / "held-out.jsonl"
    rest = [row for i, fold in enumerate(folds) if i != number for row in fold]
    for path, rows in ((train, rest), (held_out, folds[number])):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = load_config(
        CONFIG,
        [
            f"finetune.{STEP}.base={base}",
            f"finetune.{STEP}.sources=[{train}]",
            *SETTINGS,
            *overrides,
        ],
    )
    os.chdir(folder)
    began = time.perf_counter()
    with Display() as display:
        done = run_step(config, STEP, display)
    tokenizer = Tokenizer.load(base)
    section = config.finetune[STEP]
    encoder, pairs, questions = RowEncoder.of(tokenizer, section), [], []
    of_fold = section.model_copy(update={"sources": (SourceConfig(path=str(held_out)),)})
    for row, pair in good_pairs(of_fold):
        if (encoded := encode(encoder, pair, config.model.max_seq_len)) is not None:
            pairs.append(encoded)
            questions.append(row["instruction"])
    order = sorted(range(len(pairs)), key=lambda i: max(len(side[0]) for side in pairs[i][:2]))
    in_order = [pairs[i] for i in order]
    change = scores(load_model(done.checkpoint), in_order, tokenizer.end_id) - scores(
        load_model(base), in_order, tokenizer.end_id
    )
    rewards = rewards_of(change, in_order, config)
    shutil.copy(f"runs/{config.name}/{PICTURE}", PICTURE)
    found = {
        "asked": asked,
        "seconds": round(time.perf_counter() - began),
        "pairs": done.rows,
        "steps": done.step,
        "peak_memory_bytes": done.peak_memory_bytes,
        "questions": [questions[i] for i in order],
        "sizes": [list(pair[2:]) for pair in in_order],
        "tokens": answer_tokens(in_order).tolist(),
        "margins": (rewards[:, 0] - rewards[:, 1]).tolist(),
        "learnt_margins": (change[:, 0] - change[:, 1]).tolist(),  # without a reward of length
        "curve": curve(config),
    }
    kept.write_text(json.dumps(found))
    return found


def interval(hits: list[float], questions: list[str]) -> tuple[float, float]:
    """95 % bootstrap interval of the mean, drawing questions and not pairs."""
    by_question: dict[str, list[float]] = {}
    for hit, question in zip(hits, questions, strict=True):
        by_question.setdefault(question, []).append(hit)
    groups, draw, means = list(by_question.values()), random.Random(0), []
    for _ in range(RESAMPLES):
        drawn = [hit for group in draw.choices(groups, k=len(groups)) for hit in group]
        means.append(sum(drawn) / len(drawn))
    means.sort()
    return means[round(0.025 * RESAMPLES)], means[round(0.975 * RESAMPLES) - 1]


def _numbers(text: str) -> list[int]:
    numbers = [int(number) for number in text.split(",")]
    if not set(numbers) <= set(range(FOLDS)):
        raise argparse.ArgumentTypeError(f"there are folds 0 to {FOLDS - 1}")
    return numbers


def half_right(differences: list[float]) -> float:
    """How often the better side has more; where both have as much, half of it."""
    return sum((each > 0) + (each == 0) / 2 for each in differences) / len(differences)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("base", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", type=_numbers, help="folds, from 0 on, with commas")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_intermixed_args()
    results, work = RESULTS.resolve(), options.folder.resolve()
    folds = deal(options.pairs, FOLDS)
    base = options.base.resolve()
    chosen = options.only or range(FOLDS)
    found = [run_fold(folds, number, base, work, options.overrides) for number in chosen]
    margins = [margin for fold in found for margin in fold["margins"]]
    sizes = [(a, b) for fold in found for a, b in fold["sizes"]]
    questions = [question for fold in found for question in fold["questions"]]
    gains = [
        float(margin > 0) - float(a > b) for margin, (a, b) in zip(margins, sizes, strict=True)
    ]
    result = {
        **describe(),
        "base": base.name,
        "overrides": options.overrides,
        "folds": list(chosen),
        "of_folds": FOLDS,
        "questions": len(set(questions)),
        "seconds": sum(fold["seconds"] for fold in found),
        "steps_per_fold": [fold["steps"] for fold in found],
        "peak_memory_bytes": max(fold["peak_memory_bytes"] for fold in found),
        **accuracies(margins, sizes),
        "learnt_accuracy": half_right([m for fold in found for m in fold["learnt_margins"]]),
        "more_characters_accuracy": half_right([a - b for a, b in sizes]),
        "more_tokens_accuracy": half_right([a - b for fold in found for a, b in fold["tokens"]]),
        "better_than_longer_by": sum(gains) / len(gains),
        "better_than_longer_by_95": interval(gains, questions),
        "by_fold": [
            accuracies(fold["margins"], [(a, b) for a, b in fold["sizes"]]) for fold in found
        ],
        "curves": [fold["curve"] for fold in found],
    }
    name = "-".join([f"dpo-{options.name}", *map(str, options.only or ())])
    shutil.copy(work / f"fold-{chosen[0]}" / PICTURE, results / f"{name}.png")
    (results / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps({key: result[key] for key in result if key != "curves"}))


if __name__ == "__main__":
    main()
