"""What a result file says of the machine that it comes from."""

import importlib.metadata
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any


def arguments(usage: str | None, least: int) -> list[str]:
    """What the script was called with; with fewer than `least` words it tells its usage."""
    if len(sys.argv) <= least:
        sys.exit(usage)
    return sys.argv[1:]


def describe(*packages: str) -> dict[str, Any]:
    """Date, processor, cores and versions."""
    names = ("torch", "tokenizers", "numpy", *packages)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in names},
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
