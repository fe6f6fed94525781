"""Reading and writing files so that a crash at any moment loses nothing.

A file or folder is written beside its final name, flushed to disk and renamed. A folder ends
with `manifest.json`, the sizes and hashes of everything else in it; without a valid one it is
not complete. This file knows no format of its own beyond that manifest.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from lilllm.errors import ConfigError, LilllmError, RunError

MANIFEST = "manifest.json"
PARTIAL = ".partial-"  # prefix of temporary siblings, so that a crash's leftovers are known
OLD = f"{PARTIAL}old-"  # of a folder that is being replaced: the name and a process id follow


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """SHA-256 of a JSON value, independent of key order and whitespace."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def read_json(path: Path, error: type[LilllmError] = LilllmError) -> Any:
    """Parse a JSON file; `error` names the file when it cannot be read or parsed."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise error(f"{path}: cannot be read ({err.strerror})") from err
    except (ValueError, RecursionError) as err:  # JSON, UTF-8, nested too deeply
        raise error(f"{path}: not valid JSON ({err})") from err


def write_error(path: Path, err: OSError) -> RunError:
    """The error for a failed write, naming the path and the remedy."""
    reason = err.strerror or str(err)
    return RunError(
        f"{path}: cannot be written ({reason})",
        "free some space or make the folder writable, then run the same command again: "
        "what was saved is kept",
    )


def make_folder(path: Path) -> Path:
    """Create a folder and its parents.

    Raises:
        RunError: it cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise write_error(path, err) from err
    return path


def fsync_path(path: Path) -> None:
    """Flush a file or a folder's entries to disk; folders are skipped where the OS cannot."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() or os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def partial_path(path: Path) -> Path:
    """A temporary sibling of `path` that no other process uses.

    Raises:
        ConfigError: `path` ends in no name.
    """
    if path.name in {"", ".."}:  # ".", "/" and the like
        raise ConfigError(
            f"{path}: not a name for a new file or folder", "give one, for example ./new"
        )
    return path.with_name(f"{PARTIAL}{path.name}-{os.getpid()}")


def write_atomic(path: Path, content: bytes | str) -> None:
    """Replace a file in one step: readers see the old content or the new, never a part.

    Raises:
        ConfigError: `path` ends in no name.
        RunError: the disk is full or the folder cannot be written.
    """
    partial = partial_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        fsync_path(path.parent)
    except OSError as err:
        raise write_error(path, err) from err
    finally:
        remove(partial)


def write_json(path: Path, value: Any) -> None:
    """`write_atomic` of a JSON value, indented, with a final newline."""
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_manifest(folder: Path, extra: dict[str, Any] | None = None) -> None:
    """Write `manifest.json` with the size and SHA-256 of every other file below `folder`."""
    names = sorted(
        file.relative_to(folder).as_posix()
        for file in folder.rglob("*")
        if file.is_file() and file != folder / MANIFEST
    )
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_file(folder / name)}
        for name in names
    }
    write_json(folder / MANIFEST, {**(extra or {}), "files": files})


@contextlib.contextmanager
def new_folder(path: Path, extra: dict[str, Any] | None = None) -> Iterator[Path]:
    """Build a folder aside; on a clean exit add its manifest, flush it and rename it to `path`.

    An older folder of that name is replaced only once the new one is complete.

    Args:
        path: where the folder will be.
        extra: more keys of the manifest; may be filled until the block ends.

    Yields:
        the temporary folder to write into.

    Raises:
        ConfigError: `path` ends in no name.
        RunError: the disk is full or the folder cannot be written; `path` is untouched.
    """
    partial = partial_path(path)
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            remove(partial)
            partial.mkdir()
            yield partial
            write_manifest(partial, extra)
            for file in partial.rglob("*"):
                fsync_path(file)
            fsync_path(partial)
            _put_in_place(partial, path)
            fsync_path(path.parent)
        except OSError as err:
            raise write_error(path, err) from err
    finally:
        remove(partial)


def _put_in_place(partial: Path, path: Path) -> None:
    """Rename a folder to `path`; an older one goes, or comes back when that fails."""
    if not path.exists():
        partial.rename(path)
        return
    old = path.with_name(f"{OLD}{path.name}-{os.getpid()}")
    path.rename(old)
    try:
        partial.rename(path)
    finally:
        if not path.exists():
            old.rename(path)
    remove(old)


def manifest_problem(folder: Path) -> str:
    """What is wrong with a folder written by `new_folder`; empty when it is whole.

    Every file's size and SHA-256 is compared with the manifest.
    """
    if not (folder / MANIFEST).is_file():
        return f"{folder}: no {MANIFEST}, so it was never completed"
    try:
        files: dict[str, dict[str, Any]] = read_json(folder / MANIFEST)["files"]
        for name, entry in files.items():
            file = folder / name
            if not file.is_file():
                return f"{file}: missing"
            if file.stat().st_size != entry["bytes"]:
                return f"{file}: {file.stat().st_size} bytes instead of {entry['bytes']}"
            if sha256_file(file) != entry["sha256"]:
                return f"{file}: its SHA-256 is not the one in {MANIFEST}"
    except (LilllmError, KeyError, TypeError, AttributeError, OSError) as err:
        return f"{folder / MANIFEST}: damaged ({err})"
    return ""


def remove(path: Path) -> None:
    """Delete a file or folder if it is there."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def remove_partials(folder: Path) -> None:
    """Delete what interrupted writes left in `folder`. Only its one writer may call this.

    A folder that was about to be replaced gets its name back when nothing has taken it yet.
    """
    restore_folders(folder)
    for leftover in folder.glob(f"{PARTIAL}*"):
        remove(leftover)


def restore_folders(folder: Path, name: str = "") -> None:
    """Give complete folders their name back that were put aside, but never replaced.

    Args:
        folder: in which they are.
        name: of the one to restore; all by default.

    Raises:
        RunError: one cannot be renamed.
    """
    for old in folder.glob(f"{OLD}*-*"):
        path = folder / old.name.removeprefix(OLD).rpartition("-")[0]
        wanted = path.name == name if name else path != folder
        if wanted and not path.exists() and (old / MANIFEST).is_file():
            try:
                old.rename(path)
            except OSError as err:
                raise write_error(path, err) from err


LOCK_PREFIX = ".lock-"


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Let one process at a time write a folder; a dead process holds nothing.

    Raises:
        RunError: another process has it.
    """
    make_folder(folder.parent)
    path = lock_of(folder)
    try:
        file = _locked_file(path)
    except BlockingIOError as err:
        raise RunError(
            f"{folder}: another process is working on it", "wait for it to finish, or stop it"
        ) from err
    except OSError as err:
        raise write_error(path, err) from err
    with file:
        try:
            yield
        finally:
            remove(path)


def refuse_locked(folder: Path) -> None:
    """Do nothing if no process works on a folder; one that was killed holds nothing.

    Raises:
        RunError: one does.
    """
    if lock_of(folder).exists():
        with lock_folder(folder):
            pass


def lock_of(folder: Path) -> Path:
    """The lock file of a folder; it is there while `lock_folder` holds it, or was killed."""
    return folder.with_name(LOCK_PREFIX + folder.name)


def locked_by(lock: Path) -> Path:
    """The folder of a lock file."""
    return lock.with_name(lock.name.removeprefix(LOCK_PREFIX))


def _locked_file(path: Path) -> IO[bytes]:
    while True:
        file = path.open("wb")
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                return file
        except ImportError:  # not on this system: no lock
            return file
        except FileNotFoundError:
            pass
        except OSError:
            file.close()
            raise
        file.close()  # its last owner removed it meanwhile: lock the one that is there now


def free_bytes(path: Path) -> int:
    """Free space on the disk that holds `path` or its nearest existing parent."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free
