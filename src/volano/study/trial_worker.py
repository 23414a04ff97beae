"""A worker process of an ablation: what runs in it, and how it is heard and stopped.

It makes one call after another that it is sent. Bars and lines of a call go to the parent, which
shows those of all workers as one. A signal keeps the state of a training as it does in the command
itself (train/interruption.py); elsewhere the call ends at once. A worker whose parent was killed
stops in the same way, so that nothing runs on that nobody waits for.
"""

import io
import multiprocessing
import os
import signal
import threading
import time
from contextlib import redirect_stderr, suppress
from multiprocessing.connection import Connection
from traceback import format_exc
from typing import Any

from volano.core.errors import VolanoError
from volano.core.progress import heard_by
from volano.train.interruption import Stopped

DONE, FAILED, BROKEN, STOPPED, HEARD = "done", "failed", "broken", "stopped", "heard"
SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAY_SECONDS = 0.2  # between two reports of steps
END_SECONDS = 60.0  # that an orphan has to keep its state


def serve(connection: Connection) -> None:
    """Make the calls that are sent, until the parent closes the connection."""
    for number in SIGNALS:
        signal.signal(number, _stop)
    with suppress(OSError, EOFError, KeyboardInterrupt):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # blocked until now by who began us
        threading.Thread(target=_stop_with_parent, daemon=True).start()
        while True:
            function, arguments = connection.recv()
            connection.send(_answer(connection, function, arguments))


def _answer(connection: Connection, function: Any, arguments: Any) -> tuple[str, Any]:
    # Its end is told as a pair; a call that was stopped is none that has failed.
    heard = _Heard(connection)
    try:
        with heard_by(heard.bar_of), redirect_stderr(_Lines(heard)):
            result = function(*arguments)
            heard.flush()
            return DONE, result
    except (Stopped, KeyboardInterrupt):
        return STOPPED, None
    except VolanoError as problem:
        return FAILED, problem
    except Exception:
        return BROKEN, format_exc()


def _stop(number: int, _frame: object) -> None:
    for each in SIGNALS:  # once is enough
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _stop_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(END_SECONDS)
        os._exit(1)


class _Heard:
    """Sends what bars show. A parent that is gone hears nothing; we are stopped for it anyway."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.bar: _SentBar | None = None

    def bar_of(self, title: str, total: float, unit: str) -> "_SentBar":
        self.flush()
        self.say("open", title, total, unit)
        self.bar = _SentBar(self)
        return self.bar

    def flush(self) -> None:
        if self.bar is not None:
            self.bar.flush()

    def say(self, what: str, *about: Any) -> None:
        with suppress(OSError):
            self.connection.send((HEARD, (what, about)))


class _SentBar:
    """A bar of which a parent is told, a few times a second."""

    def __init__(self, heard: _Heard) -> None:
        self._heard, self._waiting, self._said_at = heard, 0.0, time.monotonic()

    def advance(self, amount: float = 1) -> None:
        self._waiting += amount
        if time.monotonic() - self._said_at > SAY_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Tell of what was held back."""
        if self._waiting:
            self._heard.say("advance", self._waiting)
            self._waiting, self._said_at = 0.0, time.monotonic()

    def resume(self, amount: float) -> None:
        self._heard.say("resume", amount)

    def skip(self, amount: float) -> None:
        self._heard.say("skip", amount)

    def note(self, *figures: str) -> None: ...

    def curve(self, value: float) -> None: ...

    def tell(self, text: str) -> None:
        self._heard.say("tell", text)


class _Lines(io.TextIOBase):
    """A stream whose lines are told."""

    def __init__(self, heard: _Heard) -> None:
        self._heard, self._begun = heard, ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in filter(str.strip, lines):
            self._heard.say("line", line)
        return len(text)

    def writable(self) -> bool:
        return True
