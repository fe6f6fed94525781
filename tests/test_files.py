"""Folders that are replaced while something goes wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lilllm.errors import ConfigError, RunError
from lilllm.files import OLD, manifest_problem, new_folder, remove_partials, write_atomic


def write(path: Path, content: str) -> None:
    with new_folder(path) as partial:
        (partial / "content").write_text(content)


def failing_from(
    call: int, error: BaseException, monkeypatch: pytest.MonkeyPatch, stays: bool = False
) -> None:
    """Make rename number `call` fail, and with `stays` all after it."""
    rename: Callable[..., Path] = Path.rename
    calls = 0

    def counted(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == call or (stays and calls > call):
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", counted)


@pytest.mark.parametrize("call", [1, 2])
def test_a_folder_that_cannot_be_replaced_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    write(tmp_path / "a", "old")
    failing_from(call, OSError(28, "No space left on device"), monkeypatch)
    with pytest.raises(RunError, match="No space left"):
        write(tmp_path / "a", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a" / "content").read_text() == "old"
    assert manifest_problem(tmp_path / "a") == ""


def test_a_kill_between_the_two_renames_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a", "old")
    with monkeypatch.context() as patch:
        failing_from(2, KeyboardInterrupt(), patch, stays=True)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / "a", "new")
    assert not (tmp_path / "a").exists()
    remove_partials(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a" / "content").read_text() == "old"


def test_what_was_replaced_or_never_complete_is_not_restored(tmp_path: Path) -> None:
    write(tmp_path / "a", "new")
    write(tmp_path / f"{OLD}a-17", "old")
    (tmp_path / f"{OLD}b-17").mkdir()
    remove_partials(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a" / "content").read_text() == "new"


@pytest.mark.parametrize("name", [".", "..", "/", "sub/.."])
def test_a_path_that_ends_in_no_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="not a name"):
        write(Path(name), "new")
    with pytest.raises(ConfigError, match="not a name"):
        write_atomic(Path(name), "new")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_encoded_leaves_no_part_behind(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write_atomic(tmp_path / "a", "\ud800")
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_too_long_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="too long"):
        write_atomic(tmp_path / ("a" * 300), "new")
    with pytest.raises(RunError, match="too long"):
        write(tmp_path / ("a" * 300), "new")
