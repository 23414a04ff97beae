import multiprocessing
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # toy_steps is imported by tests, worker processes and subprocesses
# What toy_steps imports, or each worker would take 0.4 s to do so.
multiprocessing.set_forkserver_preload(["volano.core.step"])


NO_SYNC = "import os; os.fsync = lambda handle: None\n"


@pytest.fixture(autouse=True)
def no_sync(monkeypatch):
    """A kill does not lose what the kernel has, and on a busy disk each fsync costs 5 ms."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def python():
    """Starts Python on a piece of code that may import toy_steps; `mounts` run before it."""

    started = []

    def start(code, *arguments, mounts=None, **environment):
        command = [sys.executable, "-c", NO_SYNC + code, *map(str, arguments)]
        if mounts:
            shell = f'set -e; {mounts}; exec "$@"'
            command = ["unshare", "-rm", "sh", "-c", shell, "sh", *command]
        path = filter(None, [str(HERE), os.environ.get("PYTHONPATH")])
        process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):  # whatever is left of it, workers included
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
