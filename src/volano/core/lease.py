"""A lease: two runs never write one artifact at the same time.

The kernel's file lock is the lease, so a run that is killed lets go of it at once.
"""

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from volano.core.files import explained

POLL_SECONDS = 0.2


@contextmanager
def lease(path: Path, what: str) -> Iterator[None]:
    """Hold the lease at `path`; wait for whoever has it, and say so once. Raises StoreError where
    its folder cannot be written to."""
    told = False
    while True:
        handle = _open(path)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            if not told:
                # One write, or the lines of two waiting runs mix.
                sys.stderr.write(f"{what}: another run is making it; waiting.\n")
                told = True
            time.sleep(POLL_SECONDS)
            continue
        # The holder before us may have deleted the file: then our lock is on nothing.
        if _is_current(handle, path):
            break
        os.close(handle)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as problem:
        # The folder: of a hidden file that we make for ourselves nobody has heard.
        raise explained(problem, path.parent) from problem


def is_leased(path: Path) -> bool:
    """Whether a living run holds the lease at `path`."""
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _is_current(handle: int, path: Path) -> bool:
    try:
        return os.fstat(handle).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False
