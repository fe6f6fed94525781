"""Memory and speed of preparing one generated file of 1 GB: many documents, and a single one.

    python benchmarks/memory_prep.py [megabytes]

Peak memory is that of the main process and of the largest worker, beside what a process takes
after its imports and the tokenizer. Figures go to benchmarks/results/memory_prep.json.
"""

import functools
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import describe

from lilllm.config.schema import DataConfig
from lilllm.data import Vocabulary, prepare
from lilllm.data.stories import story
from lilllm.events import silent
from lilllm.tokenizer import Tokenizer, load_encoder, train_bpe

PROCESSES = 2
LIMIT_MB = 1000
STORIES = 20_000


def write_text(path: Path, size: int, separator: str) -> None:
    """Stories one after another, numbered so that no two are equal."""
    texts = [story(0, index).text for index in range(STORIES)]
    written = index = 0
    with path.open("w", encoding="utf-8") as file:
        while written < size:
            written += file.write(f"Story {index}. {texts[index % STORIES]}\n{separator}")
            index += 1


def save_tokenizer(folder: Path) -> None:
    inner = train_bpe((story(0, index).text for index in range(5_000)), 8192)
    folder.mkdir()
    Tokenizer.trained(inner).save(folder)


def peak_mb(who: int) -> float:
    return resource.getrusage(who).ru_maxrss / 1024  # Linux counts in KiB


def measure(source: Path, tokenizer_folder: Path, data: Path) -> None:
    """One preparation in this process and its workers; prints its figures as JSON."""
    encoder = functools.partial(load_encoder, str(tokenizer_folder))
    encoder()(["Once upon a time"])
    tokenizer = Tokenizer.load(tokenizer_folder)
    vocabulary = Vocabulary(encoder, tokenizer.hash, tokenizer.vocab_size, tokenizer.end_id)
    imported = peak_mb(resource.RUSAGE_SELF)
    began = time.perf_counter()
    options = DataConfig(sources=({"path": str(source)},))
    made = prepare(data, options, vocabulary, PROCESSES, 0, silent)
    peaks = {
        "main": peak_mb(resource.RUSAGE_SELF) - imported,
        "worker": peak_mb(resource.RUSAGE_CHILDREN) - imported,
    }
    figures = {
        "documents": made.documents,
        "tokens": made.tokens,
        "shards": made.shards,
        "seconds": round(time.perf_counter() - began, 1),
        "mb_per_s": round(source.stat().st_size / 1e6 / (time.perf_counter() - began), 1),
        "mb_after_import": round(imported),
        "peak_mb_above_import": {name: round(peak) for name, peak in peaks.items()},
    }
    print(json.dumps(figures))


def main() -> None:
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    cases = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        save_tokenizer(root / "tokenizer")
        for name, separator in (("documents", "<|endoftext|>\n"), ("one_document", "")):
            source = root / f"{name}.txt"
            write_text(source, megabytes * 1_000_000, separator)
            command = [sys.executable, __file__, "--measure", source, root / "tokenizer"]
            done = subprocess.run(
                [*map(str, command), str(root / "data" / name)], stdout=subprocess.PIPE, check=True
            )
            cases[name] = json.loads(done.stdout)
            source.unlink()
            worst = max(cases[name]["peak_mb_above_import"].values())
            assert worst < LIMIT_MB, f"{name}: {worst} MB above the import"
    result = {**describe("tiktoken"), "file_mb": megabytes, "processes": PROCESSES, **cases}
    path = Path(__file__).parent / "results" / "memory_prep.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    if "--measure" in sys.argv:
        measure(*map(Path, sys.argv[2:5]))
    else:
        main()
