"""Speed of the story generator: megabytes of UTF-8 text per second, one process, one core.

    python benchmarks/stories.py

Prints one JSON line.
"""

import json
import statistics
import sys
import time

from lilllm.data.stories import stories

COUNT = 4_000
RUNS = 5


def megabytes_per_second(seed: int) -> tuple[float, float]:
    """MB of UTF-8 per second for COUNT stories of the series `seed`.

    Returns:
        Per second of the wall clock, and per second of CPU time, which other work on the
        machine disturbs less.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    size = sum(len(s.text.encode()) for s in stories(seed, 0, COUNT)) / 1e6
    return size / (time.perf_counter() - wall), size / (time.process_time() - cpu)


def main() -> None:
    """Writes one JSON line: medians of RUNS runs."""
    runs = [megabytes_per_second(seed) for seed in range(RUNS)]
    result = {
        "benchmark": "stories",
        "mb_per_s": round(statistics.median(wall for wall, _ in runs), 2),
        "mb_per_cpu_s": round(statistics.median(cpu for _, cpu in runs), 2),
        "runs": RUNS,
        "stories": COUNT,
        "python": sys.version.split()[0],
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
