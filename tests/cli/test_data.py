"""`lilllm data` as typed: results, bad input of every kind, exit codes."""

import gzip
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from lilllm.cli.app import app
from lilllm.data.stories import story
from lilllm.tokenizer import Tokenizer, train_bpe

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    Tokenizer.trained(train_bpe([story(0, i).text for i in range(200)], 500)).save(folder)
    return folder


@pytest.fixture
def lilllm(
    tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Types a `lilllm data` command in an empty folder; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(command: str, *arguments: str) -> tuple[int, str, str]:
        done = CliRunner().invoke(app, ["data", command, *arguments])
        assert "Traceback" not in done.output + done.stderr
        return done.exit_code, done.stdout, done.stderr

    return run


def prep(tokenizer: Path, *overrides: str) -> list[str]:
    return [f"tokenizer.path={tokenizer}", *overrides]


def write_parquet(path: Path, column: str = "text") -> bytes:
    texts = [f"row {i} of the table" for i in range(3000)]
    pyarrow.parquet.write_table(pyarrow.table({column: texts}), path, row_group_size=300)
    return path.read_bytes()


def cut_parquet(path: Path) -> None:
    data = write_parquet(path)
    path.write_bytes(data[: len(data) // 2])


def cut_gzip(path: Path) -> None:
    path.write_bytes(gzip.compress(os.urandom(20_000).hex().encode())[:9000])


BAD: list[tuple[str, bytes | Callable[[Path], Any], str]] = [
    ("empty.txt", b"", "empty.txt: the file is empty"),
    ("empty.jsonl", b"", "empty.jsonl: the file is empty"),
    ("white.txt", b"\n\n  \n", "hold no document"),
    ("binary.txt", bytes(range(256)) * 20, "binary.txt:1: a binary file"),
    ("binary.jsonl", bytes(range(128, 256)) * 20, "binary.jsonl:1: not valid UTF-8"),
    ("field.jsonl", b'{"story": "x", "id": 1}\n', "no field 'text'; the row has: story, id"),
    ("field.csv", b"story,id\nx,1\n", "field.csv:2: no field 'text'"),
    ("field.parquet", lambda path: write_parquet(path, "story"), "no column 'text'; it has: story"),
    (
        "null.jsonl",
        b'{"text": "a"}\n{"text": null}\n',
        "null.jsonl:2: the field 'text' holds nothing",
    ),
    ("number.jsonl", b'{"text": 3}\n', "number.jsonl:1: the field 'text' holds int, not text"),
    ("rows.jsonl", b'["text"]\n', "rows.jsonl:1: a JSON object is expected"),
    ("utf8.txt", b"fine\n\nfine\nnot \xff fine\n", "utf8.txt:4: not valid UTF-8 (byte 0xff"),
    ("utf8.jsonl", b'{"text": "a"}\n{"text": "\xc3"}\n', "utf8.jsonl:2: not valid UTF-8"),
    ("utf8.csv", b"text\na\n\xff\n", "utf8.csv:3: not valid UTF-8"),
    ("half.jsonl", b'{"text": "a"}\n{"text": "b', "half.jsonl:2: not valid JSON"),
    ("half.json", b'[{"text": "a"}, {"text": "b"}', "half.json: item 3 of its array"),
    ("surrogate.jsonl", b'{"text": "\\ud800"}', "surrogate.jsonl:1"),
    ("ragged.csv", b"text,id\na,1\nb\n", "ragged.csv:3: 1 fields under a header of 2"),
    ("cut.parquet", cut_parquet, "cut.parquet: not a readable parquet file"),
    ("cut.txt.gz", cut_gzip, "cut.txt.gz: the compressed file is damaged or cut short"),
    ("no.txt.gz", b"plain text", "no.txt.gz: the compressed file is damaged or cut short"),
    ("no.txt.zst", b"plain text", "no.txt.zst: the compressed file is damaged or cut short"),
    ("unknown.docx", b"text", "unknown.docx: not a known kind of data file"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD, ids=[case[0] for case in BAD])
def test_bad_input_is_an_error_of_the_data_that_names_the_place(
    lilllm: Callable[..., tuple[int, str, str]],
    tokenizer: Path,
    tmp_path: Path,
    name: str,
    content: bytes | Callable[[Path], Any],
    message: str,
) -> None:
    if callable(content):
        content(tmp_path / name)
    else:
        (tmp_path / name).write_bytes(content)
    code, out, err = lilllm("prep", *prep(tokenizer, f"data.sources=[{name}]", "name=bad"))
    assert (code, out) == (3, "")
    assert message in err and "hint:" in err
    assert not (tmp_path / "runs/bad/data").exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.txt", "nowhere.txt: no such file"),
        ('"*.jsonl"', "*.jsonl: no such file"),
        ("folder", "folder: no data files in this folder"),
        ("builtin:tales", "builtin:tales: no such built-in source"),
    ],
)
def test_a_source_that_is_not_there_is_an_error_of_the_data(
    lilllm: Callable[..., tuple[int, str, str]],
    tokenizer: Path,
    tmp_path: Path,
    source: str,
    message: str,
) -> None:
    (tmp_path / "folder").mkdir()
    code, out, err = lilllm("prep", *prep(tokenizer, f"data.sources=[{source}]", "--json"))
    assert code == 3 and message in err
    assert json.loads(out)["error"]["exit_code"] == 3


def test_a_hub_out_of_reach_names_the_built_in_stories(
    lilllm: Callable[..., tuple[int, str, str]], tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    code, _, err = lilllm("prep", *prep(tokenizer, "data.sources=[hf:someone/something]"))
    assert code == 3
    assert "cannot be reached" in err and "data.sources=[builtin:stories]" in err


def test_a_tokenizer_that_is_not_there_is_an_error_of_the_checkpoint(
    lilllm: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    (tmp_path / "tok").mkdir()
    (tmp_path / "tok/tokenizer.json").write_text("{}")
    for folder in ("tok", "nowhere"):
        code, _, err = lilllm("prep", f"tokenizer.path={folder}", "data.sources=[builtin:stories]")
        assert code == 4 and folder in err


def test_bad_settings_are_an_error_of_the_config(
    lilllm: Callable[..., tuple[int, str, str]], tokenizer: Path
) -> None:
    for override in ("data.val_fraction=2", "data.sorces=[a.txt]", "data.processes=0"):
        code, _, err = lilllm("prep", *prep(tokenizer, override))
        assert code == 2 and override.split("=")[0] in err
    code, _, err = lilllm("prep", *prep(tokenizer))
    assert code == 2 and "data.sources" in err


def test_prep_inspect_and_verify_agree(
    lilllm: Callable[..., tuple[int, str, str]], tokenizer: Path, tmp_path: Path
) -> None:
    sources = "data.sources=[{path: builtin:stories, documents: 300}]"
    settings = prep(tokenizer, sources, "name=a", "data.val_fraction=0.1")
    code, out, _ = lilllm("prep", *settings, "--json")
    made = json.loads(out)
    assert code == 0 and made["command"] == "data prep"
    wanted = {"path", "tokens", "documents", "bytes", "shards", "seconds", "mb_per_s"}
    assert {*wanted, "skipped_rows"} <= made.keys()
    assert made["documents"] == 300 and made["shards"] == 2 and made["mb_per_s"] > 0

    code, out, _ = lilllm("inspect", *settings, "--json", "-n", "2", "--split", "val")
    seen = json.loads(out)
    assert sum(split["tokens"] for split in seen["splits"].values()) == made["tokens"]
    stories = {story(0, i).text for i in range(300)}
    assert len(seen["samples"]) == 2 and {s["text"] for s in seen["samples"]} <= stories
    code, out, _ = lilllm("inspect", *settings)
    assert code == 0 and "train document 0" in out
    code, _, err = lilllm("inspect", *settings, "--start", "300")
    assert code == 2 and "no document 300" in err
    code, _, err = lilllm("inspect", *settings, "--split", "vall")
    assert code == 3 and "no split 'vall'" in err and "hint: splits there: train, val" in err

    code, out, _ = lilllm("verify", *settings, "--json")
    assert json.loads(out)["documents"] == 300
    code, out, _ = lilllm("verify", "runs/a/data", "--tokenizer", str(tokenizer))
    assert code == 0

    other = tmp_path / "other"
    other.mkdir()
    Tokenizer.trained(train_bpe(["another text"], 300)).save(other)
    code, _, err = lilllm("verify", "runs/a/data", "--tokenizer", str(other))
    assert code == 3 and "another tokenizer" in err
    shard = tmp_path / "runs/a/data/train-00000.bin"
    data = bytearray(shard.read_bytes())
    data[7] ^= 1
    shard.write_bytes(data)
    code, _, err = lilllm("verify", *settings)
    assert code == 3 and "train-00000.bin: its SHA-256" in err
    shard.write_bytes(data[:-2])
    code, _, err = lilllm("inspect", *settings)
    assert code == 3 and "train-00000.bin" in err


def test_a_folder_that_cannot_be_written_is_an_error_of_the_run(
    lilllm: Callable[..., tuple[int, str, str]], tokenizer: Path, tmp_path: Path
) -> None:
    (tmp_path / "runs").write_text("a file where a folder should be")
    code, _, err = lilllm("prep", *prep(tokenizer, "data.sources=[builtin:stories]"))
    assert code == 5 and "cannot be written" in err


def test_a_full_disk_is_an_error_of_the_run_and_the_next_call_finishes(
    tokenizer: Path, tmp_path: Path
) -> None:
    """A limit on the size of files stands for the disk: writing fails in the same way."""
    command = [sys.executable, "-m", "lilllm", "data", "prep", f"tokenizer.path={tokenizer}"]
    command += ["data.sources=[{path: builtin:stories, documents: 2000}]", "name=a"]

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))

    full = subprocess.run(
        command, cwd=tmp_path, preexec_fn=limit, capture_output=True, text=True, check=False
    )
    assert full.returncode == 5, full.stderr
    assert "cannot be written" in full.stderr and "free some space" in full.stderr
    assert "Traceback" not in full.stderr
    assert not (tmp_path / "runs/a/data").exists()
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "runs/a/data/manifest.json").exists()


def test_real_stories_prepare_whole(
    lilllm: Callable[..., tuple[int, str, str]], tokenizer: Path
) -> None:
    source = SHARED / "tinystories" / "valid.txt"
    if not source.exists():
        pytest.skip("no ../shared/data/tinystories beside the repository")
    settings = prep(tokenizer, f"data.sources=[{source}]", "--json")
    code, out, _ = lilllm("prep", *settings)
    texts = [text.strip() for text in source.read_text().split("<|endoftext|>")]
    texts = [text for text in texts if text]
    assert code == 0 and json.loads(out)["documents"] == len(set(texts))
    assert json.loads(out)["bytes"] == sum(len(text.encode()) for text in set(texts))
