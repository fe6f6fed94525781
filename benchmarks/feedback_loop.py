"""From votes on the web page to a model that the voter prefers: the whole loop, with a script as
the voter.

    python benchmarks/feedback_loop.py FOLDER START [key=value ...]

START is a chat checkpoint. `lilllm serve` serves it, Chromium opens /feedback.html, and a scripted
judge reads both answers off the page and clicks: it likes stories in which somebody speaks, and
prefers the one with the larger share of its words between quotation marks (neither, when they are
equal). The file of votes trains the model by DPO as it is. Then the same judge compares one answer
of each model to fresh prompts, blind to which is which. What is done is kept in FOLDER, so that an
interrupted call goes on. The result goes to benchmarks/results/feedback_loop.json.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from machine import describe
from playwright.sync_api import Page, sync_playwright
from screenshots import FLAGS, find_chromium

from lilllm.data.stories import word_request_rows
from lilllm.data.words import words_of

ROOT = Path(__file__).parents[1]
VOTES = 300
FRESH = 200
FRESH_SEED = 99
STEP = {
    "method": "dpo",
    "dpo": {"beta": 0.1},
    "val_fraction": 0.1,
    "epochs": 2,
    "batch_rows": 8,
    "micro_batch_size": 8,
    "lr": 2e-4,
    "weight_decay": 0.0,
    "warmup_steps": 5,
    "schedule": "linear",
    "log_every": 5,
    "eval_every": 0,
    "save_every": 20,
    "compile": False,
}
QUOTED = re.compile(r"[\"“]([^\"”]*)[\"”]")


def spoken_share(text: str) -> float:
    """Share of a story's words that somebody says."""
    return len(words_of(" ".join(QUOTED.findall(text)))) / max(1, len(words_of(text)))


def verdict(left: str, right: str) -> str:
    """What the judge clicks."""
    one, other = spoken_share(left), spoken_share(right)
    return "neither" if one == other else "left" if one > other else "right"


def lilllm(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run a command; its result."""
    command = [sys.executable, "-m", "lilllm", *arguments, "--json"]
    done = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def vote(page: Page, count: int) -> None:
    """Judge pairs on the page until this many are kept."""
    for number in range(1, count + 1):
        page.wait_for_selector("body[data-pair]:not(.waiting)")
        left, right = (page.locator(f"#{side} .said").text_content() for side in ("left", "right"))
        page.fill("#reason", "more is said in it")
        page.click(f".better[data-better={verdict(left or '', right or '')}]")
        page.wait_for_selector(f"#kept:text-is('{number} kept')")


def collect(folder: Path, start: str, votes: Path) -> None:
    """Serve the model and vote, as far as votes are lacking."""
    have = len(votes.read_text().splitlines()) if votes.is_file() else 0
    if have >= VOTES:
        return
    command = [sys.executable, "-m", "lilllm", "serve", start, "--port", "0"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        line = next(line for line in server.stderr if "http://" in line)
        address = line[line.index("http://") :].split()[0]
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
                page = browser.new_page(viewport={"width": 1180, "height": 900})
                page.set_default_timeout(120_000)
                page.goto(f"{address}/feedback.html")
                page.wait_for_selector("body[data-pair]:not(.waiting)")
                page.screenshot(path=folder / "page.png")
                vote(page, VOTES - have)
                browser.close()
        finally:
            server.terminate()
            server.communicate(timeout=60)


def answers(folder: Path, checkpoint: str) -> list[str]:
    """One answer to each fresh prompt."""
    rows = word_request_rows(FRESH_SEED, 0, FRESH)
    asked = [part for row in rows for part in ("--prompt", row["prompt"])]
    samples = lilllm(folder, "generate", checkpoint, *asked, "--chat", "--seed", "5")["samples"]
    return [sample["text"].strip() for sample in samples]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("start", type=Path)
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    start = str(arguments.start.resolve())
    record = yaml.safe_load((Path(start) / "lilllm.yaml").read_text())["config"]
    votes = folder / "runs" / record["name"] / "feedback.jsonl"
    collect(folder, start, votes)
    config = {
        "name": "loop",
        "seed": 0,
        "model": record["model"],
        "generate": record["generate"],
        "pretrain": {"batch_tokens": record["model"]["max_seq_len"], "micro_batch_size": 1},
        "finetune": {"votes": STEP | {"base": start, "sources": [str(votes.relative_to(folder))]}},
    }
    (folder / "loop.yaml").write_text(yaml.safe_dump(config))
    trained = lilllm(folder, "finetune", "loop.yaml", *arguments.overrides)["steps"]["votes"]
    old, new = answers(folder, start), answers(folder, trained["checkpoint"])
    verdicts = [verdict(*pair) for pair in zip(old, new, strict=True)]
    wins, losses = verdicts.count("right"), verdicts.count("left")
    kept = [json.loads(line) for line in votes.read_text().splitlines()]
    result = {
        **describe("playwright"),
        "command": "python benchmarks/feedback_loop.py FOLDER START",
        "votes": len(kept),
        "votes_with_a_winner": sum("chosen" in row for row in kept),
        "dpo": {key: value for key, value in trained.items() if key[:4] in ("step", "val_")},
        "fresh_prompts": FRESH,
        "new_preferred": wins,
        "old_preferred": losses,
        "neither": FRESH - wins - losses,
        "preference_for_new": wins / max(1, wins + losses),
        "spoken_share": {
            name: sum(map(spoken_share, texts)) / len(texts)
            for name, texts in (("old", old), ("new", new))
        },
        "mean_words": {
            name: sum(len(words_of(text)) for text in texts) / len(texts)
            for name, texts in (("old", old), ("new", new))
        },
        "samples": [{"old": old[i], "new": new[i]} for i in range(4)],
    }
    path = ROOT / "benchmarks" / "results" / "feedback_loop.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps({key: value for key, value in result.items() if key != "samples"}))


if __name__ == "__main__":
    main()
