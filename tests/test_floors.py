"""Imports go down only: the floors of docs/architecture.md, checked in every file."""

import ast
from pathlib import Path

import pytest

import lilllm

PACKAGE = Path(lilllm.__file__).parent
FLOORS = {
    "errors": 0,
    "events": 0,
    "files": 0,
    "kernels": 0,
    "config": 1,
    "model": 2,
    "tokenizer": 2,
    "data": 2,
    "training": 3,
    "inference": 3,
    "evaluation": 3,
    "interop": 3,
    "stages": 4,
    "serving": 4,
    "cli": 5,
}
LIGHT = {0, 1, 5}  # floors that never import torch at module level
HEAVY = {"torch", "numpy", "datasets", "tokenizers", "transformers", "matplotlib", "pydantic"}
FILES = sorted(PACKAGE.rglob("*.py"))


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "lilllm" else ""


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        module = node.module or ""
        return (
            [f"{module}.{alias.name}" for alias in node.names] if module == "lilllm" else [module]
        )
    return []


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_a_file_imports_only_lower_floors_or_its_own_room(path: Path) -> None:
    here = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if here.startswith("__"):
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for module in imported(node):
            there = room(module)
            if there in FLOORS and there not in {here, "errors"}:  # errors is below everything
                assert FLOORS[there] < FLOORS[here], f"{path}:{node.lineno} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_light_floors_import_nothing_heavy_at_module_level(path: Path) -> None:
    here = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if FLOORS.get(here) not in LIGHT or here == "config":
        return
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        for module in imported(node):
            assert module.split(".")[0] not in HEAVY, f"{path}:{node.lineno} imports {module}"


def test_only_the_command_line_prints() -> None:
    for path in FILES:
        if path.relative_to(PACKAGE).parts[0] == "cli":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = node.func if isinstance(node, ast.Call) else None
            assert not (isinstance(called, ast.Name) and called.id == "print"), path
