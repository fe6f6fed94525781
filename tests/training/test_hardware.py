"""Memory of training on a CPU: what tensors free, tensors use again."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import torch
from lilllm.training.hardware import keep_freed_memory

assert keep_freed_memory() == {packed}
places, pins = set(), []
for _ in range(50):
    tensor = torch.empty(1_000_000)
    places.add(tensor.data_ptr())
    pins += [torch.empty(size) for size in (1, 3, 10, 20) for _ in range(5)]
    del tensor
    pins += [torch.empty(size) for size in (1, 3, 10, 20) for _ in range(5)]
assert torch.empty(0).data_ptr() == 0
assert all(place % 64 == 0 for place in places)
grown = torch.ones(3).resize_(1000)
assert grown[:3].tolist() == [1.0, 1.0, 1.0]
assert grown.clone().share_memory_().numpy().shape == (1000,)
print(len(places))
try:
    torch.empty(2**60)
except RuntimeError as err:
    assert "can't allocate memory" in str(err), err
else:
    raise AssertionError
"""


def _places(packed: bool, **environment: str) -> int:
    """How many blocks of memory fifty tensors of one size took, none of which outlived another."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(packed=packed)],
        env={**os.environ, "LILLLM_NATIVE": "1", "LD_PRELOAD": "", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("c++")), reason="no C++ compiler")
@pytest.mark.skipif(sys.platform != "linux", reason="about glibc")
def test_what_a_tensor_freed_fits_the_next_one_of_its_size() -> None:
    assert _places(packed=True) < 10  # 49 with glibc alone


@pytest.mark.skipif(sys.platform != "linux", reason="about glibc")
@pytest.mark.parametrize("environment", [{"LILLLM_NATIVE": "0"}, {"CXX": "false"}, {"CXX": "none"}])
def test_tensors_do_without_the_compiler(environment: dict[str, str], tmp_path: Path) -> None:
    _places(packed=False, XDG_CACHE_HOME=str(tmp_path), **environment)
