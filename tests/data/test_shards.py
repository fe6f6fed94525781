import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lilllm.config.schema import DataConfig
from lilllm.data import Shards, prepare, verify
from lilllm.data.shards import FORMAT
from lilllm.errors import DataError
from lilllm.events import silent
from tests.data.byte_encoder import BYTES


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shards")
    source = root / "a.jsonl"
    source.write_text("".join(json.dumps({"text": f"document {i}"}) + "\n" for i in range(100)))
    config = DataConfig(sources=({"path": str(source)},), val_fraction=0.1)  # type: ignore[arg-type]
    prepare(root / "data", config, BYTES, 1, 0, silent)
    return root / "data"


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "data"))


def test_a_split_knows_its_tokenizer_and_its_sizes(folder: Path) -> None:
    train, val = Shards.open(folder, "train"), Shards.open(folder, "val")
    assert train.tokenizer_hash == BYTES.hash
    assert (train.vocab_size, train.end_id) == (BYTES.vocab_size, BYTES.end_id)
    assert train.n_documents + val.n_documents == 100
    assert train.n_tokens == train.n_bytes + train.n_documents == train.document_ends[-1]
    assert train.read(0, 10).dtype == "<u2"


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["train-00000.bin", "val-00000.idx"])
def test_a_shard_cut_short_is_seen_on_opening(folder: Path, name: str) -> None:
    cut_short(folder / name)
    with pytest.raises(DataError, match=f"{name}: .* bytes instead of") as caught:
        Shards.open(folder, name.split("-")[0])
    assert "data prep" in caught.value.hint


@pytest.mark.parametrize("name", ["train-00000.bin", "train-00000.idx", "val-00000.bin"])
def test_a_flipped_bit_is_seen_by_verify(folder: Path, name: str) -> None:
    verify(folder)
    flip_a_bit(folder / name)
    with pytest.raises(DataError, match=f"{name}: its SHA-256"):
        verify(folder)


@pytest.mark.parametrize(
    "damage",
    [
        lambda manifest: manifest.pop("dtype"),
        lambda manifest: manifest.pop("splits"),
        lambda manifest: manifest.update(splits=None),
        lambda manifest: manifest.update(splits=[1]),
        lambda manifest: manifest.update(dtype="nonsense"),
        lambda manifest: manifest.update(vocab_size=None),
        lambda manifest: manifest["splits"]["train"].update(tokens=3),
        lambda manifest: manifest["splits"]["train"]["shards"].append(3),
        lambda manifest: manifest["splits"]["train"]["shards"][0].update(file="../x"),
        lambda manifest: manifest["files"].clear(),
        lambda manifest: manifest.clear(),
    ],
)
def test_a_damaged_manifest_is_an_error_that_names_it(
    folder: Path, damage: Callable[[dict[str, object]], object]
) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    damage(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=str(folder)):
        Shards.open(folder, "train")
    with pytest.raises(DataError, match=str(folder)):
        verify(folder)


def test_shards_of_an_older_format_are_refused_by_name(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "format": "lilllm-shards-1"}))
    with pytest.raises(DataError, match=f"format lilllm-shards-1, not {FORMAT}") as caught:
        Shards.open(folder, "train")
    assert "data prep" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_manifest_that_is_no_json_is_an_error(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(DataError, match=r"manifest\.json"):
        Shards.open(folder, "train")


def test_what_is_missing_is_named(folder: Path) -> None:
    with pytest.raises(DataError, match="no split 'test'"):
        Shards.open(folder, "test")
    (folder / "train-00000.idx").unlink()
    with pytest.raises(DataError, match=r"train-00000\.idx: missing"):
        Shards.open(folder, "train")
    with pytest.raises(DataError, match="no prepared data"):
        Shards.open(folder / "nowhere", "train")
