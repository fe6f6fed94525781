"""The tokenizer commands as typed: results, exit codes, no traceback."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from lilllm.cli.tokenizer import app
from lilllm.tokenizer import Tokenizer, train_bpe

Call = Callable[..., "Done"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a run that has a tokenizer."""
    path = tmp_path_factory.mktemp("place")
    (path / "runs/t/tokenizer").mkdir(parents=True)
    text = "Tim had a red ball. Lily had a red hat.\n" * 5
    Tokenizer.trained(train_bpe([text], 300)).save(path / "runs/t/tokenizer")
    (path / "text.txt").write_text(text)
    return path


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def call(place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Runs a command in this process, as the `lilllm` script would in its own."""

    def run(*arguments: str, stdin: str = "", folder: Path = place) -> Done:
        monkeypatch.chdir(folder)
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        code = 0
        try:
            app(list(arguments), prog_name="lilllm tokenizer")
        except SystemExit as err:
            code = int(err.code or 0)
        done = Done(code, *capfd.readouterr())
        assert "Traceback" not in done.stdout + done.stderr
        return done

    return run


def call_json(call: Call, *arguments: str, code: int = 0) -> dict[str, object]:
    done = call(*arguments, "--json")
    assert done.returncode == code, done.stderr
    result: dict[str, object] = json.loads(done.stdout)
    assert result["schema"] == 1
    return result


def test_encode_and_decode_are_inverse(call: Call, place: Path) -> None:
    result = call_json(call, "encode", "a red 🙂")
    ids, pieces = result["ids"], result["pieces"]
    assert isinstance(ids, list) and isinstance(pieces, list)
    assert result["tokens"] == len(ids) == len(pieces)
    assert call_json(call, "decode", *map(str, ids))["text"] == "a red 🙂"
    shown = call("encode", "-", stdin="a red").stdout
    assert "' red'" in shown


def test_text_is_shown_as_it_is(call: Call) -> None:
    text = "a\t:cat: [bold]b[/bold]"
    ids = call_json(call, "encode", text)["ids"]
    assert isinstance(ids, list)
    assert call("decode", *map(str, ids)).stdout == text + "\n"


def test_report_shows_a_table(call: Call, place: Path) -> None:
    result = call_json(call, "report", "runs/t/tokenizer", "--text", "text.txt")
    tokenizers = result["tokenizers"]
    assert isinstance(tokenizers, dict)
    assert tokenizers["runs/t/tokenizer"]["bytes_per_token"] > 1
    assert "bytes per token" in call("report", "--text", "text.txt").stdout


def test_import_makes_a_folder(call: Call, place: Path) -> None:
    result = call_json(call, "import", "runs/t/tokenizer", "--to", "imported")
    assert result["path"] == "imported"
    assert Tokenizer.load(place / "imported").hash == result["hash"]


def test_train_makes_a_tokenizer_and_then_keeps_it(call: Call, place: Path) -> None:
    arguments = ("train", "data.sources=[text.txt]", "name=new", "tokenizer.vocab_size=280")
    result = call_json(call, *arguments)
    assert result["path"] == "runs/new/tokenizer"
    assert result["vocab_size"] == 280
    assert result["bytes_per_token"] and result["seconds"]
    made = (place / "runs/new/tokenizer/tokenizer.json").stat().st_mtime_ns
    assert call_json(call, *arguments)["vocab_size"] == 280
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
def test_exit_codes(
    call: Call, place: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    (place / "broken").mkdir(exist_ok=True)
    (place / "broken/tokenizer.json").write_text('{"model": {}}')
    done = call(*arguments, "--json")
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    error = json.loads(done.stdout)["error"]
    assert error["exit_code"] == code and says in error["message"] + error["hint"]


def test_a_folder_that_cannot_be_written_exits_5(call: Call, place: Path) -> None:
    (place / "file").write_text("")
    done = call("import", "runs/t/tokenizer", "--to", "file/below")
    assert done.returncode == 5
    assert "file" in done.stderr


def test_without_any_tokenizer_the_error_says_how_to_make_one(call: Call, tmp_path: Path) -> None:
    done = call("encode", "a", folder=tmp_path)
    assert done.returncode == 2
    assert "tokenizer train" in done.stderr


@pytest.mark.parametrize("command", ["train", "import", "report", "encode", "decode"])
def test_help_ends_with_an_example(call: Call, command: str) -> None:
    assert "Example: lilllm tokenizer" in call(command, "--help").stdout


def test_the_commands_import_nothing_slow() -> None:
    code = "import sys, lilllm.cli.tokenizer; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    slow = {"torch", "numpy", "tokenizers", "tiktoken", "jinja2", "pydantic"}
    assert not slow & set(done.stdout.split())
