"""Compiled loops over the UTF-8 bytes of Arrow columns: no document becomes a Python string.

numba keeps what it compiled on disk, but looks only at the file of the outermost function when it
decides whether that is stale. So the folder is named by a hash of every file here: an edited
kernel compiles anew, and two checkouts on one machine never read each other's code.
"""

import contextlib
import hashlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numba

CONFIG: Any = numba.config
USUAL = ("rules", "text", "classifiers")  # what curation calls with its default settings


def warm_up(say: Callable[[str], None] | None = None, groups: Sequence[str] = USUAL) -> float:
    """Load or compile the kernels of these groups; the seconds it took. Call it before workers
    start. Groups are those of kernels.examples: rules, text, classifiers, forms, pages.

    A compile under a thread pool would make all workers wait for one, in the dark. `say` is given
    one line when the machine code is not on disk yet (default: stderr). A second process then
    compiles all but the first group meanwhile.
    """
    # Inside, because these modules need the cache folder that is set below.
    from volano.text.kernels.examples import CALLS

    started = time.monotonic()
    # A compile that was stopped half way leaves some machine code, but no mark of its group.
    marks = {name: Path(CONFIG.CACHE_DIR) / f"{name}-{source_hash()}" for name in groups}
    cold = [name for name in groups if not marks[name].exists()]
    second: subprocess.Popen[bytes] | None = None
    if cold:
        line = "Compiling the text kernels, once for this machine (up to a minute) …"
        say(line) if say else print(line, file=sys.stderr, flush=True)
        second = _in_second_process(cold[1:]) if cold[1:] else None
        CALLS[cold[0]]()
    if second is not None:
        second.wait()
    for name in groups:  # from disk, or compiled here where a second process was not to be had
        CALLS[name]()
    for name in cold:
        with contextlib.suppress(OSError):  # a folder that cannot be written: it is said again
            marks[name].touch()
    return time.monotonic() - started


def _in_second_process(groups: Sequence[str]) -> "subprocess.Popen[bytes] | None":
    calls = "; ".join(f"CALLS[{name!r}]()" for name in groups)
    code = f"from volano.text.kernels.examples import CALLS; {calls}"
    paths = os.pathsep.join(path for path in sys.path if path)
    try:
        return subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": paths, "NUMBA_CACHE_DIR": str(CONFIG.CACHE_DIR)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return None


def cache_folder() -> Path:
    """Where the machine code is kept: the user's cache, or a temporary folder if that is closed."""
    name = f"kernels-{source_hash()}"
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    for base in (Path(home) / "volano", Path(tempfile.gettempdir()) / f"volano-{_user()}"):
        folder = base / name
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryFile(dir=folder):  # root and quotas ignore permission bits
                return folder
        except OSError:
            continue
    return Path(tempfile.mkdtemp(prefix="volano-"))


def source_hash() -> str:
    """12 hexadecimal digits over all kernel sources and over what compiles them."""
    digest = hashlib.sha256(f"{numba.__version__} {platform.python_version()}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _user() -> str:
    # Two users must not meet in /tmp: machine code of another is not to be trusted.
    return str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")


if not os.environ.get("NUMBA_CACHE_DIR"):  # who sets it knows better
    CONFIG.CACHE_DIR = str(cache_folder())
