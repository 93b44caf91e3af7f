"""Files that are there whole or not at all, and their checksums.

A file is written under a temporary name, synced to the disk, renamed, and its folder synced: after a crash one finds
the old file or the new one, never half of either.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from darklens.errors import InputError, WorkError

TEMPORARY = ".tmp"
YAML_NODES_AT_MOST = 100_000


def settle(temporary: Path, path: Path) -> None:
    """Sync a temporary file and give it its final name."""
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
    if os.name == "posix":  # elsewhere a folder cannot be opened, and the rename is durable by itself
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a file whole or not at all; folders above it are made.

    Raises:
        WorkError: the disk is full or the folder cannot be written; the old file is untouched.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        settle(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise unwritable(path, error) from error


def write_json(path: Path, content: object) -> None:
    """Write a JSON file whole or not at all; numbers that JSON lacks (NaN) become null."""
    write_atomic(path, json.dumps(plain(content), indent=1, allow_nan=False) + "\n")


def plain(value: object) -> Any:
    """Return data as JSON can hold it: numpy numbers and arrays become Python's, numbers that are not finite null."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):  # an array or a number of numpy's
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def lock(folder: Path) -> int | None:
    """Hold a folder against a second writer; the lock ends with the process, however it ends.

    Returns:
        What `unlock` wants; None where the system or the file system has no locks.

    Raises:
        InputError: another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # no such lock on this system
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise InputError(f"{folder} is being written by another process: wait for it, or choose another folder") from error
    except OSError:  # a file system without locks
        os.close(descriptor)
        return None
    return descriptor


def unlock(descriptor: int | None) -> None:
    """Let go of what `lock` returned."""
    if descriptor is not None:
        os.close(descriptor)


@contextmanager
def held(folder: Path, wanted: bool = True) -> Iterator[None]:
    """Hold a folder against a second writer while something is done, if `wanted`.

    Raises:
        InputError: another process holds it.
    """
    descriptor = lock(folder) if wanted else None
    try:
        yield
    finally:
        unlock(descriptor)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: the file cannot be read or is no JSON object.
    """
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}): restore it or make it again") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a JSON {type(content).__name__}, not an object: restore it or make it again")
    return content


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Raises:
        InputError: the file cannot be read, is no YAML, or unfolds to more than `YAML_NODES_AT_MOST` values: an alias stands for
            all that it names, so that a few lines can stand for more than any memory holds.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise unreadable(path, error) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path} is not YAML ({reason}): restore it or write it again") from error
    pending, seen = [content], 0
    while pending:
        value = pending.pop()
        seen += 1
        if seen > YAML_NODES_AT_MOST:
            raise InputError(f"{path} unfolds to more than {YAML_NODES_AT_MOST} values: write it without aliases of aliases")
        if isinstance(value, dict):
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
    return content


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unreadable(path: Path, error: OSError) -> InputError:
    """Build the error for a file that the operating system does not let us read."""
    remedy = "change its permissions" if isinstance(error, PermissionError) else "check the path"
    return InputError(f"{path} cannot be read ({_why(error)}): {remedy}")


def unwritable(path: Path, error: OSError) -> WorkError:
    """Build the error for a folder that cannot be written; what was finished before is kept."""
    return WorkError(f"cannot write to {path} ({_why(error)}): free some space or choose another folder, then run it again")


def _why(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else "input/output error"


def free_folder(out: Path, marker: str, what: str, force: bool) -> Path:
    """Return a folder that results of one kind can be written into.

    Args:
        out: the folder.
        marker: file that a folder with such results holds.
        what: what it would have to be, "is no drift report" or "are no candidates".
        force: replace such results.

    Raises:
        InputError: it is a file, holds something else, or holds such results and `force` is not given.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file: choose a folder")
    if out.is_dir() and any(out.iterdir()):
        if not (out / marker).is_file():
            raise InputError(f"--out {out} holds something that {what}: choose another folder")
        if not force:
            raise InputError(f"--out {out} exists: choose another folder or give --force")
    return out
