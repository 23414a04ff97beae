"""Calls into a process of their own, for libraries that can crash, hang or fill the memory.

A parser of other people's files that dies takes its process along. Here it takes a child; the
caller is told which call it was, and the next call gets a new child.
"""

import contextlib
import multiprocessing
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from volano.core.engine import main_module_hidden

MAX_CHILD_BYTES = 4 << 30  # of address space; a child that asks for more gets a MemoryError


class Lost(Exception):
    """Why a call gave no result; a clause that can be put on record."""


class Isolated:
    """One child at a time, made at the first call and kept until a call is lost or the block ends.

    Functions, arguments and results must be picklable.
    """

    def __init__(self, timeout_seconds: float) -> None:
        self.timeout_seconds = timeout_seconds
        self._process: Any = None
        self._connection: Connection | None = None

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What the function returns. Raises Lost where it crashed, raised, or took too long."""
        connection = self._connection or self._start(function)
        try:
            connection.send((function, arguments))
            if not connection.poll(self.timeout_seconds):
                self.close()
                raise Lost(f"took longer than {self.timeout_seconds:g} seconds")
            succeeded, result = connection.recv()
        except (EOFError, ConnectionError):
            self._process.join(self.timeout_seconds)
            code = self._process.exitcode
            self.close()
            raise Lost(f"the process that read it died ({_said(code)})") from None
        if not succeeded:
            raise Lost(result)
        return result

    def close(self) -> None:
        """End the child."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: object, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, function: Callable[..., Any]) -> Connection:
        # Never a plain fork: the caller may have threads, whose locks a child would copy.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, self.timeout_seconds), daemon=True
        )
        with main_module_hidden(function):
            self._process.start()
        theirs.close()  # or its end would not be noticed
        self._connection = ours
        return ours


def _serve(connection: Connection, timeout_seconds: float) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    _bound_memory()
    while True:
        try:
            function, arguments = connection.recv()
        except EOFError:  # the parent is done, or dead
            return
        _bound_seconds(timeout_seconds)
        try:
            answer = (True, function(*arguments))
        except Exception as failure:
            message = (str(failure).splitlines() or [""])[0]
            # A ValueError is raised for the reader; of any other its kind says more than its words.
            kind = "" if type(failure) is ValueError else f"{type(failure).__name__}: "
            answer = (False, kind + message if message else repr(failure))
        connection.send(answer)


def _bound_memory() -> None:
    if sys.platform == "win32":
        return
    import resource

    with contextlib.suppress(ValueError, OSError):  # a lower bound is set already
        resource.setrlimit(resource.RLIMIT_AS, (MAX_CHILD_BYTES, MAX_CHILD_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _bound_seconds(timeout_seconds: float) -> None:
    # The parent ends a call that takes too long; if it is killed meanwhile, this does.
    if sys.platform == "win32":
        return
    import resource

    spent = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(spent.ru_utime + spent.ru_stime + 2 * timeout_seconds) + 1
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, most))


def _said(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
