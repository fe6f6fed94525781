"""Append-only rows: what is told to be kept is on disk, and a torn line costs only itself."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lilllm.data.journal import Journal
from lilllm.errors import ConfigError, DataError, RunError
from lilllm.events import Caution, Event, silent

WRITER = """
import sys
from pathlib import Path
from lilllm.data.journal import Journal
from lilllm.events import silent
journal = Journal(Path(sys.argv[1]), silent)
number = 0
while True:
    journal.append([{"writer": sys.argv[2], "number": number, "text": "ü" * 500}])
    print(number, flush=True)
    number += 1
"""


def numbers(path: Path) -> list[int]:
    return [row["number"] for row, _ in Journal(path, silent).rows()]


def test_rows_come_back_with_file_and_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "deep" / "rows.jsonl", silent)
    assert list(journal.rows()) == []
    journal.append([{"number": 1}, {"number": 2, "text": "a\nb\u2028"}])
    journal.append([{"number": 3}])
    assert numbers(journal.path) == [1, 2, 3]
    assert [where for _, where in journal.rows()][2] == f"{journal.path}:3"


@pytest.mark.parametrize("cut", [1, 2, 9])
def test_a_torn_last_line_is_cut_off_and_told(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "rows.jsonl"
    Journal(path, silent).append([{"number": 1}, {"number": 2, "text": "é" * 40_000}])
    path.write_bytes(path.read_bytes()[:-cut])
    told: list[Event] = []
    journal = Journal(path, told.append)
    if cut == 1:  # only the newline is missing
        assert numbers(path) == [1, 2] and not told
    else:
        assert numbers(path) == [1]
        assert isinstance(told[0], Caution) and "torn" in told[0].text
    journal.append([{"number": 3}])
    assert numbers(path)[-1] == 3


BEGINS = b'{"number": '


def test_a_file_of_others_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    for tail in (b"my note", b"caf\xe9", b"[" * 100_000, b'{"numbers'):
        path.write_bytes(b'{"number": 1}\n' + tail)
        with pytest.raises(ConfigError, match=r"rows\.jsonl: its last line"):
            Journal(path, silent, begins=BEGINS)
        assert path.read_bytes() == b'{"number": 1}\n' + tail
    path.write_text('{"number": 1}\n{"number": 2}')
    Journal(path, silent, begins=BEGINS).append([{"number": 3}])
    assert numbers(path) == [1, 2, 3]
    for torn in ('{"num', '{"number": 4, "a"'):
        path.write_text('{"number": 1}\n' + torn)
        Journal(path, silent, begins=BEGINS).append([{"number": 2}])
        assert numbers(path) == [1, 2], "a torn row of ours is cut off"


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"number": 1}\n{"numb\n{"number": 3}\n')
    with pytest.raises(DataError, match=r"rows.jsonl:2"):
        numbers(path)


def test_a_killed_writer_lost_nothing_that_it_told(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), name], stdout=subprocess.PIPE, text=True
        )
        for name in "ab"
    ]
    told = {}
    for name, writer in zip("ab", writers, strict=True):
        assert writer.stdout
        told[name] = max(int(writer.stdout.readline()) for _ in range(20))
    for writer in writers:
        writer.kill()
        writer.communicate()
    for name, last in told.items():
        own = [r["number"] for r, _ in Journal(path, silent).rows() if r["writer"] == name]
        assert own[: last + 1] == list(range(last + 1))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    journal = Journal(path, silent)
    path.unlink()
    path.symlink_to("/dev/full")
    with pytest.raises(RunError, match="No space"):
        journal.append([{"number": 1}])


def test_not_a_number_is_no_json(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "rows.jsonl", silent)
    with pytest.raises(ValueError, match="JSON"):
        journal.append([{"number": float("nan")}])
    journal.append([{"number": 1}])
    assert json.loads(journal.path.read_text()) == {"number": 1}
