"""Results as JSON and on the terminal: whatever a row holds, and text as it is."""

import datetime
import decimal
import json
from pathlib import Path

import numpy as np
import pytest

from lilllm.cli.display import Display
from lilllm.cli.render import plain, run_command
from lilllm.events import Sampled


def test_every_value_becomes_json() -> None:
    made = plain(
        {
            "when": datetime.datetime(2024, 5, 1, 12, 30),
            "bytes": b"a\xff",
            "text": "caf\udce9",
            "list": [float("nan"), float("inf"), None, 1.5],
            "gone": float("-inf"),
            "price": decimal.Decimal("1.50"),
            "counts": np.arange(2),
            "mean": np.float32(0.5),
            "set": {3},
            Path("key"): Path("value"),
        }
    )
    assert made == {
        "when": "2024-05-01 12:30:00",
        "bytes": "a\\xff",
        "text": "caf\\udce9",
        "list": [None, None, None, 1.5],
        "price": "1.50",
        "counts": [0, 1],
        "mean": 0.5,
        "set": [3],
        "key": "value",
    }
    json.dumps(made, allow_nan=False).encode()


def test_a_row_with_a_timestamp_is_shown_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import pyarrow
    import pyarrow.parquet
    from typer.testing import CliRunner

    from lilllm.cli.app import app

    monkeypatch.chdir(tmp_path)
    when = datetime.datetime(2024, 5, 1)
    row = {"prompt": ["a"], "completion": ["b"], "when": [when], "raw": [b"\xff"]}
    pyarrow.parquet.write_table(pyarrow.table(row), "rows.parquet")
    arguments = ["data", "inspect", "--rows", "finetune.chat.sources=[rows.parquet]", "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    (sample,) = json.loads(done.stdout)["steps"]["chat"][0]["samples"]
    assert sample["row"]["when"] == "2024-05-01 00:00:00" and sample["row"]["raw"] == "\\xff"


def test_a_failure_while_showing_a_result_is_an_internal_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def show(result: object, out: object) -> None:
        raise ValueError("cannot be shown")

    with pytest.raises(SystemExit) as end:
        run_command("test", False, lambda report: {}, show)
    assert end.value.code == 1
    err = capfd.readouterr().err
    assert "internal error: ValueError: cannot be shown" in err and "Traceback" not in err


def test_the_display_leaves_emoji_names_alone(capfd: pytest.CaptureFixture[str]) -> None:
    with Display() as display:
        display(Sampled("pretrain", 1, "a :cat: ", "[bold]x"))
    assert "a :cat: [bold]x" in capfd.readouterr().err
