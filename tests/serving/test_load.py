"""Many clients on a real model in a process of its own; 64 and 2,000 in `make test-all`."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import serve_load

torch.set_num_threads(1)


def check(result: dict[str, Any]) -> None:
    assert result["errors"] == []
    assert result["answers_unlike_alone"] == 0
    assert result["exit_code_after_sigterm"] == 0
    assert result["memory_growth_bytes"] < 0.05 * result["memory_bytes_after_warm_up"]


def test_8_clients_at_once_each_get_their_own_answer(tmp_path: Path) -> None:
    check(serve_load.measure(tmp_path, clients=8, in_a_row=40))


@pytest.mark.slow
def test_64_clients_and_2000_requests_leave_memory_flat(tmp_path: Path) -> None:
    result = serve_load.measure(tmp_path, clients=64, in_a_row=2000)
    check(result)
    serve_load.write(result)
    assert json.loads(serve_load.RESULT.read_text())["clients"] == 64
