"""The container of a GGUF file: its fields and tensors, read without trusting a single length.

Every count and offset is held against the bytes that are there before anything is allocated.
Floats are read as they are; other types are dequantized by the package `gguf`. What fields and
tensors mean is `gguf_model.py` and `gguf_tokenizer.py`; writing is `gguf_write.py`.

Source: github.com/ggml-org/ggml, docs/gguf.md, versions 2 and 3.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lilllm.errors import CheckpointError, ConfigError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
SCALARS = dict(enumerate(("B", "b", "H", "h", "I", "i", "f", "?"))) | {10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
F32, F16, BF16 = 0, 1, 30
FLOATS = {F32: torch.float32, F16: torch.float16, BF16: torch.bfloat16}
MOST_DIMENSIONS = 4
DAMAGED = "the file is damaged or cut short; download or export it again"
EXTRA = "pip install gguf"


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a tensor is; its shape in torch's order, the reverse of the file's."""

    shape: tuple[int, ...]
    type: int
    offset: int
    size: int


class GgufFile:
    """An opened file.

    Attributes:
        path: of the file.
        fields: numbers, strings, lists of strings, and arrays of numbers, by key.
        tensors: by name.
    """

    def __init__(self, path: Path) -> None:
        """Read everything but the tensors' data.

        Raises:
            CheckpointError: it cannot be read or is not a whole GGUF file.
            ConfigError: its tensors are quantized and the package `gguf` is missing.
        """
        self.path = path
        try:
            self._data = np.memmap(path, dtype=np.uint8, mode="r")
        except (OSError, ValueError) as err:  # an empty file cannot be mapped
            raise CheckpointError(f"{path}: cannot be read ({err})") from err
        self._at = 0
        if self._take(4, "magic number").tobytes() != MAGIC:
            raise CheckpointError(f"{path}: not a GGUF file: it does not begin with 'GGUF'")
        version = self._scalar("I", "version")
        if version not in VERSIONS:
            raise CheckpointError(
                f"{path}: GGUF version {version} is not supported",
                f"supported: {', '.join(map(str, VERSIONS))}, little-endian",
            )
        n_tensors, n_fields = self._scalar("Q", "tensor count"), self._scalar("Q", "field count")
        self.fields: dict[str, Any] = {}
        for number in range(n_fields):
            key = self._string(f"the key of field {number}")
            if key in self.fields:
                raise CheckpointError(f"{path}: field {key} is there twice", DAMAGED)
            self.fields[key] = self._value(self._scalar("I", key), key)
        self.tensors = self._tensor_table(n_tensors)

    def read(self, name: str) -> Tensor:
        """A tensor in its own float type, or dequantized to fp32."""
        entry = self.tensors[name]
        raw = self._data[entry.offset : entry.offset + entry.size]
        if entry.type in FLOATS:
            plain = torch.from_numpy(np.array(raw))  # a copy of the mapped bytes
            return plain.view(FLOATS[entry.type]).reshape(entry.shape)
        gguf = import_gguf()
        rows = raw.reshape(*entry.shape[:-1], -1)
        try:
            values = gguf.dequantize(rows, gguf.GGMLQuantizationType(entry.type))
        except NotImplementedError as err:
            kind = gguf.GGMLQuantizationType(entry.type).name
            raise CheckpointError(
                f"{self.path}: {name} has type {kind}, which the package gguf cannot dequantize"
            ) from err
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))

    def _take(self, size: int, what: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
        if size > len(self._data) - self._at:
            raise CheckpointError(
                f"{self.path}: {what} has {size:,} bytes, the file ends "
                f"{len(self._data) - self._at:,} bytes behind its beginning",
                DAMAGED,
            )
        self._at += size
        return self._data[self._at - size : self._at]

    def _scalar(self, code: str, what: str) -> Any:
        raw = self._take(struct.calcsize(f"<{code}"), what)
        return struct.unpack(f"<{code}", raw.tobytes())[0]

    def _string(self, what: str) -> str:
        try:
            return self._take(self._scalar("Q", what), what).tobytes().decode()
        except UnicodeDecodeError as err:
            raise CheckpointError(f"{self.path}: {what} is not UTF-8 text", DAMAGED) from err

    def _value(self, kind: int, key: str) -> Any:
        if kind == STRING:
            return self._string(f"field {key}")
        if kind in SCALARS:
            return self._scalar(SCALARS[kind], f"field {key}")
        if kind != ARRAY:
            raise CheckpointError(f"{self.path}: field {key} has the unknown type {kind}", DAMAGED)
        item, count = self._scalar("I", f"field {key}"), self._scalar("Q", f"field {key}")
        if item == STRING:
            least = 8 * count  # the length before each string
            if least > len(self._data) - self._at:
                self._take(least, f"field {key}")
            return [self._string(f"field {key}, item {index}") for index in range(count)]
        if item not in SCALARS:
            raise CheckpointError(f"{self.path}: field {key} has items of type {item}", DAMAGED)
        dtype = np.dtype(SCALARS[item]).newbyteorder("<")
        raw = self._take(dtype.itemsize * count, f"field {key}")
        return np.frombuffer(raw.tobytes(), dtype)

    def _tensor_table(self, count: int) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        for number in range(count):
            name = self._string(f"the name of tensor {number}")
            if name in found:
                raise CheckpointError(f"{self.path}: tensor {name} is there twice", DAMAGED)
            n_dims = self._scalar("I", f"tensor {name}")
            if not 0 < n_dims <= MOST_DIMENSIONS:
                raise CheckpointError(f"{self.path}: tensor {name} has {n_dims} dimensions")
            shape = tuple(self._scalar("Q", f"tensor {name}") for _ in range(n_dims))[::-1]
            kind, offset = self._scalar("I", f"tensor {name}"), self._scalar("Q", f"tensor {name}")
            block, size = self._block(name, kind)
            if 0 in shape or shape[-1] % block:
                raise CheckpointError(
                    f"{self.path}: tensor {name} of shape {list(shape)} does not fit its type",
                    DAMAGED,
                )
            found[name] = Entry(shape, kind, offset, math.prod(shape) // block * size)
        return dict(self._placed(found))

    def _placed(self, found: dict[str, Entry]) -> Iterator[tuple[str, Entry]]:
        """The tensors with offsets from the beginning of the file, all of them inside it."""
        alignment = self.fields.get("general.alignment", 32)
        if not (isinstance(alignment, int) and 0 < alignment <= 1 << 16):
            raise CheckpointError(f"{self.path}: general.alignment={alignment} is impossible")
        start = -(-self._at // alignment) * alignment
        for name, entry in found.items():
            if start + entry.offset + entry.size > len(self._data):
                raise CheckpointError(
                    f"{self.path}: tensor {name} ends at byte "
                    f"{start + entry.offset + entry.size:,}, the file has {len(self._data):,}",
                    DAMAGED,
                )
            yield name, Entry(entry.shape, entry.type, start + entry.offset, entry.size)
        in_order = sorted(found.items(), key=lambda item: item[1].offset)
        for (one, first), (other, second) in pairwise(in_order):
            if first.offset + first.size > second.offset:
                raise CheckpointError(f"{self.path}: tensors {one} and {other} overlap", DAMAGED)

    def _block(self, name: str, kind: int) -> tuple[int, int]:
        """How many values of a type make a block, and its bytes."""
        if kind in FLOATS:
            return 1, FLOATS[kind].itemsize
        gguf = import_gguf()
        try:
            block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)]
        except (ValueError, KeyError) as err:
            raise CheckpointError(
                f"{self.path}: tensor {name} has the unknown type {kind}", DAMAGED
            ) from err
        return int(block), int(size)


def import_gguf() -> Any:
    """The package `gguf`.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import gguf
    except ImportError as err:
        raise ConfigError("GGUF needs the package gguf", EXTRA) from err
    return gguf
