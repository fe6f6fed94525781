"""SMS spam from a little model raised here, beside TF-IDF and logistic regression, same splits.

    python benchmarks/sms_spam.py SMS.tsv FOLDER [key=value ...]

Duplicate texts are removed first: they leak. For each of five stratified 80/20 splits a model is
pretrained on the texts of the training part alone and gets a classification head; the other part is
scored once. key=value changes the config. FOLDER keeps the runs; the same command continues. The
result goes to benchmarks/results/sms-spam.json.
"""

import json
import os
from pathlib import Path
from typing import Any

from machine import arguments, describe
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline, make_union

from lilllm.cli.display import Display
from lilllm.config.load import load_config
from lilllm.stages.pipeline import build

RESULTS = Path(__file__).parent / "results"
CONFIG = Path(__file__).parents[1] / "configs" / "sms-spam.yaml"
SPLITS = 5


def read(path: str) -> tuple[list[str], list[str], int]:
    """Texts and labels without repeated texts, and how many were repeated."""
    rows: dict[str, str] = {}
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    for line in lines:
        label, _, text = line.partition("\t")
        rows.setdefault(text.strip(), label)
    return list(rows), list(rows.values()), len(lines) - len(rows)


def baselines(train: Any, test: Any) -> dict[str, float]:
    """F1 of spam by logistic regression: as it comes, and with its best n-grams, balanced."""
    plain = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
    grams = make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
    )
    best = make_pipeline(grams, LogisticRegression(max_iter=2000, C=10, class_weight="balanced"))
    scores = {}
    for name, model in (("logistic_regression", plain), ("n_grams_balanced", best)):
        model.fit(*train)
        scores[name] = float(f1_score(test[1], model.predict(test[0]), pos_label="spam"))
    return scores


def write_rows(path: Path, texts: list[str], labels: list[str]) -> None:
    rows = zip(texts, labels, strict=True)
    path.write_text("".join(json.dumps({"text": t, "label": y}) + "\n" for t, y in rows))


def run_split(number: int, train: Any, test: Any, overrides: list[str]) -> dict[str, Any]:
    for name, rows in (("train.jsonl", train), ("test.jsonl", test)):
        if not Path(name).is_file():
            write_rows(Path(name), *rows)
    config = load_config(CONFIG, [f"name=split{number}", f"seed={number}", *overrides])
    with Display() as display:
        answer = build(config, display, "finetune.spam")["finetune.spam"]
    measured = answer["test"]
    return {
        "f1": measured["f1"]["spam"],
        "accuracy": measured["accuracy"],
        "confusion": measured["confusion"],
        **baselines(train, test),
    }


def main() -> None:
    path, folder, *overrides = arguments(__doc__, 2)
    texts, labels, repeated = read(path)
    splitter = StratifiedShuffleSplit(SPLITS, test_size=0.2, random_state=0)
    results, found = RESULTS.resolve(), []
    for number, parts in enumerate(splitter.split(texts, labels)):
        train, test = (([texts[i] for i in p], [labels[i] for i in p]) for p in parts)
        here = Path(folder).resolve() / str(number)
        here.mkdir(parents=True, exist_ok=True)
        os.chdir(here)
        kept = here / "result.json"
        if not kept.is_file():
            kept.write_text(json.dumps(run_split(number, train, test, overrides)))
        found.append(json.loads(kept.read_text()))
        print(json.dumps(found[-1]), flush=True)
    names = ("f1", "logistic_regression", "n_grams_balanced", "accuracy")
    result = {
        **describe("scikit-learn"),
        "overrides": overrides,
        "texts": len(texts),
        "repeated_texts_removed": repeated,
        "mean": {name: sum(split[name] for split in found) / len(found) for name in names},
        "splits": found,
    }
    (results / "sms-spam.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["mean"]))


if __name__ == "__main__":
    main()
