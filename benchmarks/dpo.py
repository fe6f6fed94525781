"""DPO on held-out pairs, split by instruction: reward accuracy, also where lengths are alike.

    python benchmarks/dpo.py NAME BASE PAIRS FOLDER [key=value ...]

FOLDER keeps the run; the same command continues it. The result goes to
benchmarks/results/dpo-NAME.json, the loss curves beside it as .png. Beside the model's accuracy
stand that of always preferring the longer answer and that of both on pairs whose lengths in
characters differ by a tenth at most.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from machine import arguments, describe

from lilllm.cli.display import Display
from lilllm.config import Config
from lilllm.config.load import load_config
from lilllm.config.schema import FinetuneConfig, GenerateConfig
from lilllm.data import BadRows
from lilllm.data.preferences import Preference, to_preference
from lilllm.data.tables import AnswerPairs
from lilllm.events import silent
from lilllm.model.checkpoint import load_model
from lilllm.stages.encode_rows import RowEncoder
from lilllm.stages.find_checkpoint import load_checkpoint
from lilllm.stages.finetune import run_step
from lilllm.stages.generate import run
from lilllm.stages.methods.dpo import asked_by, encode_side, sides_of
from lilllm.stages.methods.rows import is_held_out, read_good_rows
from lilllm.tokenizer import Tokenizer
from lilllm.training.metrics import read_metrics
from lilllm.training.objectives.answers import token_logprobs
from lilllm.training.objectives.loss import move

RESULTS = Path(__file__).parent / "results"
CONFIG = Path(__file__).parents[1] / "configs" / "dpo.yaml"
STEP = "polite"
ANSWERS = 10


def good_pairs(section: FinetuneConfig) -> Iterator[tuple[dict[str, Any], Preference]]:
    """Rows that are pairs, in the order of the files; the step itself says how many are not."""
    for row, where in read_good_rows(section, 0, BadRows("skip"), check=to_preference):
        yield row, to_preference(row, where)


def held_out(config: Config, tokenizer: Tokenizer, length: int) -> list[tuple[Any, Any, int, int]]:
    """Both sides of the held-out pairs that fit, encoded, with the characters of their answers."""
    section = config.finetune[STEP]
    encoder = RowEncoder.of(tokenizer, section)
    found = []
    for _, pair in good_pairs(section):
        if not is_held_out(asked_by(pair), section.val_fraction):
            continue
        if (encoded := encode(encoder, pair, length)) is not None:
            found.append(encoded)
    return found


def encode(encoder: RowEncoder, pair: Preference, length: int) -> tuple[Any, Any, int, int] | None:
    """Both sides of a pair and the characters of their answers; None if one is too long."""
    sides = [encode_side(encoder, pair, side) for side in sides_of(pair)]
    if max(len(ids) for ids, _ in sides) > length:
        return None
    sizes = [len(side[-1]["content"]) for side in (pair.chosen, pair.rejected)]
    return (*sides, *sizes)


def curve(config: Config) -> list[dict[str, float]]:
    """The loss and the reward accuracy that the step logged, in the folder where it ran."""
    log = Path(f"runs/{config.name}/finetune/{STEP}/metrics.jsonl")
    return [
        {key: round(event[key], 4) for key in ("step", "loss", "reward_accuracy")}
        for event in read_metrics(log)
        if event["event"] == "step"
    ]


def answer_tokens(pairs: Any) -> torch.Tensor:
    """Tokens of both answers [pairs, 2]."""
    return torch.tensor([[sum(mask) for _, mask in pair[:2]] for pair in pairs])


def rewards_of(change: torch.Tensor, pairs: Any, config: Config) -> torch.Tensor:
    """Rewards [pairs, 2] of how much likelier in nats both sides became, and of their lengths."""
    options = config.finetune[STEP].dpo
    return change * options.beta + answer_tokens(pairs) * options.length_weight


def scores(model: Any, pairs: Any, fill_id: int) -> torch.Tensor:
    table = AnswerPairs([pair[0] for pair in pairs], [pair[1] for pair in pairs], fill_id)
    import numpy as np

    parts = []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for start in range(0, len(table), 8):
            rows = np.arange(start, min(start + 8, len(table)))
            ids, targets, _ = move(table.read(rows), "cpu")
            logprobs = token_logprobs(model, ids.flatten(0, 1), targets.flatten(0, 1))
            parts.append(logprobs.sum(dim=1))
    return torch.cat(parts).view(-1, 2).float()


def answers(checkpoint: Path, config: Config) -> list[dict[str, str]]:
    """What the model answers to the first held-out questions, its likeliest token at every step."""
    section = config.finetune[STEP]
    prompts = [
        pair.prompt[-1]["content"]
        for _, pair in good_pairs(section)
        if is_held_out(asked_by(pair), section.val_fraction) and pair.prompt
    ]
    options = GenerateConfig(temperature=0, max_new_tokens=80, top_p=1.0)
    made = run(load_checkpoint(checkpoint), prompts[:ANSWERS], options, silent, chat=True)
    return [{"question": each.prompt, "answer": each.text} for each in made.samples]


def accuracies(margins: list[float], sizes: list[tuple[int, int]]) -> dict[str, Any]:
    alike = [i for i, (a, b) in enumerate(sizes) if abs(a - b) <= 0.1 * max(a, b)]

    def share(hits: list[bool]) -> float | None:
        return sum(hits) / len(hits) if hits else None

    return {
        "held_out_pairs": len(sizes),
        "reward_accuracy": share([margin > 0 for margin in margins]),
        "always_longer_accuracy": share([a > b for a, b in sizes]),
        "length_matched_pairs": len(alike),
        "length_matched_reward_accuracy": share([margins[i] > 0 for i in alike]),
        "length_matched_always_longer": share([sizes[i][0] > sizes[i][1] for i in alike]),
    }


def main() -> None:
    name, *paths, folder = arguments(__doc__, 4)[:4]
    base, pairs = (Path(path).resolve() for path in paths)
    overrides = sys.argv[5:]
    results = RESULTS.resolve()
    Path(folder).mkdir(parents=True, exist_ok=True)
    config = load_config(
        CONFIG,
        [
            f"finetune.{STEP}.base={base}",
            f"finetune.{STEP}.sources=[{pairs}]",
            *overrides,
        ],
    )
    began = time.perf_counter()
    with Display() as display:
        os.chdir(folder)
        done = run_step(config, STEP, display)
        tokenizer = Tokenizer.load(base)
        found = held_out(config, tokenizer, config.model.max_seq_len)
        after = scores(load_model(done.checkpoint), found, tokenizer.end_id)
        before = scores(load_model(base), found, tokenizer.end_id)
        told: dict[str, Any] = {"answers": answers(done.checkpoint, config)}
        shutil.copy(f"runs/{config.name}/loss.png", results / f"dpo-{name}.png")
        told["curve"] = curve(config)
    rewards = rewards_of(after - before, found, config)
    margins = (rewards[:, 0] - rewards[:, 1]).tolist()
    result = {
        **describe(),
        "base": base.name,
        "overrides": overrides,
        "seconds_with_scoring": round(time.perf_counter() - began),
        "pairs": done.rows,
        "steps": done.step,
        "peak_memory_bytes": done.peak_memory_bytes,
        "training_bytes": done.training_bytes,
        **accuracies(margins, [(pair[2], pair[3]) for pair in found]),
        **done.measures,
        **told,
    }
    (results / f"dpo-{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
