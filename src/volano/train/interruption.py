"""Ctrl-C and SIGTERM wait for the end of a step, so that the state can be kept first."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from volano.core.errors import RunFailed

ECHO_SECONDS = 1.0


class Stopped(RunFailed):
    """A run that a signal has stopped, `when` its state was kept or nothing was done yet."""

    def __init__(self, signal_name: str, when: str) -> None:
        super().__init__(
            f"stopped by {signal_name} {when}",
            "training",
            "Run the same command again: it resumes.",
        )
        self.args = (signal_name, when)  # of which pickling makes it anew
        self.signal_name = signal_name


@contextmanager
def caught_signals(*, patient: bool = False) -> Iterator[list[int]]:
    """A list that SIGTERM and the first Ctrl-C are put into; a later Ctrl-C interrupts, unless we
    are patient: then another process says when to stop."""
    caught: list[int] = []
    first = 0.0
    if threading.current_thread() is not threading.main_thread():
        yield caught  # Python delivers signals to the main thread alone
        return

    def catch(number: int, _frame: FrameType | None) -> None:
        nonlocal first
        now = time.monotonic()
        # One wish may come twice: from Slurm or the terminal, and from torchrun, which they stop.
        if caught and number == signal.SIGINT and now - first > ECHO_SECONDS and not patient:
            raise KeyboardInterrupt
        first = first or now
        caught.append(number)

    before = {number: signal.signal(number, catch) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stopped(number: int, when: str) -> BaseException:
    """What a run ends with that such a signal has stopped, such as "after step 8"."""
    if number == signal.SIGINT:
        return KeyboardInterrupt()
    return Stopped(signal.Signals(number).name, when)
