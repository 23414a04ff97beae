"""Files that are either whole or absent, and their digests."""

import errno
import hashlib
import json
import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from volano.core.errors import DataError, RunFailed, StoreError, VolanoError

# What may pass when tried again: a network folder that hangs, a device that stutters.
TRANSIENT = {errno.EIO, errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.ESTALE, errno.ETIMEDOUT}
UNFINISHED = re.compile(r"\..+\.\d+\.\d+\.tmp")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A path to write to; it becomes `path` in one step when the block ends without an error.

    A transient OSError passes as it is, so that the engine tries again; the others are explained.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        sync(unfinished)
        unfinished.replace(path)
    except OSError as problem:
        if problem.errno in TRANSIENT:
            raise
        named = problem.filename if isinstance(problem.filename, str) else None
        where = path if named is None or Path(named) == unfinished else Path(named)
        raise explained(problem, where) from problem
    finally:
        with suppress(OSError):  # a read-only disk refuses to unlink even what is not there
            unfinished.unlink()


def remove_unfinished(folder: Path) -> None:
    """Delete what a killed writer left of `atomic_path` below a folder that nobody writes to."""
    for path in folder.rglob(".*.tmp"):
        if UNFINISHED.fullmatch(path.name):
            path.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """JSON for people and programs: indented, sorted, whole or absent."""
    with atomic_path(path) as unfinished:
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        unfinished.write_bytes(_utf8(text))


def read_json(path: Path) -> Any:
    """The value in a JSON file. Raises StoreError where it is absent or damaged."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        problem = "no such file"
    except (ValueError, UnicodeDecodeError) as failure:
        problem = f"damaged ({failure})"
    raise StoreError(problem, str(path), "Delete its folder and run again to build it anew.")


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb", buffering=0) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def json_digest(value: Any) -> str:
    """SHA-256 of a value in canonical JSON, so that equal values have equal digests."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(_utf8(canonical)).hexdigest()


def special_kind(path: Path) -> str | None:
    """What stands at the path if it can be opened but is no file: reading a pipe waits for whoever
    writes to it, a device may never end."""
    try:
        mode = path.stat().st_mode
    except OSError:  # nothing, or nothing that may be looked at
        return None
    kinds = {"pipe": stat.S_ISFIFO, "socket": stat.S_ISSOCK}
    kinds |= {"device": lambda mode: stat.S_ISCHR(mode) or stat.S_ISBLK(mode)}
    return next((f"a {name}" for name, is_kind in kinds.items() if is_kind(mode)), None)


def not_read(kind: str, path: Path | str) -> DataError:
    """The refusal of what `special_kind` has found."""
    remedy = "Write what it gives to a file, and name that."
    return DataError(f"this is {kind}, not a file", str(path), remedy)


def _utf8(json_text: str) -> bytes:
    # A file name that is no UTF-8 reaches us as lone surrogates; as escapes they are valid JSON.
    return json_text.encode("utf-8", "backslashreplace")


def sync(path: Path) -> None:
    """Force a file or folder onto the disk; without it a rename may outlive its content."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def explained(problem: OSError, path: Path) -> VolanoError:
    """What an operating-system error means for the user: disk full, read-only, or as it says."""
    if problem.errno in {errno.ENOSPC, errno.EDQUOT}:
        return RunFailed("disk full", str(path), "Free some space and run again: it resumes.")
    if problem.errno == errno.EROFS:
        return StoreError("not writable", str(path), "Name a writable folder with --store.")
    if problem.errno in {errno.EACCES, errno.EPERM}:
        return StoreError(
            "permission denied", str(path), "Mend its permissions, or name a folder of your own."
        )
    return RunFailed(
        f"{problem.strerror or problem}", str(path), "Mend the cause and run again: it resumes."
    )
