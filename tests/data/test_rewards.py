"""Rewards that can be checked, each on answers that earn all, some and none of it."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lilllm.config.schema import RewardConfig
from lilllm.data.rewards import check_row, distinct_share, load_function, make_reward, score
from lilllm.errors import ConfigError, DataError, RunError


def value(answer: str, row: dict[str, Any], **config: Any) -> float:
    return make_reward(RewardConfig(**config))("prompt", answer, row)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("A Dog, a cat; THE sun.", 1), ("The dogs sat with a cat in the sun.", 2 / 3), ("", 0)],
)
def test_words_are_whole_words(answer: str, expected: float) -> None:
    for words in (["dog", "cat", "sun"], "dog, cat sun"):
        assert value(answer, {"words": words}, kind="words") == pytest.approx(expected)
    assert value(answer, {"w": ["dog", "cat", "sun"]}, kind="words", field="w") == (
        pytest.approx(expected)
    )


@pytest.mark.parametrize(
    ("answer", "right", "expected"),
    [
        ("So it is 1,234.50 in all.", "#### 1234.5", 1),
        ("3 + 4 = 7", 7, 1),
        ("7 is not 8", "7", 0),
        ("none", "7", 0),
        ("-2", "2", 0),
        ("It is .5", "0.5", 1),
        ("It is .5", "5", 0),
        ("pages 10-12", 12, 1),
        ("of 1,2,3", 3, 1),
        ("-5", 1e-05, 0),
        ("0.00001", 1e-05, 1),
        ("= -3.", -3, 1),
    ],
)
def test_the_last_number_counts(answer: str, right: object, expected: float) -> None:
    assert value(answer, {"answer": right}, kind="number") == expected


def test_format_length_and_repetition() -> None:
    config = {"kind": "format", "pattern": r"<think>.*</think>\s*\d+"}
    assert value("<think>a\nb</think> 12\n", {}, **config) == 1
    assert value("12 <think>a</think> 12", {}, **config) == 0
    bounds = {"kind": "length", "min_words": 4, "max_words": 8}
    assert [value("a " * n, {}, **bounds) for n in (2, 4, 8, 16)] == [0.5, 1, 1, 0.5]
    assert distinct_share("a b c d e", 2) == 1
    assert distinct_share("a b a b a b a", 2) == pytest.approx(2 / 6)
    assert distinct_share("a", 2) == 1


def test_what_is_cut_off_has_no_reward_and_weights_add_up() -> None:
    configs = [RewardConfig(kind="words"), RewardConfig(kind="length", max_words=2, weight=0.5)]
    rewards = [(config, make_reward(config)) for config in configs]
    row = {"words": ["dog"]}
    assert score(rewards, "p", "a dog", row, True) == (1.5, True)
    assert score(rewards, "p", "a dog sat down", row, True) == (1.25, False)
    assert score(rewards, "p", "a dog", row, False) == (0.0, False)


def test_a_row_without_what_is_checked_is_named() -> None:
    with pytest.raises(DataError, match=r"no field 'words'.*prompt"):
        value("a", {"prompt": "x"}, kind="words")
    with pytest.raises(DataError, match="no number"):
        value("a", {"answer": "x"}, kind="number")


def test_what_is_no_word_is_not_asked_for() -> None:
    assert value("zzz", {"words": "cat, dog,"}, kind="words") == 0
    assert value("a cat, a dog", {"words": ["cat", "", "dog"]}, kind="words") == 1


@pytest.mark.parametrize("words", [None, 5, [5, None], [], "", " , ", ["-"]])
def test_rows_whose_words_are_none_are_refused(words: Any) -> None:
    with pytest.raises(DataError, match="words"):
        check_row(RewardConfig(kind="words"), {"words": words})


def test_a_config_that_lacks_something_is_refused() -> None:
    for config in ({"kind": "format"}, {"kind": "format", "pattern": "("}, {"kind": "python"}):
        with pytest.raises(ValidationError):
            RewardConfig(**config)


def test_the_users_own_function(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "def good(prompt, answer, row):\n    return len(answer) / row['most']\n"
        "def bad(prompt, answer, row):\n    return 1 / 0\n"
        "def nan(prompt, answer, row):\n    return float('nan')\n"
        "def text(prompt, answer, row):\n    return 'fine'\n"
    )
    assert load_function(f"{path}:good")("p", "abc", {"most": 6}) == 0.5
    with pytest.raises(RunError, match=r"bad raised ZeroDivisionError.*line 4.*'abc'"):
        load_function(f"{path}:bad")("p", "abc", {})
    for name, said in (("nan", "nan"), ("text", "'fine'")):
        with pytest.raises(RunError, match=f"returned {said}"):
            load_function(f"{path}:{name}")("p", "abc", {})
    with pytest.raises(ConfigError, match="no function 'none'"):
        load_function(f"{path}:none")
    with pytest.raises(ConfigError, match="no such file"):
        load_function("nowhere.py:good")
    path.write_text("import nowhere_to_be_found\n")
    with pytest.raises(ConfigError, match="ModuleNotFoundError"):
        load_function(f"{path}:good")
