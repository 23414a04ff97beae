"""Starts `volano` from a process that has its imports behind it.

To import torch and what training needs takes seconds, and hundreds of commands under test would
each pay them. Here one process imports it all and forks for each command, which has a process, an
environment, a folder and streams of its own as ever. `bin/volano` is the command that asks for it;
where what is read at the import differs (`READ_AT_IMPORT`) it starts from nothing. Tests of
starting, of signals and of kills start the real one.
"""

import atexit
import gc
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Never

BIN = Path(__file__).resolve().parent / "bin"
SOCKET, PYTHON, IMPORTED = "WARM_SOCKET", "WARM_PYTHON", "WARM_IMPORTED"
READ_AT_IMPORT = (
    "OMP_NUM_THREADS",
    "PYTHONPATH",
    "CUDA_VISIBLE_DEVICES",
    "NUMBA_CACHE_DIR",
    "HOME",
)
IMPORTS = ("volano.cli.main", "volano.study.single", "volano.study.wheel", "volano.train.loop")
HEADER_BYTES = 8
_started: list[dict[str, str]] = []


def environment(**more: str) -> dict[str, str]:
    """This process's, with one in which `volano` starts warm."""
    if not _started:
        _started.append(_start())
    path = os.pathsep.join([str(BIN), str(Path(sys.executable).parent), os.environ["PATH"]])
    return os.environ | _started[0] | {"PATH": path} | more


def _start() -> dict[str, str]:
    address = str(Path(tempfile.mkdtemp(prefix="warm-")) / "socket")
    server = subprocess.Popen(
        [sys.executable, __file__, address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n", "what starts commands warm did not start"
    atexit.register(shutil.rmtree, Path(address).parent)
    atexit.register(server.kill)
    imported = json.dumps({name: os.environ.get(name) for name in READ_AT_IMPORT})
    return {SOCKET: address, PYTHON: sys.executable, IMPORTED: imported}


def serve(address: str) -> Never:
    """Import, then fork for whoever connects."""
    entry = import_module("volano.__main__")
    for each in IMPORTS:
        import_module(each)
    gc.collect()
    gc.freeze()  # what the children share stays shared
    sys.modules["__main__"] = entry  # where processes that a command spawns look, as with `-m`
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen(64)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who attend
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        ready, _, _ = select.select([listening, sys.stdin], [], [])
        if sys.stdin in ready:  # closed: the tests are over, however they ended
            sys.exit()
        connection, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            attend(connection)
            leave(entry.main)
        connection.close()


def leave(main: Callable[[], None]) -> Never:
    """Run it and end as Python ends, but for taking apart all that was imported, for a second."""
    code: object = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def attend(connection: socket.socket) -> None:
    """Tell a command's process and, in the end, its code. Returns in the process of the command."""
    header, streams, _, _ = socket.recv_fds(connection, HEADER_BYTES, 3)
    left, parts = int(header), []
    while left:
        parts.append(connection.recv(left))
        left -= len(parts[-1])
        if not parts[-1]:  # whoever asked is gone
            os._exit(1)
    asked = json.loads(b"".join(parts))
    child = os.fork()
    if child:
        for stream in streams:
            os.close(stream)
        connection.sendall(b"%d\n" % child)
        _, status = os.waitpid(child, 0)
        connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
        os._exit(0)
    connection.close()
    for to, stream in enumerate(streams):
        os.dup2(stream, to)
        os.close(stream)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv = ["volano", *asked["arguments"]]


if __name__ == "__main__":
    serve(sys.argv[1])
