"""Speed of preparation with two processes against the `tokenizers` library on the same file.

    python benchmarks/prep_speed.py [megabytes] [rounds]

ours: text file in, complete folder of shards out: read, hashed, duplicates dropped, split, hashed
again, flushed to disk; workers are started inside the measured time. theirs: the same file read,
cut at its separator, `encode_batch_fast` on two threads, ids written as uint16. They alternate;
medians go to benchmarks/results/prep_speed.json.
"""

import functools
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ["RAYON_NUM_THREADS"] = "2"  # read by tokenizers when it starts its threads

import numpy as np
from machine import describe
from memory_prep import save_tokenizer, write_text

from lilllm.config.schema import DataConfig
from lilllm.data import Vocabulary, prepare, read_documents
from lilllm.events import silent
from lilllm.tokenizer import Tokenizer, load_encoder

BATCH = 1000  # documents


def ours(source: Path, tokenizer: Path, folder: Path) -> int:
    loaded = Tokenizer.load(tokenizer)
    encoder = functools.partial(load_encoder, str(tokenizer))
    vocabulary = Vocabulary(encoder, loaded.hash, loaded.vocab_size, loaded.end_id)
    options = DataConfig(sources=({"path": str(source)},))
    return prepare(folder, options, vocabulary, 2, 0, silent).tokens


def theirs(source: Path, tokenizer: Path, folder: Path) -> int:
    import tokenizers

    loaded = tokenizers.Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    loaded.encode_special_tokens = True
    folder.mkdir(parents=True)
    documents = [d.text for d in read_documents(DataConfig(sources=(str(source),)).sources[0])]
    tokens = 0
    with (folder / "tokens.bin").open("wb") as file:
        for start in range(0, len(documents), BATCH):
            batch = documents[start : start + BATCH]
            for encoding in loaded.encode_batch_fast(batch, add_special_tokens=False):
                ids = [*encoding.ids, 0]
                file.write(np.array(ids, dtype=np.uint16).tobytes())
                tokens += len(ids)
    return tokens


def main() -> None:
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    speeds: dict[str, list[float]] = {"ours": [], "theirs": []}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        save_tokenizer(root / "tokenizer")
        write_text(root / "text.txt", megabytes * 1_000_000, "<|endoftext|>\n")
        size = (root / "text.txt").stat().st_size
        counts = set()
        for _ in range(rounds):
            for name, contestant in (("ours", ours), ("theirs", theirs)):
                began = time.perf_counter()
                counts.add(contestant(root / "text.txt", root / "tokenizer", root / "out" / name))
                speeds[name].append(size / 1e6 / (time.perf_counter() - began))
                shutil.rmtree(root / "out")
        assert len(counts) == 1, f"the contestants made other tokens: {counts}"
    medians = {name: round(statistics.median(values), 2) for name, values in speeds.items()}
    result = {
        **describe("tiktoken"),
        "file_mb": megabytes,
        "rounds": rounds,
        "mb_per_s": medians,
        "all_mb_per_s": {name: [round(v, 2) for v in values] for name, values in speeds.items()},
        "ratio": round(medians["ours"] / medians["theirs"], 2),
    }
    path = Path(__file__).parent / "results" / "prep_speed.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
