"""Which kernels there are."""

import os
import shutil
import subprocess

import pytest
import torch

from lilllm.model.native import library


@pytest.mark.parametrize("name", ["attention", "products", "swiglu"])
def test_a_kernel_is_there_where_compiler_and_processor_allow_it(name: str) -> None:
    compiler = os.environ.get("CC") or shutil.which("gcc")
    if compiler is None or os.environ.get("LILLLM_NATIVE") == "0":
        pytest.skip("no C compiler")
    command = [*compiler.split(), "-march=native", "-dM", "-E", "-x", "c", "/dev/null"]
    macros = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    with_amx = torch.cpu._is_amx_tile_supported() and name != "swiglu"
    needed = "__AMX_BF16__" if with_amx else "__AVX512BF16__"
    allowed = not with_amx or torch.cpu._init_amx()
    assert (library(name) is not None) == (needed in macros and allowed)


@pytest.mark.skipif(not torch.cpu._is_amx_tile_supported(), reason="a processor without AMX")
def test_with_amx_vectors_do_not_multiply(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lilllm.model.native.load", lambda _: VectorLibrary)
    assert library.__wrapped__("products") is None


class VectorLibrary:
    needs_avx512_bf16 = multiplies_in_vectors = None
