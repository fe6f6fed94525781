"""SST-2 with a small model, LoRA and a classification head, beside logistic regression.

    python benchmarks/sst2.py BASE TRAIN.tsv DEV.tsv [key=value ...]

BASE is a checkpoint folder (SmolLM2-135M, imported). A tenth of TRAIN is held out for choosing
settings with key=value; DEV is scored once, after training. The result goes to
benchmarks/results/sst2-<name>.json.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

from machine import describe

from lilllm.cli.display import Display
from lilllm.config.load import load_config
from lilllm.stages.finetune import run_step

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


def main() -> None:
    base, train, dev, *overrides = sys.argv[1:]
    source = "{path: %s, columns: [text, label]}"
    config = load_config(
        CONFIG,
        [
            f"finetune.sentiment.base={Path(base).resolve()}",
            f"finetune.sentiment.sources=[{source % Path(train).resolve()}]",
            f"eval.tasks.dev.sources=[{source % Path(dev).resolve()}]",
            *overrides,
        ],
    )
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, Display() as display:
        import os

        os.chdir(folder)
        done = run_step(config, "sentiment", display)
    result = {
        **describe("scikit-learn"),
        "base": Path(base).name,
        "overrides": overrides,
        "seconds_with_scoring": round(time.perf_counter() - began),
        "rows": done.rows,
        "steps": done.step,
        "trained_parameters": done.trained_parameters,
        "training_bytes": done.training_bytes,
        "peak_memory_bytes": done.peak_memory_bytes,
        "train_loss": done.train_loss,
        **done.measures,
        "logistic_regression_accuracy": logistic_regression(train, dev),
    }
    path = RESULTS / f"sst2-{config.name}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
