"""The worker processes of an ablation, as the command sees them: begun, heard, stopped, buried.

Each takes one call at a time. One that dies fails the call that it was making and no other, and a
new one takes its place. A signal goes on to all of them, and the command waits until each has kept
its state; a second Ctrl-C does not wait.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, NamedTuple, Self

from volano.core.engine import main_module_hidden
from volano.core.errors import RunFailed, VolanoError
from volano.study.trial_worker import BROKEN, DONE, FAILED, HEARD, SIGNALS, serve
from volano.train.interruption import caught_signals, stopped

# Read when the libraries load. torch is told again by whoever computes with it.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
)
POLL_SECONDS = 0.2
ECHO_SECONDS = 2.0  # within which a signal that a worker had first reaches us too
END_SECONDS = 5.0  # that an idle worker has to end by itself

Heard = Callable[[int, str, tuple[Any, ...]], None]


class Call(NamedTuple):
    """What a worker is to do. Of two with the same `alone` one waits for the other, since both want
    the same artifact. Function, arguments and result must be picklable."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    name: str
    alone: str = ""


class Ended(NamedTuple):
    """What became of the call at that place: its result, or why there is none."""

    place: int
    result: Any
    problem: VolanoError | None


class Workers:
    """So many processes with so many threads each, begun at the first call and kept until the end
    of the block."""

    def __init__(self, count: int, threads: int) -> None:
        self.count, self.threads = count, threads
        self.warm = False  # whether every one of them is up, and has loaded what it computes with
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: object, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End them all, at once those that are at work."""
        for worker in self._workers:
            worker.connection.close()
            if worker.place is not None:
                worker.process.kill()
        for worker in self._workers:
            worker.process.join(END_SECONDS)
            worker.process.kill()
            worker.process.join()
        self._workers = []

    def do(
        self,
        calls: Sequence[Call],
        heard: Heard = lambda place, what, about: None,
        *,
        begun: Callable[[int], None] = lambda place: None,
    ) -> Iterator[Ended]:
        """Make the calls, in order as workers get free, and give each as it ends. `heard` is told
        of the bars of the call at a place, `begun` of its beginning.

        Raises Stopped on SIGTERM and KeyboardInterrupt on Ctrl-C, once every worker has ended.
        """
        queue = list(range(len(calls)))
        with caught_signals() as caught:
            while queue or any(each.place is not None for each in self._workers):
                self._hand_out(queue, calls, begun)
                for worker in self._ready(POLL_SECONDS):
                    ended = self._news(worker, calls, heard, caught)
                    if ended is not None and not caught:
                        yield ended
                if caught:
                    self._stop()
                    raise stopped(caught[0], "and every trial that was running has kept its state")

    def _hand_out(
        self, queue: list[int], calls: Sequence[Call], begun: Callable[[int], None]
    ) -> None:
        while queue:
            busy = {calls[each.place].alone for each in self._workers if each.place is not None}
            place = next((p for p in queue if calls[p].alone not in busy - {""}), None)
            free = [each for each in self._workers if each.place is None]
            if place is None or (not free and len(self._workers) >= self.count):
                return
            if not free:
                self._workers.append(_begin(self.threads))
                free = self._workers[-1:]
            queue.remove(place)
            free[0].place = place
            begun(place)
            call = calls[place]
            with suppress(OSError):  # it is dead, as we shall hear
                free[0].connection.send((call.function, call.arguments))

    def _ready(self, seconds: float) -> list["_Worker"]:
        by_connection = {each.connection: each for each in self._workers}
        ready = wait(list(by_connection), timeout=seconds)
        return [by_connection[each] for each in ready if isinstance(each, Connection)]

    def _news(
        self, worker: "_Worker", calls: Sequence[Call], heard: Heard, caught: list[int]
    ) -> Ended | None:
        place = worker.place
        try:
            what, about = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join()
            worker.connection.close()
            self._workers.remove(worker)
            if place is None:
                return None
            return Ended(place, None, _death(worker.process.exitcode, calls[place].name))
        if place is None:
            return None
        if what == HEARD:
            heard(place, *about)
            return None
        worker.place = None
        if what == DONE:
            return Ended(place, about, None)
        if what == FAILED:
            return Ended(place, None, about)
        if what == BROKEN:  # a bug, and of use to nobody when it is hidden in a table
            self._stop()
            raise RuntimeError(f"{calls[place].name}, in a worker process:\n{about}")
        deadline = time.monotonic() + ECHO_SECONDS
        while not caught and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS / 10)
        return Ended(place, None, _death(-signal.SIGTERM, calls[place].name))

    def _stop(self) -> None:
        # Whatever is still said is heard by nobody, but read: a full pipe would hold up a worker.
        for worker in self._workers:
            worker.process.terminate()
        while any(each.place is not None for each in self._workers):
            for worker in self._ready(POLL_SECONDS):
                try:
                    what, _ = worker.connection.recv()
                except (EOFError, OSError):
                    self._workers.remove(worker)
                    worker.process.join()
                    continue
                if what != HEARD:
                    worker.place = None


class _Worker:
    """One process, and the place of the call that it makes, if any."""

    def __init__(self, process: Any, connection: Connection) -> None:
        self.process, self.connection = process, connection
        self.place: int | None = None


def _begin(threads: int) -> _Worker:
    # Spawned and not forked: we have threads, whose locks a child would copy. Signals are blocked
    # until it can take them (serve), or one that came meanwhile would show a traceback.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs,))
    resource_tracker.ensure_running()  # which would unblock them
    with _threads_of(threads), _blocked(), main_module_hidden(serve):
        process.start()
    theirs.close()  # or its end would not be noticed
    return _Worker(process, ours)


@contextmanager
def _threads_of(threads: int) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _death(code: int | None, name: str) -> RunFailed:
    said = f"exit code {code}"
    if code is not None and code < 0:
        with suppress(ValueError):
            said = signal.Signals(-code).name
    return RunFailed(
        f"the process that trained it died ({said})",
        name,
        "It was most likely out of memory: set ablate.at_once=1, or take a smaller model.",
    )
