"""How many trials of an ablation are trained at the same time, and with how many threads each.

Several processes with few threads waste less on waiting for each other than one with many, and a
large model leaves them less of cache and memory. Which is faster is measured, by some steps of the
real shape, when the ablation begins.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import mean
from typing import NamedTuple

from volano.core.engine import available_cores
from volano.core.errors import RecipeError, RunFailed
from volano.core.step import Device
from volano.model.config import DecoderConfig
from volano.pretrain.section import PretrainSection
from volano.study.axes import Arm
from volano.study.room import memory_in, room_of
from volano.study.section import AblateSection
from volano.study.training_cost import size_of
from volano.study.trial_workers import Call, Workers
from volano.train.parallel_plan import plan_of, started_processes

ROUNDS = 2  # of all candidates, in turns, so that a machine that others use errs for none
ROUND_SECONDS = 1.0
CALM_RATE = 1e-6  # of learning, where steps are timed
WORTH_SECONDS = 60.0  # of training: for less, no processes are begun
PROCESS_BYTES = 0.45e9  # of interpreter and libraries, with torch (docs/training-plan.md)


class Spread(NamedTuple):
    """So many trials at once, with so many threads each."""

    at_once: int
    threads: int

    def said(self) -> str:
        """In words."""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        if self.at_once == 1:
            return f"one with {threads}"
        return f"{self.at_once} trials at a time with {threads} each"


@dataclass
class Chosen:
    """A spread, what it was chosen by, and the workers that are up already, if any.

    `rates`: tokens a second of all trials together, of the `shape` that was measured.
    """

    spread: Spread
    rates: dict[Spread, float] = field(default_factory=dict)
    workers: Workers | None = None
    shape: DecoderConfig | None = None
    seconds: float = 0.0  # that it took to choose

    def said(self) -> str:
        """One line; "" where there was nothing to choose."""
        if len(self.rates) < 2:
            return ""
        alone = next(iter(self.rates))  # one trial with all threads
        best = self.spread
        other = alone if best != alone else max((s for s in self.rates if s != best), key=self._of)
        faster = self.rates[best] / self.rates[other]
        said = best.said()
        return (
            f"{said[0].upper()}{said[1:]}: {faster:.2f}× {other.said()} "
            f"({self.rates[best]:,.0f} and {self.rates[other]:,.0f} tokens a second)."
        )

    def _of(self, spread: Spread) -> float:
        return self.rates[spread]

    def close(self) -> None:
        """End the workers."""
        if self.workers is not None:
            self.workers.close()
            self.workers = None


def candidates(
    arms: Sequence[Arm], trials: int, asked: AblateSection, threads: int = 0
) -> list[Spread]:
    """What can be chosen from, the first one trial with all threads.

    At most as many at once as there are trials and cores, and as fit into memory. `threads` that a
    trial has to have leave nothing to choose. Raises RecipeError where more are asked for at once
    than can be.
    """
    recipe = arms[0].recipe
    cores = recipe.workers or available_cores()
    sections = [each.section if each.trains_base else each.recipe.finetune for each in arms]
    least = max(each.threads for each in sections if each is not None)  # what a recipe sets holds
    least = least or threads
    alone = Spread(1, least or cores)
    most, why = _most_at_once(arms, cores // max(1, least))
    if threads and most == cores // least:
        why = f"trials that are there have {threads} threads each, and there are {cores} cores"
    if asked.at_once:
        if asked.at_once > max(1, most):
            raise RecipeError(
                f"no more than {max(1, most)} at once: {why}",
                f"ablate.at_once={asked.at_once}",
                "Give fewer, or 0.",
            )
        count = min(asked.at_once, max(1, trials))
        return [Spread(count, least or cores // count)]
    most = min(most, trials)
    if threads:
        return [Spread(max(1, most), least)]
    counts = [1]
    while counts[-1] * 2 <= most:
        counts.append(counts[-1] * 2)
    if most > counts[-1]:
        counts.append(most)
    return [alone, *(Spread(each, least or cores // each) for each in counts[1:])]


def _most_at_once(arms: Sequence[Arm], cores: int) -> tuple[int, str]:
    """How many processes there can be, and what bounds them."""
    recipe = arms[0].recipe
    room = room_of(recipe)
    if room is not None and room.device == "cuda":
        return 1, "they share one device"
    if not arms[0].trains_base:
        return 1, "what is made of a finished base takes turns"
    plans = [plan_of(each.section, started=started_processes()) for each in arms]
    if started_processes() or any(each.processes > 1 for each in plans):
        return 1, "each is trained by several processes"
    if room is None:
        return cores, f"there are {cores} cores"
    largest = max(memory_in(room, each.section, size_of(each.shape)).total for each in arms)
    fitting = int(room.bytes / (largest + PROCESS_BYTES))
    if fitting < cores:
        return fitting, f"each takes {(largest + PROCESS_BYTES) / 1e9:.1f} GB of memory"
    return cores, f"there are {cores} cores"


def choose(
    arms: Sequence[Arm],
    trials: int,
    tokens: float,
    asked: AblateSection,
    *,
    threads: int = 0,
    worth_seconds: float = WORTH_SECONDS,
) -> Chosen:
    """The fastest spread for `trials` that read `tokens` of the most costly arm's size together.

    Where training takes less than `worth_seconds`, one after another; with `threads` for each, as
    many at once as can be, unmeasured. The workers of what was
    chosen may be up: whoever calls ends them. Raises RecipeError, RunFailed where a worker dies,
    Stopped or KeyboardInterrupt.
    """
    begun = time.monotonic()
    found = candidates(arms, trials, asked, threads)
    if len(found) == 1:
        return Chosen(found[0])
    arm = max(arms, key=lambda each: each.flops_a_token)
    first = rate_alone(arm, found[0])
    if tokens / first < worth_seconds:
        return Chosen(found[0], {found[0]: first}, None, arm.shape, time.monotonic() - begun)
    rates: dict[Spread, list[float]] = defaultdict(list, {found[0]: [first]})
    with ExitStack() as ending:
        workers = Workers(found[-1].at_once, found[-1].threads)
        ending.callback(workers.close)
        for turn in range(ROUNDS):
            if turn:
                rates[found[0]].append(rate_alone(arm, found[0]))
            for spread in found[1:]:
                rates[spread].append(rate_together(arm, spread, workers))
        means = {spread: mean(each) for spread, each in rates.items()}
        best = max(means, key=lambda each: means[each])
        if best != found[-1]:
            return Chosen(best, means, None, arm.shape, time.monotonic() - begun)
        ending.pop_all()
        return Chosen(best, means, workers, arm.shape, time.monotonic() - begun)


def rate_alone(arm: Arm, spread: Spread) -> float:
    """Tokens a second of one training in this process. Raises RunFailed on SIGTERM."""
    try:
        return measured_rate_of(arm.shape, arm.section, spread.threads, arm.recipe.device)
    except RunFailed as problem:
        raise RunFailed(
            problem.what, "ablate", "Run the same command again: it goes on where it stopped."
        ) from None


def rate_together(arm: Arm, spread: Spread, workers: Workers) -> float:
    """Tokens a second of so many trainings at the same time."""
    count = spread.at_once
    warm_up(workers)
    about = (arm.shape, arm.section, spread.threads, arm.recipe.device)
    total = 0.0
    for ended in workers.do([Call(measured_rate_of, about, "a worker")] * count):
        if ended.problem is not None:
            raise RunFailed(
                ended.problem.what.replace("trained", "measured"), arm.name, ended.problem.remedy
            )
        total += ended.result
    return total


def warm_up(workers: Workers) -> float:
    """Let all workers load what they compute with, so that nobody is timed while others still
    do; the seconds that it took."""
    begun = time.monotonic()
    if not workers.warm:
        list(workers.do([Call(import_torch, (), "a worker")] * workers.count))
        workers.warm = True
    return time.monotonic() - begun


def import_torch() -> None:
    """What takes longest of a worker's first call."""
    from volano.study import measured_rate  # noqa: F401


def measured_rate_of(
    shape: DecoderConfig, section: PretrainSection, threads: int, device: Device
) -> float:
    """Tokens a second of this process, by itself or beside others. A step costs the same whatever
    it learns, and one that learns next to nothing does not diverge: that is for the trial to do."""
    from volano.study.measured_rate import measure_rate

    rates = ("learning_rate", "head_learning_rate", "matrix_learning_rate")
    return measure_rate(
        shape,
        section.model_copy(update=dict.fromkeys(rates, CALM_RATE)),
        row_tokens=shape.context,
        workers=threads,
        device=device,
        seconds=ROUND_SECONDS,
    ).tokens_per_second
