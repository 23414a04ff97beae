"""Run an application on a socket known to be free, in the foreground or beside other work."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from volano.core.errors import MissingExtra, RunFailed, VolanoError

BACKLOG = 2048
GRACE_SECONDS = 1  # for answers that run when the server is asked to end
START_SECONDS = 30.0


class PortTaken(VolanoError):
    """Something else listens there, or the address is not ours."""


def listen(
    host: str, port: int, remedy: str = "Name another with --port or --host."
) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises PortTaken where that is not possible."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named TCP, or asyncio leaves Nagle's algorithm on and every answer waits 40 ms.
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
        opened.listen(BACKLOG)
    except (OSError, OverflowError) as problem:
        opened.close()
        what = getattr(problem, "strerror", None) or str(problem)
        raise PortTaken(what, f"{host}:{port}", remedy) from None
    return opened


def run(application: Any, opened: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    _server(application).run(sockets=[opened])


@contextmanager
def running(application: Any) -> Iterator[int]:
    """Serve on a free port of the loopback while the block runs; the port."""
    server = _server(application)
    opened = listen("127.0.0.1", 0)
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [opened]}, name="server", daemon=True
    )
    thread.start()
    try:
        deadline = time.monotonic() + START_SECONDS
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise RunFailed("the server did not start", "serve", "Run again.")
            time.sleep(0.01)
        yield int(opened.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
        opened.close()


def _server(application: Any) -> Any:
    try:
        import uvicorn
    except ModuleNotFoundError:
        raise MissingExtra(
            "uvicorn is not installed", "serve", "pip install 'volano[serve]'"
        ) from None
    return uvicorn.Server(
        uvicorn.Config(
            application,
            log_level="error",
            access_log=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            server_header=False,
        )
    )
