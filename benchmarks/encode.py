"""Encoding speed: text file in, closed uint16 file out, ours against `tokenizers`.

    python benchmarks/encode.py TEXT... [--rounds 5] [--vocab-size 8192]

Contestants work alternately in one run, each with two workers, on the same documents with the
same tokenizer; worker pools are made inside the measured time. All files are compared.

    ours             load_encoder, one process per worker
    hf_threads       tokenizers encode_batch_fast, two threads
    hf_processes     tokenizers encode_batch_fast, one process per worker, one thread each

Writes benchmarks/results/encode.json.
"""

import argparse
import datetime
import hashlib
import json
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

WORKERS = 2
BATCH = 1000  # documents
SEPARATOR = "<|endoftext|>"
RESULT = Path(__file__).parent / "results" / "encode.json"

os.environ["RAYON_NUM_THREADS"] = str(WORKERS)  # read by tokenizers when it starts its threads

import numpy as np  # noqa: E402 - after the environment is set
import tiktoken  # noqa: E402
import tokenizers  # noqa: E402

from lilllm.tokenizer import Tokenizer, load_encoder, train_bpe  # noqa: E402

Encode = Callable[[list[str]], bytes]


def read_documents(paths: list[str]) -> list[str]:
    texts = [text for path in paths for text in Path(path).read_text("utf-8").split(SEPARATOR)]
    return [text.strip() for text in texts if text.strip()]


def parts(documents: list[str], size: int) -> list[list[str]]:
    return [documents[at : at + size] for at in range(0, len(documents), size)]


def our_encoder(folder: str) -> Encode:
    encode = load_encoder(folder)
    end = np.zeros(1, np.uint16)  # the id of <|endoftext|>

    def run(texts: list[str]) -> bytes:
        return np.concatenate([piece for ids in encode(texts) for piece in (ids, end)]).tobytes()

    return run


def hf_encoder(folder: str) -> Encode:
    tokenizer = tokenizers.Tokenizer.from_file(f"{folder}/tokenizer.json")
    tokenizer.encode_special_tokens = True

    def run(texts: list[str]) -> bytes:
        encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return np.array([id for e in encodings for id in (*e.ids, 0)], np.uint16).tobytes()

    return run


worker: Encode


def start_worker(make: Callable[[str], Encode], folder: str) -> None:
    global worker
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    worker = make(folder)


def work(texts: list[str]) -> bytes:
    return worker(texts)


def in_processes(make: Callable[[str], Encode], folder: str, texts: list[str]) -> Iterator[bytes]:
    context = multiprocessing.get_context("fork")
    with context.Pool(WORKERS, start_worker, (make, folder)) as pool:
        yield from pool.imap(work, parts(texts, BATCH // 4))


def in_threads(make: Callable[[str], Encode], folder: str, texts: list[str]) -> Iterator[bytes]:
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    yield from map(make(folder), parts(texts, BATCH))


CONTESTANTS = {
    "ours": (in_processes, our_encoder),
    "hf_processes": (in_processes, hf_encoder),
    "hf_threads": (in_threads, hf_encoder),
}


def contest(name: str, paths: list[str], folder: str, out: Path) -> None:
    run, make = CONTESTANTS[name]
    with out.open("wb") as file:
        for block in run(make, folder, read_documents(paths)):
            file.write(block)


def in_own_process(run: Callable[..., None], *arguments: object) -> None:
    """So that no contestant inherits threads or caches of an earlier one."""
    process = multiprocessing.get_context("fork").Process(target=run, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == 0, run.__name__


def train(paths: list[str], vocab_size: int, folder: str) -> None:
    Tokenizer.trained(train_bpe(read_documents(paths), vocab_size)).save(Path(folder))


def measure(name: str, paths: list[str], folder: str, out: Path) -> float:
    """Seconds of one contest; importing is not part of them."""
    receive, send = multiprocessing.get_context("fork").Pipe(duplex=False)

    def timed() -> None:
        began = time.perf_counter()
        contest(name, paths, folder, out)
        send.send(time.perf_counter() - began)

    in_own_process(timed)
    return float(receive.recv())


def cpu_name() -> str:
    for line in (
        Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    ):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", nargs="+", help="text files, documents separated by " + SEPARATOR)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--vocab-size", type=int, default=8192)
    arguments = parser.parse_args()
    megabytes = sum(Path(path).stat().st_size for path in arguments.text) / 1e6
    with tempfile.TemporaryDirectory() as folder:
        in_own_process(train, arguments.text, arguments.vocab_size, folder)
        seconds: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
        hashes = {}
        for turn in range(arguments.rounds + 1):  # the first round warms up
            for name in CONTESTANTS:
                out = Path(folder) / f"{name}.bin"
                took = measure(name, arguments.text, folder, out)
                hashes[name] = hashlib.sha256(out.read_bytes()).hexdigest()
                seconds[name] += [took] if turn else []
        tokens = out.stat().st_size // 2
    assert len(set(hashes.values())) == 1, f"the files differ: {hashes}"
    ours = seconds["ours"]
    result = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "load_at_end": os.getloadavg()[0],
        "versions": {
            "python": platform.python_version(),
            "tokenizers": tokenizers.__version__,
            "tiktoken": tiktoken.__version__,
            "numpy": np.__version__,
        },
        "text": [Path(path).name for path in arguments.text],
        "text_mb": megabytes,
        "tokens": tokens,
        "workers": WORKERS,
        "rounds": arguments.rounds,
        "mb_per_s": {name: megabytes / statistics.median(times) for name, times in seconds.items()},
        "rounds_mb_per_s": {
            name: [megabytes / took for took in times] for name, times in seconds.items()
        },
        "ratio": {
            name: statistics.median(theirs / own for theirs, own in zip(times, ours, strict=True))
            for name, times in seconds.items()
            if name != "ours"
        },
        "same_files": True,
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["mb_per_s"]), json.dumps(result["ratio"]))


if __name__ == "__main__":
    main()
