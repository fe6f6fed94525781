"""Speed of the story generator: megabytes of UTF-8 text per second, one process."""

import json
import statistics
import sys
import time

from lilllm.data.stories import stories

COUNT = 4_000
RUNS = 5


def megabytes_per_second(seed: int) -> float:
    """Generates COUNT stories of the series `seed` and returns MB of UTF-8 per second."""
    start = time.perf_counter()
    size = sum(len(s.text.encode()) for s in stories(seed, 0, COUNT))
    return size / (time.perf_counter() - start) / 1e6


def main() -> None:
    """Writes one JSON line: the median of RUNS runs and all of them."""
    runs = [megabytes_per_second(seed) for seed in range(RUNS)]
    result = {
        "benchmark": "stories",
        "mb_per_s": round(statistics.median(runs), 2),
        "runs": [round(run, 2) for run in runs],
        "stories": COUNT,
        "python": sys.version.split()[0],
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
