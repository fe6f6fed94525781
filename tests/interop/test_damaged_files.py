"""Model files that were cut, flipped, swollen or rewritten: an error that names them, or a model.

Never a traceback, a hang or a huge allocation: the address space is limited while they are read.
"""

import json
import random
import resource
import shutil
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lilllm.errors import CheckpointError, LilllmError
from lilllm.interop.gguf_file import GgufFile
from lilllm.interop.gguf_write import write_gguf
from lilllm.stages.find_checkpoint import load_checkpoint
from lilllm.stages.import_model import run as import_model
from tests.interop.peers import draw_model, write_anyhow
from tests.interop.test_llama2c import tiny_file
from tests.stages.tiny_run import tiny_model, tiny_tokenizer, write_checkpoint

torch.set_num_threads(1)

pytest.importorskip("gguf", reason="the package gguf is not installed")

ALLOWED_BYTES = 2 << 30
ALLOWED_SECONDS = 10.0
EXTREMES = (0, 1, 2, 127, 255, 1 << 15, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 40)
VALUES: tuple[Any, ...] = (
    None, -1, 0, 1, 3, 1 << 20, 1 << 31, 1 << 63, 1e308, -0.5, "", "x", [], [1], {}, {"a": 1}, True,
)  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small model of every kind."""
    folder = tmp_path_factory.mktemp("models")
    foreign = write_checkpoint(folder / "hf")
    for name in ("manifest.json", "lilllm.yaml"):
        (foreign / name).unlink()
    tokenizer = tiny_tokenizer()
    for dtype in ("f32", "q8_0"):
        model = draw_model(tokenizer) if dtype == "q8_0" else tiny_model()
        path = folder / f"{dtype}.gguf"
        write_gguf(path, model, tokenizer, name="x", dtype=dtype, warn=lambda text: None)
    tiny_file(folder / "llama2c.bin", classes=262)
    tokens = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]
    tokens += [(f"<0x{byte:02X}>", 0.0) for byte in range(256)]
    tokens += [(" ", -1.0), ("a", -2.0), (" a", -3.0)]
    raw = struct.pack("<i", 6)
    for text, score in tokens:
        raw += struct.pack("<fi", score, len(text)) + text.encode()
    (folder / "tokenizer.bin").write_bytes(raw)
    return folder


@pytest.fixture(autouse=True)
def limited_memory() -> Iterator[None]:
    """Anything that wants gigabytes fails."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + ALLOWED_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def damage_bytes(raw: bytes, draw: random.Random, head: int) -> bytes:
    """Bytes changed in one of many ways, mostly within the first `head`."""
    data = bytearray(raw)
    end = min(len(data), head)
    way = draw.randrange(6)
    if way == 0:
        return bytes(data[: draw.randrange(len(data))])
    if way == 1:
        return bytes(data) + draw.randbytes(draw.randint(1, 64))
    at = draw.randrange(end)
    if way == 2:
        del data[at : at + draw.randint(1, 16)]
    elif way == 3:
        data[at:at] = draw.randbytes(draw.randint(1, 16))
    elif way == 4:
        size, code = draw.choice([(4, "<I"), (8, "<Q")])
        data[at : at + size] = struct.pack(code, draw.choice(EXTREMES) % (1 << 8 * size))
    else:
        for _ in range(draw.choice([1, 1, 3, 20])):
            data[draw.randrange(end)] = draw.randrange(256)
    return bytes(data)


def damage_json(raw: bytes, draw: random.Random) -> bytes:
    """A JSON file with one value replaced or removed, or damaged as bytes are."""
    if draw.random() < 0.2:
        return damage_bytes(raw, draw, len(raw))
    parsed = json.loads(raw)
    place, key = parsed, draw.choice(list(parsed))
    while isinstance(place[key], dict | list) and place[key] and draw.random() < 0.8:
        place = place[key]
        key = draw.choice(list(place)) if isinstance(place, dict) else draw.randrange(len(place))
    if draw.random() < 0.2:
        del place[key]
    else:
        place[key] = draw.choice(VALUES)
    return json.dumps(parsed).encode()


def damage_header(raw: bytes, draw: random.Random) -> bytes:
    """A safetensors file whose JSON header, or the length of it, is damaged."""
    (length,) = struct.unpack("<Q", raw[:8])
    if draw.random() < 0.5:
        return damage_bytes(raw, draw, 8 + length)
    header = damage_json(raw[8 : 8 + length], draw)
    return struct.pack("<Q", len(header)) + header + raw[8 + length :]


def damage_fields(raw: bytes, draw: random.Random) -> bytes:
    """A GGUF file that is whole, but one of its fields has another value, type or is gone."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "whole.gguf")
        path.write_bytes(raw)
        file = GgufFile(path)
        fields = dict(file.fields)
        key = draw.choice(sorted(fields))
        fields[key] = draw.choice(
            (None, -1, 0, 1, 3, 1 << 20, (1 << 32) - 1, 0.5, 1e30, "", "x", True, [1, 2], ["a"])
        )
        if key == "tokenizer.ggml.token_type" and draw.random() < 0.5:
            fields[key] = [draw.randrange(8) for _ in file.fields["tokenizer.ggml.tokens"]]
        write_anyhow(path, fields, {name: file.read(name) for name in file.tensors})
        return path.read_bytes()


KINDS: dict[str, tuple[str, Callable[[bytes, random.Random], bytes]]] = {
    "safetensors": ("hf/model.safetensors", damage_header),
    "config.json": ("hf/config.json", damage_json),
    "tokenizer.json": ("hf/tokenizer.json", damage_json),
    "generation_config.json": ("hf/generation_config.json", damage_json),
    "tokenizer_config.json": ("hf/tokenizer_config.json", damage_json),
    "gguf f32": (
        "f32.gguf",
        lambda raw, draw: damage_bytes(raw, draw, draw.choice([1500, 20_000])),
    ),
    "gguf fields": ("f32.gguf", damage_fields),
    "gguf q8_0": ("q8_0.gguf", lambda raw, draw: damage_bytes(raw, draw, 1500)),
    "llama2.c": ("llama2c.bin", lambda raw, draw: damage_bytes(raw, draw, 28)),
    "llama2.c tokenizer": ("tokenizer.bin", lambda raw, draw: damage_bytes(raw, draw, 4000)),
}


def try_import(models: Path, name: str, raw: bytes, work: Path) -> str:
    """Import a model with one file replaced; what is wrong with it, or nothing."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    source = work / Path(name).parts[0]
    if name.startswith("hf/"):
        shutil.copytree(models / "hf", source)
    (work / name).write_bytes(raw)
    tokenizer = None
    if name == "llama2c.bin":
        tokenizer = models / "tokenizer.bin"
    elif name == "tokenizer.bin":
        source, tokenizer = models / "llama2c.bin", source
    try:
        import_model(source, work / "to", lambda event: None, tokenizer=tokenizer)
        loaded = load_checkpoint(work / "to", device="cpu")
        with torch.no_grad():
            loaded.model(torch.tensor([[0, 1]])[:, : loaded.model.shape.max_seq_len])
        loaded.tokenizer.encode_prompt("The cat 12")
    except CheckpointError as err:
        assert str(work) in err.message, err.message  # it says which file
        assert len(err.message) < 1000, err.message
        return err.message
    return ""


def try_many(models: Path, work: Path, kind: str, count: int) -> list[str]:
    name, damage = KINDS[kind]
    original = (models / name).read_bytes()
    draw = random.Random(kind)
    found = []
    for number in range(count):
        raw = damage(original, draw)
        (work / "damaged").write_bytes(raw)  # what it was, should a test fail
        start = time.monotonic()
        try:
            found.append(try_import(models, name, raw, work / "at"))
        except LilllmError as err:
            pytest.fail(f"{kind} {number}: {type(err).__name__} {err.message}")
        assert time.monotonic() - start < ALLOWED_SECONDS, f"{kind} {number}"
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_an_error_or_a_model(kind: str, models: Path, tmp_path: Path) -> None:
    found = try_many(models, tmp_path, kind, 5)
    assert len(found) == 5


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_500_damaged_files_are_errors_or_models(kind: str, models: Path, tmp_path: Path) -> None:
    found = try_many(models, tmp_path, kind, 50)
    if kind not in {"generation_config.json", "tokenizer_config.json"}:
        assert sum(map(bool, found)) > 10


def test_undamaged_models_are_imported(models: Path, tmp_path: Path) -> None:
    for name, _ in KINDS.values():
        assert try_import(models, name, (models / name).read_bytes(), tmp_path / "at") == ""
