"""The tokenizer commands as typed: results, exit codes, no traceback."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lilllm.tokenizer import Tokenizer, train_bpe

RUN = "from lilllm.cli.tokenizer import app; app(prog_name='lilllm tokenizer')"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a run that has a tokenizer."""
    path = tmp_path_factory.mktemp("place")
    (path / "runs/t/tokenizer").mkdir(parents=True)
    text = "Tim had a red ball. Lily had a red hat.\n" * 5
    Tokenizer.trained(train_bpe([text], 300)).save(path / "runs/t/tokenizer")
    (path / "text.txt").write_text(text)
    return path


def call(place: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        cwd=place,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


def call_json(place: Path, *arguments: str, code: int = 0) -> dict[str, object]:
    done = call(place, *arguments, "--json")
    assert done.returncode == code, done.stderr
    result: dict[str, object] = json.loads(done.stdout)
    assert result["schema"] == 1
    return result


def test_encode_and_decode_are_inverse(place: Path) -> None:
    result = call_json(place, "encode", "a red 🙂")
    ids, pieces = result["ids"], result["pieces"]
    assert isinstance(ids, list) and isinstance(pieces, list)
    assert result["tokens"] == len(ids) == len(pieces)
    assert call_json(place, "decode", *map(str, ids))["text"] == "a red 🙂"
    shown = call(place, "encode", "-", stdin="a red").stdout
    assert "' red'" in shown


def test_report_shows_a_table(place: Path) -> None:
    result = call_json(place, "report", "runs/t/tokenizer", "--text", "text.txt")
    tokenizers = result["tokenizers"]
    assert isinstance(tokenizers, dict)
    assert tokenizers["runs/t/tokenizer"]["bytes_per_token"] > 1
    assert "bytes per token" in call(place, "report", "--text", "text.txt").stdout


def test_import_makes_a_folder(place: Path) -> None:
    result = call_json(place, "import", "runs/t/tokenizer", "--to", "imported")
    assert result["path"] == "imported"
    assert Tokenizer.load(place / "imported").hash == result["hash"]


def test_train_makes_a_tokenizer_and_then_keeps_it(place: Path) -> None:
    arguments = ("train", "data.sources=[text.txt]", "name=new", "tokenizer.vocab_size=280")
    result = call_json(place, *arguments)
    assert result["path"] == "runs/new/tokenizer"
    assert result["vocab_size"] == 280
    assert result["bytes_per_token"] and result["seconds"]
    made = (place / "runs/new/tokenizer/tokenizer.json").stat().st_mtime_ns
    assert call_json(place, *arguments)["vocab_size"] == 280
    assert (place / "runs/new/tokenizer/tokenizer.json").stat().st_mtime_ns == made


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("encode", "a", "--tokenizer", "nowhere"), 4, "nowhere/tokenizer.json"),
        (("encode", "a", "--tokenizer", "broken"), 4, "broken"),
        (("decode", "99999"), 2, "99999"),
        (("report", "--text", "nowhere.txt"), 3, "nowhere.txt"),
        (("report", "broken", "--text", "text.txt"), 4, "broken"),
        (("import", "nowhere", "--to", "x"), 4, "nowhere"),
        (("import", "runs/t/tokenizer", "--to", "text.txt"), 2, "text.txt"),
        (("train", "data.sources=[]"), 2, "builtin:stories"),
        (("train", "data.sources=[nowhere.txt]"), 3, "nowhere.txt"),
        (("train", "tokenizer.vocab_size=5"), 2, "tokenizer.vocab_size"),
    ],
)
def test_exit_codes(place: Path, arguments: tuple[str, ...], code: int, says: str) -> None:
    (place / "broken").mkdir(exist_ok=True)
    (place / "broken/tokenizer.json").write_text('{"model": {}}')
    done = call(place, *arguments)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    error = call_json(place, *arguments, code=code)["error"]
    assert isinstance(error, dict) and error["exit_code"] == code


def test_a_folder_that_cannot_be_written_exits_5(place: Path) -> None:
    (place / "file").write_text("")
    done = call(place, "import", "runs/t/tokenizer", "--to", "file/below")
    assert done.returncode == 5
    assert "file" in done.stderr


def test_without_any_tokenizer_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    done = call(tmp_path, "encode", "a")
    assert done.returncode == 2
    assert "tokenizer train" in done.stderr


@pytest.mark.parametrize("command", ["train", "import", "report", "encode", "decode"])
def test_help_is_quick_and_ends_with_an_example(place: Path, command: str) -> None:
    times = []
    for _ in range(3):
        began = time.process_time() + sum(resource_seconds())
        done = call(place, command, "--help")
        times.append(time.process_time() + sum(resource_seconds()) - began)
    assert "Example: lilllm tokenizer" in done.stdout
    assert min(times) < 0.6  # CPU seconds of a whole interpreter; 0.3 on an idle machine


def resource_seconds() -> tuple[float, float]:
    import resource

    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime, usage.ru_stime
