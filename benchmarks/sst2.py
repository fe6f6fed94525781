"""SST-2 with a small model, LoRA and a classification head, beside logistic regression.

    python benchmarks/sst2.py BASE TRAIN.tsv DEV.tsv FOLDER [key=value ...]

BASE is a checkpoint folder (SmolLM2-135M, imported). A tenth of TRAIN is held out for choosing
settings with key=value; DEV is scored once, after training. FOLDER keeps the run; the same command
continues it. The result goes to benchmarks/results/sst2-<name>.json.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from machine import arguments, describe

from lilllm.cli.display import Display
from lilllm.config import Config
from lilllm.config.load import load_config
from lilllm.stages.evaluate import run_checkpoint
from lilllm.stages.finetune import run_step
from lilllm.stages.pipeline import build

RESULTS = Path(__file__).parent / "results"
CONFIG = Path(__file__).parents[1] / "configs" / "sst2.yaml"


def logistic_regression(train: str, dev: str) -> float:
    """Accuracy of TF-IDF and logistic regression as they come."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    def read(path: str) -> tuple[list[str], list[str]]:
        rows = [line.split("\t") for line in Path(path).read_text().splitlines()]
        return [row[0] for row in rows], [row[1] for row in rows]

    model = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
    model.fit(*read(train))
    return float(model.score(*read(dev)))


def zero_shot(base: str, dev: str, display: Display) -> dict[str, Any]:
    """The base model asked in words, without training; it ranks the two answers."""
    words = {"0": "negative", "1": "positive"}
    rows = [line.split("\t") for line in Path(dev).read_text().splitlines()]
    Path("asked.tsv").write_text("".join(f"{text}\t{words[label]}\n" for text, label in rows))
    task = {
        "kind": "classification",
        "sources": [{"path": "asked.tsv", "columns": ["text", "label"]}],
        "prompt": "Is this film review positive or negative? Answer with one word.\n\n{prompt}",
        "answer": "rank",
    }
    config = Config.model_validate({"eval": {"tasks": {"asked": task}}})
    return run_checkpoint(Path(base), display, config=config).tasks["asked"]


def little(train: str, dev: str, display: Display) -> dict[str, Any]:
    """A little model that has read nothing but the training reviews, on the same rows."""
    for name, path in (("train", train), ("dev", dev)):
        rows = [line.split("\t") for line in Path(path).read_text().splitlines()]
        lines = (json.dumps({"text": text, "label": label}) + "\n" for text, label in rows)
        Path(f"{name}.jsonl").write_text("".join(lines))
    config = load_config(CONFIG.with_name("sst2-little.yaml"))
    done = build(config, display, "finetune.sentiment")["finetune.sentiment"]
    return {"parameters": done["trained_parameters"], "steps": done["step"], **done["dev"]}


def main() -> None:
    base, train, dev = (str(Path(path).resolve()) for path in arguments(__doc__, 4)[:3])
    folder, *overrides = sys.argv[4:]
    results = RESULTS.resolve()
    Path(folder).mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    source = "{path: %s, columns: [text, label]}"
    config = load_config(
        CONFIG,
        [
            f"finetune.sentiment.base={base}",
            f"finetune.sentiment.sources=[{source % train}]",
            f"eval.tasks.dev.sources=[{source % dev}]",
            *overrides,
        ],
    )
    began = time.perf_counter()
    with Display() as display:
        done = run_step(config, "sentiment", display)
        seconds = round(time.perf_counter() - began)
        asked = zero_shot(base, dev, display)
        raised = little(train, dev, display)
    result = {
        **describe("scikit-learn"),
        "base": Path(base).name,
        "overrides": overrides,
        "seconds_with_scoring": seconds,
        "rows": done.rows,
        "steps": done.step,
        "trained_parameters": done.trained_parameters,
        "training_bytes": done.training_bytes,
        "peak_memory_bytes": done.peak_memory_bytes,
        "train_loss": done.train_loss,
        **done.measures,
        "zero_shot": asked,
        "little_model": raised,
        "logistic_regression_accuracy": logistic_regression(train, dev),
    }
    path = results / f"sst2-{config.name}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
