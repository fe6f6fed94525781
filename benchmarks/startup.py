"""How long every `lilllm ... --help` takes, beside a bare Python and `import torch`.

    python benchmarks/startup.py

Rounds alternate over the commands; medians in seconds go to benchmarks/results/startup.json.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from machine import describe

from lilllm.cli.app import app

ROUNDS = 7


def main() -> None:
    commands = {"python -c pass": [sys.executable, "-c", "pass"]}
    commands["import torch"] = [sys.executable, "-c", "import torch"]
    lilllm = str(Path(sys.executable).with_name("lilllm"))
    for name in ["", *(str(c.name) for c in app.registered_commands)]:
        commands[f"lilllm {name} --help".replace("  ", " ")] = [lilllm, *name.split(), "--help"]
    for group in app.registered_groups:
        for command in group.typer_instance.registered_commands:
            name = command.name or command.callback.__name__
            commands[f"lilllm {group.name} {name} --help"] = [lilllm, group.name, name, "--help"]
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, capture_output=True, check=True)
            seconds[name].append(time.perf_counter() - began)
    medians = {name: round(statistics.median(times), 3) for name, times in seconds.items()}
    result = {**describe(), "rounds": ROUNDS, "seconds": medians}
    path = Path(__file__).parent / "results" / "startup.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
