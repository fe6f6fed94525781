"""The folder of work in progress beside the shards: whose it is, and what may be replaced."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from lilllm.errors import DataError, LilllmError, RunError
from lilllm.files import (
    MANIFEST,
    OLD,
    PARTIAL,
    lock_folder,
    lock_of,
    make_folder,
    read_json,
    remove,
    restore_folders,
    write_json,
)

_SHARD = re.compile(r"(train|val)-\d{5,}\.(bin|idx)")


@contextlib.contextmanager
def work_folder(folder: Path, key: str, key_name: str, fresh: bool = False) -> Iterator[Path]:
    """The folder of work in progress, for one process at a time; it goes when all is done.

    Args:
        folder: of the shards, which will be replaced.
        key: names the inputs; work on others is thrown away.
        key_name: a file that may stand beside the shards.
        fresh: throw away work on the same inputs too.

    Raises:
        DataError: `folder` holds files that are no shards, which would be lost.
        RunError: another process prepares the same, or the folder cannot be written.
    """
    work = _work_beside(folder)
    with lock_folder(folder):
        restore_folders(folder.parent, folder.name)
        _refuse_foreign(folder, {MANIFEST, key_name})
        ours = (f"{PARTIAL}{folder.name}", f"{OLD}{folder.name}")
        for leftover in folder.parent.glob(f"{PARTIAL}*"):
            if leftover.name.rpartition("-")[0] in ours:
                remove(leftover)
        if fresh or _key_of(work) != key:
            remove(work)
            make_folder(work)
            write_json(work / "key.json", {"key": key})
        for leftover in work.glob(f"{PARTIAL}*"):
            remove(leftover)
        yield work
        remove(work)


def clear_finished_work(folder: Path, key: str) -> None:
    """Remove the work of a process that was killed after its shards were complete.

    Work on other inputs stays, and so does what another process is at.

    Args:
        folder: of the shards, which are complete.
        key: names their inputs.
    """
    work = _work_beside(folder)
    if not (work.exists() or lock_of(folder).exists()):
        return
    with contextlib.suppress(RunError), lock_folder(folder):
        if _key_of(work) in (None, key):  # none: half removed
            remove(work)


def _key_of(work: Path) -> str | None:
    """The key of the inputs of work in progress, as far as it can be read."""
    try:
        found = read_json(work / "key.json")
    except LilllmError:
        return None
    return found.get("key") if isinstance(found, dict) else None


def _work_beside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.preparing")


def _refuse_foreign(folder: Path, known: set[str]) -> None:
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    foreign = [name for name in names if name not in known and not _SHARD.fullmatch(name)]
    if foreign:
        raise DataError(
            f"{folder}: holds what is no prepared data and would be lost: {', '.join(foreign[:5])}",
            "move it elsewhere, or give the run another name",
        )
