"""ROUGE of summaries beside those of the first one and three sentences.

    python benchmarks/summaries.py stories FOLDER [key=value ...]
    python benchmarks/summaries.py dialogsum FOLDER DIALOGSUM.jsonl BASE [key=value ...]

stories: the built-in ones, by a model raised here (configs/summaries.yaml). dialogsum: BASE
(SmolLM2-135M, imported) with LoRA on the first 400 of the file, scored on the other 100, and BASE
itself without training. FOLDER gets the run; the same command continues it. The result goes to
benchmarks/results/summaries-<which>.json.
"""

import json
import os
from pathlib import Path
from typing import Any

from machine import arguments, describe

from lilllm.cli.display import Display
from lilllm.config.load import load_config
from lilllm.stages.evaluate import run_checkpoint
from lilllm.stages.pipeline import build

ROOT = Path(__file__).resolve().parents[1]
TRAIN_ROWS = 400


def split(path: str) -> None:
    lines = Path(path).read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    pairs = [json.dumps({"source": row["dialogue"], "target": row["summary"]}) for row in rows]
    for name, part in (("train", pairs[:TRAIN_ROWS]), ("test", pairs[TRAIN_ROWS:])):
        file = Path(f"{name}.jsonl")
        if not file.is_file():
            file.write_text("".join(pair + "\n" for pair in part))


def main() -> None:
    which, folder, *rest = arguments(__doc__, 2)
    Path(folder).mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = describe("rouge-score")
    if which == "dialogsum":
        path, base, *rest = (str(Path(p).resolve()) if i < 2 else p for i, p in enumerate(rest))
        os.chdir(folder)
        split(path)
        places = [f"finetune.summarize.base={base}"]
        config = load_config(ROOT / "configs" / "dialogsum.yaml", [*places, *rest])
    else:
        os.chdir(folder)
        config = load_config(ROOT / "configs" / "summaries.yaml", rest)
    with Display() as display:
        done = build(config, display, "finetune.summarize")["finetune.summarize"]
        result |= {"overrides": rest, "rows_trained_on": done["rows"], "steps": done["step"]}
        result |= {name: done[name] for name in config.eval.tasks}
        if which == "dialogsum":
            asked = run_checkpoint(Path(base), display, config=config).tasks
            result["before_training"] = asked["dialogsum"]
            for scores in (result["dialogsum"], result["before_training"]):
                del scores["samples"]  # other people's dialogues are not copied into a result
    target = ROOT / "benchmarks" / "results" / f"summaries-{which}.json"
    target.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    print(json.dumps(result, ensure_ascii=False))


if __name__ == "__main__":
    main()
