"""Rows in every shape people have them: what becomes of them, and what is wrong with bad ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from lilllm.config.schema import SourceConfig
from lilllm.data import read_rows
from lilllm.data.conversations import shape_of, to_messages
from lilllm.data.preferences import to_preference
from lilllm.errors import DataError

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"


def turn(user: str, assistant: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]


SHAREGPT = [
    {"from": "system", "value": "Be kind."},
    {"from": "human", "value": "Hi"},
    {"from": "gpt", "value": "Hello"},
]


@pytest.mark.parametrize(
    ("row", "shape", "expected"),
    [
        ({"messages": turn("a", "b")}, "messages", turn("a", "b")),
        (
            {"conversations": SHAREGPT[1:], "system": "Be kind."},
            "sharegpt",
            [{"role": "system", "content": "Be kind."}, *turn("Hi", "Hello")],
        ),
        (
            {"conversations": SHAREGPT},
            "sharegpt",
            [{"role": "system", "content": "Be kind."}, *turn("Hi", "Hello")],
        ),
        ({"prompt": "a", "completion": "b"}, "completion", turn("a", "b")),
        ({"instruction": "a", "input": "", "output": "b"}, "alpaca", turn("a", "b")),
        ({"instruction": "a", "input": "x", "output": "b"}, "alpaca", turn("a\n\nx", "b")),
        ({"source": "a", "target": "b"}, "translation", turn("a", "b")),
        ({"text": "a", "label": 1}, "labelled", turn("a", "1")),
        ({"text": "a"}, "text", "a"),
    ],
)
def test_every_shape_is_detected_and_read(row: Any, shape: str, expected: Any) -> None:
    assert shape_of(row, "f:1") == shape
    assert to_messages(row, "f:1") == expected


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "a"}, "f:1: not a row for finetuning: it has the fields question"),
        ({"prompt": "a", "completion": " "}, "f:1: field 'completion' is empty"),
        ({"prompt": None, "completion": "b"}, "f:1: field 'prompt' is empty or not text"),
        ({"messages": []}, "f:1: field 'messages' is not a list"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "message 1 needs a role .* is 'tool'"),
        ({"messages": turn("a", " ")}, "f:1: no message of the assistant"),
        ({"conversations": [{"from": "function_call", "value": "x"}]}, "is 'function_call'"),
    ],
)
def test_a_bad_row_is_named_with_what_is_wrong(row: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        to_messages(row, "f:1")


USER = [{"role": "user", "content": "q"}]
GOOD, BAD = ([{"role": "assistant", "content": text}] for text in ("good", "bad"))


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "chosen": "good", "rejected": "bad"},
        {"instruction": "q", "input": "", "chosen": "good", "rejected": "bad", "output": "good"},
        {"prompt": USER, "chosen": GOOD, "rejected": BAD},
        {"chosen": USER + GOOD, "rejected": USER + BAD},
        {"prompt": "q", "chosen": USER + GOOD, "rejected": USER + BAD},
        {"messages": USER + GOOD, "chosen": USER + GOOD, "rejected": USER + BAD},
        {
            "conversations": [{"from": "human", "value": "q"}],
            "chosen": {"from": "gpt", "value": "good"},
            "rejected": {"from": "gpt", "value": "bad"},
        },
    ],
)
def test_preference_pairs_in_every_shape_are_the_same_pair(row: Any) -> None:
    assert to_preference(row, "f:1") == (USER, GOOD, BAD)


def test_transcripts_of_two_speakers_are_conversations() -> None:
    said = "\n\nHuman: p\n\nAssistant: a\n\nHuman: q: Human: no\n\nnew line\n\nAssistant: "
    pair = to_preference({"chosen": said + "good", "rejected": said + "bad"}, "f:1")
    asked = {"role": "user", "content": "q: Human: no\n\nnew line"}
    assert pair == ([*EARLIER, asked], GOOD, BAD)
    assert to_preference({"chosen": "Human: x", "rejected": "y"}, "f:1").prompt == []


def test_a_system_message_of_a_row_goes_before_it() -> None:
    for row in (
        {"prompt": "q", "completion": "good"},
        {"instruction": "q", "output": "good"},
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "good"}]},
    ):
        assert to_messages(row | {"system": "s"}, "f:1") == SYSTEM + USER + GOOD
        assert to_messages(row | {"system": " "}, "f:1") == USER + GOOD
    pair = to_preference({"prompt": "q", "system": "s", "chosen": "good", "rejected": "bad"}, "f:1")
    assert pair == (SYSTEM + USER, GOOD, BAD)


def test_the_history_of_an_alpaca_row_is_kept() -> None:
    row = {"instruction": "q", "output": "good", "history": [["p", "a"]]}
    assert to_messages(row, "f:1") == EARLIER + USER + GOOD
    with pytest.raises(DataError, match="f:1: field 'history'"):
        to_messages(row | {"history": ["p"]}, "f:1")


SYSTEM = [{"role": "system", "content": "s"}]
EARLIER = [{"role": "user", "content": "p"}, {"role": "assistant", "content": "a"}]


@pytest.mark.parametrize(
    ("prompt", "repeated", "said"),
    [
        (USER, SYSTEM + USER, SYSTEM + USER),
        (SYSTEM + USER, USER, SYSTEM + USER),
        (EARLIER + USER, USER, EARLIER + USER),
        (EARLIER, USER, EARLIER + USER),
        (EARLIER[:1], EARLIER + USER, EARLIER + USER),
        (EARLIER + USER + BAD, EARLIER + USER, EARLIER + USER),
    ],
)
def test_what_prompt_and_sides_share_is_said_once(prompt: Any, repeated: Any, said: Any) -> None:
    row = {"messages": prompt, "chosen": repeated + GOOD, "rejected": repeated + BAD}
    assert to_preference(row, "f:1") == (said, GOOD, BAD)


def test_a_pair_without_a_prompt_has_none() -> None:
    assert to_preference({"chosen": "good", "rejected": "bad"}, "f:1") == ([], GOOD, BAD)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "q", "chosen": "x", "rejected": "x"}, "f:1: chosen and rejected are equal"),
        ({"prompt": "q", "chosen": "x"}, "f:1: not a preference pair"),
        ({"prompt": "q", "chosen": "x", "rejected": " "}, "f:1: field 'rejected' is empty"),
    ],
)
def test_a_pair_that_says_nothing_is_refused(row: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        to_preference(row, "f:1")


@pytest.mark.parametrize("suffix", ["tsv", "csv"])
def test_a_table_without_a_header_takes_its_columns_from_the_config(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"rows.{suffix}"
    comma = "\t" if suffix == "tsv" else ","
    path.write_text(f"a film{comma}1\nbad{comma}0\nbroken\n")
    source = SourceConfig(path=str(path), columns=("text", "label"))
    rows = read_rows(source)
    assert next(rows)[0] == {"text": "a film", "label": "1"}
    next(rows)
    with pytest.raises(DataError, match=r":3: 1 fields under columns of 2"):
        next(rows)


def test_fields_are_renamed_and_a_missing_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"q": "a", "a": "b", "text": "t"}\n{"q": "a"}\n')
    source = SourceConfig(path=str(path), fields={"prompt": "q", "completion": "a"})
    rows = read_rows(source)
    assert next(rows)[0] == {"prompt": "a", "completion": "b"}
    with pytest.raises(DataError, match=r"rows.jsonl:2: no field 'a', .*the row has: q"):
        next(rows)


def test_a_row_without_a_renamed_field_can_be_skipped(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"q": "a"}\n{"q": "a", "a": "b"}\n')
    source = SourceConfig(path=str(path), fields={"prompt": "q", "completion": "a"})
    assert len(list(read_rows(source, "skip"))) == 1


def test_a_conversation_in_a_file_of_its_own_is_one_row(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    path.write_text(json.dumps({"checkpoint": "x", "messages": messages}, indent=2))
    ((row, _),) = read_rows(SourceConfig(path=str(path)))
    assert row["messages"] == messages
    path.write_text(json.dumps({"conversations": [{"id": n, "messages": messages} for n in "ab"]}))
    assert len(list(read_rows(SourceConfig(path=str(path))))) == 2


def test_a_quotation_mark_that_is_never_closed_is_damage_and_not_a_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    lines = ["text,label", *(f"text {n},a" for n in range(50))]
    lines[20] = '"unclosed,a'
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"rows.csv:21: a quotation mark .* never closed"):
        list(read_rows(SourceConfig(path=str(path)), "skip"))
    path.write_bytes(b"te\xfft,label\na,b\n")
    with pytest.raises(DataError, match=r"rows.csv:1: its header"):
        list(read_rows(SourceConfig(path=str(path)), "skip"))


def test_real_files_of_every_shape_are_read() -> None:
    if not SHARED.is_dir():
        pytest.skip("../shared/data is not there")
    counts = {}
    for name in ("alpaca_en_demo.json", "identity.json", "c4_demo.jsonl"):
        rows = list(read_rows(SourceConfig(path=str(SHARED / "formats_demo" / name))))
        counts[name] = len({json.dumps(to_messages(*row)) for row in rows}), len(rows)
    assert counts["alpaca_en_demo.json"][1] == 999 and counts["c4_demo.jsonl"][1] == 300
    pairs = read_rows(SourceConfig(path=str(SHARED / "formats_demo" / "dpo_en_demo.json")))
    assert sum(len(to_preference(*pair)) == 3 for pair in pairs) == 300
