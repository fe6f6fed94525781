"""What the machine is and can do: device, precision, threads, peak arithmetic, memory."""

import contextlib
import ctypes
import os
import platform
import sys
import time
import warnings
from dataclasses import dataclass

import torch

from lilllm.config import Config
from lilllm.errors import RunError
from lilllm.kernels import load

# Dense bf16 TFLOP/s without sparsity, from NVIDIA's data sheets.
GPU_PEAKS = {
    "H200": 989,
    "H100": 989,
    "A100": 312,
    "L40S": 362,
    "L4": 121,
    "A10G": 70,
    "RTX 4090": 165,
    "RTX 3090": 71,
    "T4": 65,
    "V100": 125,
}


DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Machine:
    """The resolved choices of a run; stored in the stage's `config.yaml`.

    device: cpu, cuda or mps. precision: fp32, bf16 or fp16, of matrix products.
    threads: CPU threads. peak_flops: FLOP/s that matrix products of `precision` reach.
    peak_source: where that figure is from.
    """

    device: str
    precision: str
    threads: int
    peak_flops: float
    peak_source: str

    @property
    def dtype(self) -> torch.dtype:
        """The type of matrix products."""
        return DTYPES[self.precision]

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """The context in which a forward pass runs."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        # norms keep fp32 weights; a CPU has no fused kernel that this could miss
        warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight")
        return torch.autocast(self.device, dtype=self.dtype)


def resolve_machine(config: Config) -> Machine:
    """Choose device, precision and threads where the config says auto.

    Raises:
        RunError: the named device is not there.
    """
    if config.threads != "auto":
        torch.set_num_threads(config.threads)
    device = resolve_device(config.device)
    peaks = {
        name: _measure_peak(device, dtype)
        for name, dtype in DTYPES.items()
        if name != "fp16" or config.precision == "fp16" or device == "cuda"  # slow on many CPUs
    }
    precision = config.precision if config.precision != "auto" else _auto_precision(device, peaks)
    peak, source = peaks[precision], "measured"
    if device == "cuda" and precision != "fp32":
        name = torch.cuda.get_device_name()
        for known, tera in GPU_PEAKS.items():
            if known in name:
                peak, source = tera * 1e12, f"data sheet of {name}"
                break
    return Machine(device, precision, torch.get_num_threads(), peak, source)


def choose_precision(device: str, peaks: dict[str, float]) -> str:
    """bf16 where it pays; fp16 on GPUs that are only fast at that (T4, V100, RTX 20); else fp32.

    Args:
        device: cpu, cuda or mps.
        peaks: FLOP/s of matrix products by precision.
    """
    if device != "mps" and peaks["bf16"] > 1.5 * peaks["fp32"]:
        return "bf16"
    return "fp16" if device == "cuda" and peaks["fp16"] > 1.5 * peaks["fp32"] else "fp32"


def _auto_precision(device: str, peaks: dict[str, float]) -> str:
    """What the processor has units for; else by the clock, which a busy machine can mislead."""
    units = _has_bf16_units() if device == "cpu" else None
    if units is not None:
        return "bf16" if units else "fp32"
    return choose_precision(device, peaks)


def _has_bf16_units() -> bool | None:
    """Whether this processor multiplies bf16 by itself; None where only the clock can tell."""
    names = "_is_avx512_bf16_supported", "_is_amx_tile_supported"
    checks = [getattr(torch.cpu, name, None) for name in names]
    if platform.machine().lower() not in {"x86_64", "amd64"} or None in checks:
        return None
    return any(check() for check in checks if check is not None)


def resolve_device(device: str) -> str:
    """`auto` as cuda, mps or cpu; anything else is checked.

    Raises:
        RunError: the named device is not there.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        return next(name for name, there in available.items() if there)
    if not available[device]:
        raise RunError(f"device={device}: no such device on this machine", "device=auto finds one")
    return device


def _measure_peak(device: str, dtype: torch.dtype) -> float:
    """FLOP/s of a square matrix product, the best of a tenth of a second; 0 where there is none."""
    size = 1024 if device == "cpu" else 4096
    try:
        a = torch.ones(size, size, dtype=dtype, device=device)
    except (RuntimeError, TypeError):  # bf16 on MPS before macOS 14
        return 0.0
    times: list[float] = []
    while len(times) < 5 or sum(times) < 0.1:  # the first ones start threads and raise clocks
        start = time.perf_counter()
        a @ a
        synchronize(device)
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times)


def synchronize(device: str) -> None:
    """Wait until the device has done what was asked of it."""
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()


def peak_memory_bytes(device: str) -> int:
    """The most memory in use so far: of the GPU, or of this process on a CPU."""
    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def memory_bytes(device: str) -> int:
    """What the device has in all: of the GPU, or of the machine. 0 where nobody tells."""
    if device == "cuda":
        return int(torch.cuda.get_device_properties(0).total_memory)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):  # Windows
        return 0


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory instead of giving it back to the kernel at every free.

    Training frees and asks for the same large tensors each step; without this every step pays
    for its page faults again (1.04 to 1.3 times the step here). So that what is kept can be used,
    tensors get their memory from kernels/allocator.cpp from now on, where a C++ compiler allows it.
    Elsewhere than with glibc it does nothing.

    Returns:
        whether tensors get their memory there.
    """
    if not sys.platform.startswith("linux") or os.environ.get("LD_PRELOAD"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return False
    for option, value in ((-4, 0), (-1, 2**31 - 1), (-2, 1 << 28)):
        mallopt(option, value)  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD
    allocator = load("allocator")
    return allocator is not None and bool(allocator.install())
