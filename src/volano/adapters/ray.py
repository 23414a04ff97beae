"""Shards on a Ray cluster, by the same calls as on this machine, and with the same bytes.

Each item is one Ray task that writes one output file, so the store must lie in a folder that all
machines share. What exists is not made again: a killed run, or a lost worker, costs the shards that
were under way. Ray itself tries a task of a dead worker again on another.
"""

import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from volano.core.engine import ATTEMPTS, main_module_hidden
from volano.core.errors import MissingExtra, RunFailed, VolanoError
from volano.core.files import explained
from volano.core.progress import Bar

T = TypeVar("T")
HERE = "local"  # a cluster of worker processes on this machine, for as long as this process lives
AHEAD = 2  # tasks in flight per processor: one that runs, one that waits beside it


@dataclass(frozen=True)
class RayEngine:
    """Runs functions over shards on a cluster. `address` is local, auto (the cluster that this
    machine is part of) or HOST:PORT; `workers` is the processors of a local one, 0 takes all."""

    address: str = HERE
    workers: int = 0

    @property
    def width(self) -> int:
        """How many items run at once."""
        return max(1, int(self._ray().cluster_resources().get("CPU", 1)))

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
        """As LocalEngine.map, with tasks of the cluster; `kind` makes no difference here."""
        ray = self._ray()
        units = [unit_of(item) if unit_of else 1.0 for item in items]
        todo = [place for place, output in enumerate(outputs) if not output.exists()]
        if bar is not None and len(todo) < len(outputs):
            bar.resume(sum(units) - sum(units[place] for place in todo))
        for place in todo:
            outputs[place].parent.mkdir(parents=True, exist_ok=True)
        with main_module_hidden(function):
            # Shared once, however many tasks: it may hold an index of held-out texts.
            shared = ray.put(function)
            remote = ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1)(_run)
        failures: Counter[int] = Counter()
        under_way: dict[Any, int] = {}
        queue = list(reversed(todo))
        most = AHEAD * self.width
        try:
            while queue or under_way:
                while queue and len(under_way) < most:
                    place = queue.pop()
                    under_way[remote.remote(shared, items[place], outputs[place])] = place
                done, _ = ray.wait(list(under_way), num_returns=1)
                for reference in done:
                    place = under_way.pop(reference)
                    problem = _problem_of(ray, reference)
                    if problem is None:
                        if bar is not None:
                            bar.advance(units[place])
                        continue
                    failures[place] += 1
                    _raise_unless_worth_another_try(problem, outputs[place], failures[place])
                    queue.append(place)
        finally:
            for reference in under_way:
                ray.cancel(reference, force=False)

    def _ray(self) -> Any:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
        try:
            import ray
        except ModuleNotFoundError:
            raise MissingExtra(
                "ray is not installed", "engine.kind: ray", "pip install 'volano[ray]'"
            ) from None
        if not ray.is_initialized():
            here = self.address == HERE
            how: dict[str, Any] = {"num_cpus": self.workers or None} if here else {}
            try:
                ray.init(
                    address=self.address,
                    include_dashboard=False if here else None,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    **how,
                )
            except (ConnectionError, ValueError, RuntimeError) as problem:
                raise RunFailed(
                    f"no Ray cluster answers ({str(problem).splitlines()[0]})",
                    f"engine.address: {self.address}",
                    "Start one with `ray start --head`, or take engine.address=local.",
                ) from None
        return ray


def _run(function: Callable[[Any, Path], None], item: Any, output: Path) -> None:
    if not output.exists():  # a worker may have died between its output and its answer
        function(item, output)


def _problem_of(ray: Any, reference: Any) -> BaseException | None:
    try:
        ray.get(reference)
    except ray.exceptions.RayTaskError as problem:
        cause = problem.cause
        return cause if isinstance(cause, BaseException) else problem
    except ray.exceptions.RayError as problem:
        found: BaseException = problem
        return found
    return None


def _raise_unless_worth_another_try(problem: BaseException, output: Path, failures: int) -> None:
    if isinstance(problem, VolanoError):
        raise problem
    if isinstance(problem, OSError):
        if failures >= ATTEMPTS:
            named = problem.filename if isinstance(problem.filename, str) else output
            raise explained(problem, Path(named)) from problem
        return
    if type(problem).__module__.startswith("ray."):  # the worker died, again and again
        raise RunFailed(
            f"a worker died {ATTEMPTS} times on this shard ({type(problem).__name__})",
            str(output),
            "It was most likely out of memory; try smaller shards.",
        ) from None
    raise problem
