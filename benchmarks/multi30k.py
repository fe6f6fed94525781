"""English to German on Multi30k: a model raised on the 29,000 pairs alone, scored by sacrebleu.

    python benchmarks/multi30k.py DATA FOLDER [--score] [key=value ...]

DATA holds train, val and test_2016_flickr, each as .en and .de. FOLDER gets the rows and the run;
the same command continues it, and --score takes its newest checkpoint as it is. The result goes
to benchmarks/results/multi30k.json.
"""

import json
import os
import sys
from pathlib import Path

from machine import arguments, describe

from lilllm.cli.display import Display
from lilllm.config import layout
from lilllm.config.load import load_config
from lilllm.events import silent
from lilllm.model.checkpoint import load_shape
from lilllm.model.transformer import count_parameters
from lilllm.stages.evaluate import run_checkpoint
from lilllm.stages.find_checkpoint import find_checkpoint
from lilllm.stages.pipeline import build

RESULTS = Path(__file__).parent / "results"
CONFIG = Path(__file__).parents[1] / "configs" / "multi30k.yaml"
SPLITS = ("train", "val", "test_2016_flickr")


def write_rows(data: Path, folder: Path) -> None:
    """The pairs of each split as rows, and both sides of the training pairs as documents."""
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        path = folder / f"{split}.jsonl"
        if path.is_file():
            continue
        sides = (
            (data / f"{split}.{language}").read_text().splitlines() for language in ("en", "de")
        )
        pairs = [(source.strip(), target.strip()) for source, target in zip(*sides, strict=True)]
        rows = (json.dumps({"source": s, "target": t}, ensure_ascii=False) for s, t in pairs)
        path.write_text("".join(row + "\n" for row in rows))
        if split == "train":
            text = "".join(f"{side}\n<|endoftext|>\n" for pair in pairs for side in pair)
            (folder / "text.txt").write_text(text)


def trained_for(checkpoint: Path) -> tuple[int, int]:
    """Tokens that a checkpoint has seen, and the seconds that its stage's steps took."""
    stage, last = checkpoint.parent, int(checkpoint.name.removeprefix("step-"))
    events = [json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]
    steps = {event["step"]: event for event in events if event["event"] == "step"}
    tokens, seconds, before = 0, 0.0, 0
    for event in (event for step, event in sorted(steps.items()) if step <= last):
        seconds += (event["tokens"] - before) / event["tokens_per_s"]
        tokens = before = event["tokens"]
    return tokens, round(seconds)


def main() -> None:
    data, folder, *overrides = (word for word in arguments(__doc__, 2) if word != "--score")
    write_rows(Path(data).resolve(), Path(folder) / "m30k")
    results = RESULTS.resolve()
    os.chdir(folder)
    config = load_config(CONFIG, overrides)
    with Display() as display:
        if "--score" in sys.argv:
            checkpoint = find_checkpoint(layout(config).finetune("translate"), display)
        else:
            done = build(config, display, "finetune.translate")["finetune.translate"]
            checkpoint = Path(done["checkpoint"])
        scored = run_checkpoint(checkpoint, display, config=config)
    run = checkpoint.parents[2]
    base = find_checkpoint(run / "pretrain", silent)
    stages = {"pretrain": trained_for(base), "finetune": trained_for(checkpoint)}
    result = {
        **describe("sacrebleu"),
        "overrides": overrides,
        "parameters": sum(count_parameters(load_shape(checkpoint)).values()),
        "tokens": {name: tokens for name, (tokens, _) in stages.items()},
        "training_seconds": {name: seconds for name, (_, seconds) in stages.items()},
        "checkpoint": checkpoint.name,
        **scored.tasks["test_2016_flickr"],
    }
    path = results / "multi30k.json"
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    print(json.dumps(result, ensure_ascii=False))


if __name__ == "__main__":
    main()
