"""Mutated configs: each ends in exit code 2 with the dotted key named, and no traceback."""

import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from lilllm.config import load_config
from lilllm.errors import ConfigError

BASE = Path(__file__).parents[2] / "configs" / "demo.yaml"
WRONG: list[Any] = [
    "garbage", -1, 0.5, 1e300, 10**400, float("nan"), float("inf"), [], {}, [1, [2]], {"a": 1},
    None, True, "", "0x", "1e", "\u202e", -(2**63), "auto ", 7.000001,
]  # fmt: skip


def leaves(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(tree, dict) and tree:
        return [leaf for key, value in tree.items() for leaf in leaves(value, (*path, key))]
    return [path]


def at(tree: Any, path: tuple[Any, ...]) -> Any:
    for part in path:
        tree = tree[part]
    return tree


def mutate(tree: dict[str, Any], rng: random.Random) -> tuple[str, str]:
    """Break a config in one place; returns its text and the key that must be named."""
    path = rng.choice([leaf for leaf in leaves(tree) if leaf[0] != "generate"])
    parent, key = at(tree, path[:-1]), path[-1]
    kind = rng.choice(["misspelt", "wrong value", "wrong nesting", "no division", "broken text"])
    if kind == "misspelt":
        i = rng.randrange(len(key))
        wrong = key[:i] + rng.choice("qxz_7") + key[i + 1 :]
        if path[:1] == ("finetune",) and len(path) == 2:
            wrong = "not a name!"
        parent[wrong] = parent.pop(key)
        return yaml.safe_dump(tree), wrong
    if kind == "wrong value":
        parent[key] = rng.choice(WRONG)
        return yaml.safe_dump(tree), key
    if kind == "wrong nesting":
        parent[key] = {"deeper": {key: parent[key]}}
        return yaml.safe_dump(tree), key
    if kind == "no division":
        tree["model"][rng.choice(["n_heads", "n_kv_heads"])] = 7
        return yaml.safe_dump(tree), "model.n_"
    text = yaml.safe_dump(tree)
    i = rng.randrange(len(text))
    return text[:i] + rng.choice(["{", "[", "\t", ":", "&", "*x", "\x07", "'"]) + text[i:], ""


def check_mutants(count: int, tmp_path: Path) -> int:
    refused = 0
    for seed in range(count):
        tree = yaml.safe_load(BASE.read_text())
        text, key = mutate(tree, random.Random(seed))
        path = tmp_path / "mutant.yaml"
        path.write_text(text, encoding="utf-8")
        try:
            load_config(path)
        except ConfigError as err:
            refused += 1
            assert err.exit_code == 2
            assert str(path) in err.message, text
            assert key in err.message, f"{key} is not named in: {err.message}"
    return refused


def test_100_mutated_configs_are_refused_by_name_or_are_still_valid(tmp_path: Path) -> None:
    assert check_mutants(100, tmp_path) > 70


@pytest.mark.slow
def test_1000_mutated_configs_are_refused_by_name_or_are_still_valid(tmp_path: Path) -> None:
    assert check_mutants(1000, tmp_path) > 700
