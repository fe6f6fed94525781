"""Verifiable rewards: functions from (prompt, answer, row) to a number, 1 when all is well.

Only the answer's text is looked at; a model is never asked. What was cut off for its length gets
no reward at all, which is `score`'s rule, not one of the functions'.
"""

import importlib.util
import math
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from lilllm.config.schema import RewardConfig
from lilllm.data.words import missing_words, words_of
from lilllm.errors import ConfigError, DataError, RunError

Reward = Callable[[str, str, Mapping[str, Any]], float]
"""Called with the prompt, the answer and the row that the prompt comes from."""

_NUMBER = re.compile(
    r"(?:(?<![\w.)])[-+])?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
)
"""A minus after a digit is a dash, as in 10-12; commas stand before three digits."""


def make_reward(config: RewardConfig) -> Reward:
    """The function that a config names.

    Raises:
        ConfigError: the user's function cannot be loaded.
    """
    match config.kind:
        case "words":
            return lambda prompt, answer, row: _words(answer, read_by(config, row))
        case "number":
            return lambda prompt, answer, row: _number(answer, read_by(config, row))
        case "format":
            pattern = re.compile(config.pattern, re.DOTALL)
            return lambda prompt, answer, row: float(pattern.fullmatch(answer.strip()) is not None)
        case "length":
            return lambda prompt, answer, row: _length(answer, config.min_words, config.max_words)
        case "no_repetition":
            return lambda prompt, answer, row: distinct_share(answer, config.n)
        case "python":
            return load_function(config.function)


def check_row(config: RewardConfig, row: Mapping[str, Any]) -> None:
    """Do nothing if a row has what a reward checks answers with.

    Raises:
        DataError: it has not.
    """
    if config.kind == "words":
        _words("", read_by(config, row))
    elif config.kind == "number":
        _number("", read_by(config, row))


def read_by(config: RewardConfig, row: Mapping[str, Any]) -> Any:
    """What a reward reads of a row, besides its question."""
    match config.kind:
        case "words":
            return _field(row, config.field or "words")
        case "number":
            return _field(row, config.field or "answer")
        case "python":
            return sorted(row.items())
    return None


def score(
    rewards: Sequence[tuple[RewardConfig, Reward]],
    prompt: str,
    answer: str,
    row: Mapping[str, Any],
    complete: bool,
) -> tuple[float, bool]:
    """The weighted sum of all rewards, and whether the answer passed every one.

    Args:
        rewards: with their configs.
        prompt: as asked.
        answer: its text.
        row: that the prompt comes from.
        complete: False when the answer ran out of tokens: no reward then.

    Raises:
        RunError: the user's function failed, or did not return a finite number.
    """
    if not complete:
        return 0.0, False
    total, passed = 0.0, True
    for config, reward in rewards:
        value = reward(prompt, answer, row)
        total += config.weight * value
        passed = passed and value >= config.passes
    return total, passed


def load_function(place: str) -> Reward:
    """The user's own reward, from `path.py:function`.

    Raises:
        ConfigError: the file or the function is not there, or importing it fails.
    """
    path, _, name = place.rpartition(":")
    if not path or not Path(path).is_file():
        raise ConfigError(f"rewards.function={place}: no such file {path or place!r}", _FORM)
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as err:  # whatever the user's file raises
        reason = f"{type(err).__name__}: {err}"
        raise ConfigError(f"rewards.function={place}: importing it raised {reason}") from err
    function = getattr(module, name, None)
    if not callable(function):
        raise ConfigError(f"rewards.function={place}: {path} has no function {name!r}", _FORM)
    return lambda prompt, answer, row: _checked(function, place, prompt, answer, row)


_FORM = "a reward is path.py:function, called with prompt, answer and row, and returns a number"


def _checked(
    function: Callable[..., Any], place: str, prompt: str, answer: str, row: Mapping[str, Any]
) -> float:
    try:
        value = function(prompt, answer, row)
    except Exception as err:  # whatever the user's function raises
        line = err.__traceback__ and err.__traceback__.tb_next
        where = f" (line {line.tb_lineno})" if line else ""
        raise RunError(
            f"the reward {place} raised {type(err).__name__}: {err}{where}; the answer was "
            f"{answer[:80]!r}",
            "correct the function; the same command goes on from the last save",
        ) from err
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return float(value)
    raise RunError(
        f"the reward {place} returned {value!r} instead of a finite number; the answer was "
        f"{answer[:80]!r}",
        "correct the function; the same command goes on from the last save",
    )


def _field(row: Mapping[str, Any], name: str) -> Any:
    if name not in row:
        raise DataError(
            f"a row has no field {name!r} to check the answer with; it has: {', '.join(row)}",
            "name another one with rewards.field",
        )
    return row[name]


def _words(answer: str, wanted: Any) -> float:
    """Share of the asked words that stand in the answer as whole words."""
    words = re.split(r"[,\s]+", wanted.strip()) if isinstance(wanted, str) else wanted
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise DataError(f"a row's words are {wanted!r}, not words in a list or in one text")
    words = [word for word in words if words_of(word)]
    if not words:
        raise DataError("a row asks for no words, so every answer would do")
    return 1 - len(missing_words(answer, words)) / len(words)


def _number(answer: str, wanted: Any) -> float:
    """1 when the last number of the answer is the last number of the row's field."""
    right, given = (_last_number(str(text)) for text in (wanted, answer))
    if right is None:
        raise DataError(f"a row's answer {str(wanted)[:60]!r} holds no number")
    return float(given == right)


def _last_number(text: str) -> Decimal | None:
    found = _NUMBER.findall(text)
    try:
        return Decimal(found[-1].replace(",", "")) if found else None
    except InvalidOperation:
        return None


def _length(answer: str, least: int, most: int) -> float:
    """1 within the bounds, and the nearer to 0 the farther from them."""
    words = len(words_of(answer))
    if words < least:
        return words / least
    return 1.0 if words <= most else most / words


def distinct_share(text: str, n: int) -> float:
    """Share of a text's runs of n words that are different ones; 1 for a text without any."""
    words = words_of(text)
    runs = [tuple(words[at : at + n]) for at in range(len(words) - n + 1)]
    return len(set(runs)) / len(runs) if runs else 1.0
