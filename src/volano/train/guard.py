"""Watches the loss: which steps are spikes, and when a run has left its course for good.

It knows losses alone, so that a resumed run, which replays those of before, judges as the
undisturbed one. A step whose loss or gradient is no finite number never enters the window.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable
from itertools import pairwise
from math import inf, isfinite, sqrt
from typing import NamedTuple

# Median distance between neighbours → standard deviation, of independent normal losses. Distances
# from the median would also hold how far the loss fell meanwhile, and hide what comes early.
NORMAL = 1.4826 / sqrt(2)
# A deviation is no less than these, of the median and in nats: losses that hardly vary, or that
# are near zero, would make spikes of nothing.
SMALLEST_SCALE, SMALLEST_NATS = 0.01, 0.02
FEW = 9  # losses whose median tells early that something is wrong
ABOVE_GUESSING = 1.05  # times the loss of equal odds: weights that are drawn have 1.00 to 1.01
FEWEST = 3  # losses that tell at the end of a run whether it has left its course
DIVERGED_NATS = 1.0  # a loss near zero may double and mean nothing


class Spike(NamedTuple):
    """A step whose loss stands out from those before it, or is no finite number."""

    step: int  # counted from 1
    loss: float
    median: float  # of the window before it; not a number where that is too short
    deviations: float  # above the median, in robust standard deviations; inf where not finite
    not_finite: str = ""  # "loss" or "gradient"


class Divergence(NamedTuple):
    """Where a run left its course."""

    median: float  # of the window now
    best: float  # least such median
    best_step: int
    guessing: float | None  # the loss of equal odds, where the median is above that
    left_at: int  # the first step of the window whose loss is beyond the bound


class Guard:
    """Losses in, spikes and divergence out.

    window: steps that a loss is compared with; the first half of it passes unjudged.
    spike_deviations: a loss further above the median is a spike; 0: none is.
    diverged_factor: a median above this many times the best one, and more than a nat above it, is
    divergence; 0: none is.
    guessing: the loss of a model that gives all tokens equal odds; a median well above it is
    divergence too. None for losses of other kinds.
    """

    def __init__(
        self,
        *,
        window: int,
        spike_deviations: float,
        diverged_factor: float,
        guessing: float | None = None,
    ) -> None:
        self.window, self.least = window, max(2, window // 2)
        self.spike_deviations, self.diverged_factor = spike_deviations, diverged_factor
        self._worst = inf if guessing is None else ABOVE_GUESSING * guessing
        self._guessing = guessing
        self._recent: deque[tuple[int, float]] = deque()
        self._sorted: list[float] = []  # the losses of _recent
        self._best, self._best_step = inf, 0

    def replay(self, losses: Iterable[tuple[int, float]]) -> None:
        """Begin anew with the losses of these steps."""
        self._recent.clear()
        self._sorted.clear()
        self._best, self._best_step = inf, 0
        for step, loss in losses:
            self.add(step, loss)

    def look(self, step: int, loss: float, gradient_norm: float) -> Spike | None:
        """What is to be said of a step that is not added yet."""
        judged = len(self._sorted) >= self.least
        median = self._median() if judged else float("nan")
        if not isfinite(loss) or not isfinite(gradient_norm):
            name = "gradient" if isfinite(loss) else "loss"
            return Spike(step, loss, median, inf, name)
        if not judged or not self.spike_deviations or loss <= median:
            return None
        distances = sorted(abs(one - other) for (_, one), (_, other) in pairwise(self._recent))
        scale = NORMAL * distances[len(distances) // 2]
        deviations = (loss - median) / max(scale, SMALLEST_SCALE * median, SMALLEST_NATS)
        return Spike(step, loss, median, deviations) if deviations > self.spike_deviations else None

    def add(self, step: int, loss: float) -> None:
        """Take a finite loss into the window."""
        insort(self._sorted, loss)
        self._recent.append((step, loss))
        if len(self._recent) > self.window:
            _, oldest = self._recent.popleft()
            del self._sorted[bisect_left(self._sorted, oldest)]
        if len(self._sorted) >= self.least and (median := self._median()) < self._best:
            self._best, self._best_step = median, step

    def diverged(self, *, last: bool = False) -> Divergence | None:
        """Where the run left its course, if half of the window is beyond the bound; at its `last`
        step, where it was too short for that, if most of the last few are."""
        if not self.diverged_factor:
            return None
        if len(self._sorted) >= self.least:
            median = self._median()
        elif last and len(self._sorted) >= FEWEST:
            median = self._late_median()
        else:
            return None
        bound = self._bound(1.0)
        if median <= bound:
            return None
        left_at = next(step for step, loss in self._recent if loss > bound)
        guessing = self._guessing if median > self._worst else None
        return Divergence(median, self._best, self._best_step, guessing, left_at)

    @property
    def doubtful(self) -> bool:
        """Whether the last few losses are half-way to divergence: weights of now are not good."""
        if not self.diverged_factor:
            return False
        return len(self._recent) >= FEW and self._late_median() > self._bound(0.5)

    def _bound(self, share: float) -> float:
        if not isfinite(self._best):
            return self._worst
        allowed = max((self.diverged_factor - 1) * self._best, DIVERGED_NATS)
        return min(self._best + share * allowed, self._worst)

    def _late_median(self) -> float:
        few = sorted(loss for _, loss in list(self._recent)[-FEW:])
        return few[len(few) // 2]

    def _median(self) -> float:
        return self._sorted[len(self._sorted) // 2]
