"""Where work over shards runs: on this machine, in threads or processes.

Each item has one output file. An output that exists is never made again, so a killed run goes
on where it stopped; at most `workers` + 1 items are under way, so memory does not grow with the
corpus. Threads suit compiled kernels (they let go of the interpreter), processes pure Python.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, Protocol, TypeVar

from volano.core.bill import add_processor_seconds
from volano.core.errors import RunFailed, VolanoError
from volano.core.files import explained
from volano.core.progress import Bar

T = TypeVar("T")
ATTEMPTS = 3


def available_cores() -> int:
    """Cores that this process may use, which a container can set below the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Engine(Protocol):
    """Where work over shards runs; see LocalEngine.map for what it promises."""

    @property
    def width(self) -> int:
        """How many items run at once."""

    def map(
        self,
        function: Callable[[T, Path], None],
        items: Sequence[T],
        outputs: Sequence[Path],
        *,
        kind: Literal["thread", "process"] = "thread",
        bar: Bar | None = None,
        unit_of: Callable[[T], float] | None = None,
    ) -> None:
        """Call `function(item, output)` for each item whose output does not exist yet."""


@dataclass(frozen=True)
class LocalEngine:
    """Runs functions over shards on this machine. `workers` 0 means one per available core."""

    workers: int = 0

    @property
    def width(self) -> int:
        """How many items run at once."""
        return self.workers or available_cores()

    def map(
        self,
        function: Callable[[T, Path], None],
        items: Sequence[T],
        outputs: Sequence[Path],
        *,
        kind: Literal["thread", "process"] = "thread",
        bar: Bar | None = None,
        unit_of: Callable[[T], float] | None = None,
    ) -> None:
        """Call `function(item, output)` for each item whose output does not exist yet.

        The function writes its output atomically. An OSError and a dead worker process are tried
        twice more; any other error stops the map once the items under way have ended. Nobody
        knows which of the items under way killed a worker, so these are tried again one by one:
        the guilty one is found, and has all memory for itself. With processes, function and
        items must be picklable.
        """
        work = _Work(function, items, outputs, bar, unit_of)
        todo = [place for place, output in enumerate(outputs) if not output.exists()]
        work.resume(set(range(len(outputs))).difference(todo))
        for place in todo:
            outputs[place].parent.mkdir(parents=True, exist_ok=True)
        suspects: list[int] = []
        while todo or suspects:
            for place in suspects:
                todo += self._run_alone(work, place, kind)
            todo, suspects = self._run(work, sorted(todo), kind, at_once=self.width + 1)

    def _run_alone(self, work: "_Work[T]", place: int, kind: str) -> list[int]:
        for _ in range(ATTEMPTS - 1):  # the first attempt was the one in company
            again, died = self._run(work, [place], kind, at_once=1)
            if not died:
                return again
        raise RunFailed(
            f"a worker process died {ATTEMPTS} times on this shard",
            str(work.outputs[place]),
            "It was most likely out of memory; try smaller shards.",
        )

    def _run(
        self, work: "_Work[T]", todo: list[int], kind: str, *, at_once: int
    ) -> tuple[list[int], list[int]]:
        # What is still to do, and what was under way when a worker died. A pool broken by a dead
        # worker takes no more work, so each call has its own.
        if not todo:
            return [], []
        queue = list(reversed(todo))
        under_way: dict[Future[float], int] = {}
        again: list[int] = []
        suspects: list[int] = []
        pool = self._pool(kind, min(len(todo), at_once))
        try:
            while under_way or (queue and not suspects):
                while queue and not suspects and len(under_way) < at_once:
                    place = queue.pop()
                    try:
                        under_way[work.submit(pool, place)] = place
                    except BrokenProcessPool:
                        suspects.append(place)
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    place = under_way.pop(future)
                    problem = future.exception()
                    if problem is None:
                        work.advance(place)
                        add_processor_seconds(future.result())
                    elif isinstance(problem, BrokenProcessPool):
                        suspects.append(place)
                    else:
                        work.raise_unless_worth_another_try(problem, place)
                        again.append(place)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return again + queue, sorted(suspects)

    def _pool(self, kind: str, items: int) -> Executor:
        width = max(1, min(self.width, items))
        if kind == "thread":
            return ThreadPoolExecutor(width)
        # Never a plain fork: the parent has threads (Arrow, numba), whose locks a child would copy.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([])
        return ProcessPoolExecutor(width, mp_context=context, initializer=_begin_worker)


class _Work(Generic[T]):
    # One call of `map`: what to do with each place, and how often its output has failed.

    def __init__(
        self,
        function: Callable[[T, Path], None],
        items: Sequence[T],
        outputs: Sequence[Path],
        bar: Bar | None,
        unit_of: Callable[[T], float] | None,
    ) -> None:
        self.function, self.items, self.outputs = function, items, outputs
        self.bar, self.unit_of = bar, unit_of
        self.failures: Counter[int] = Counter()

    def submit(self, pool: Executor, place: int) -> Future[float]:
        call = _timed if isinstance(pool, ProcessPoolExecutor) else _counted_already
        with main_module_hidden(self.function):
            return pool.submit(call, self.function, self.items[place], self.outputs[place])

    def resume(self, places: set[int]) -> None:
        if self.bar is not None and places:
            self.bar.resume(sum(self._units(place) for place in sorted(places)))

    def advance(self, place: int) -> None:
        if self.bar is not None:
            self.bar.advance(self._units(place))

    def _units(self, place: int) -> float:
        return self.unit_of(self.items[place]) if self.unit_of else 1

    def raise_unless_worth_another_try(self, problem: BaseException, place: int) -> None:
        if isinstance(problem, VolanoError) or not isinstance(problem, OSError):
            raise problem
        self.failures[place] += 1
        if self.failures[place] >= ATTEMPTS:
            named = problem.filename if isinstance(problem.filename, str) else self.outputs[place]
            raise explained(problem, Path(named)) from problem


@contextmanager
def main_module_hidden(function: Callable[..., object]) -> Iterator[None]:
    """Workers that start meanwhile do not import the user's script again.

    A script that calls Volano without `if __name__ == "__main__":` would otherwise run once more
    in every worker. A function that stands in the script itself does need it.
    """
    main = sys.modules["__main__"]
    if getattr(getattr(function, "func", function), "__module__", None) == "__main__":
        yield
        return
    names = [name for name in ("__file__", "__spec__") if name in vars(main)]
    hidden = {name: vars(main).pop(name) for name in names}
    main.__spec__ = None
    try:
        yield
    finally:
        for name, value in hidden.items():
            setattr(main, name, value)


def _timed(function: Callable[[T, Path], None], item: T, output: Path) -> float:
    # Workers are children of the fork server: the system tells us nothing of what they spend.
    before = time.process_time()
    function(item, output)
    return time.process_time() - before


def _counted_already(function: Callable[[T, Path], None], item: T, output: Path) -> float:
    function(item, output)  # in a thread of ours
    return 0.0


def _begin_worker() -> None:
    # Ctrl-C goes to the whole group; the parent alone decides, workers finish their shard.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # An idle worker whose parent was killed would wait for work for ever.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
