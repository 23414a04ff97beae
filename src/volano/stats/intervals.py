"""How far a measured number can be trusted: intervals for shares, means and ratios.

A share takes Wilson's interval, which stays inside [0, 1] and does not collapse where every
answer was right. A mean takes Student's t; a ratio of sums (bits per byte) the bootstrap over
documents. Nothing was measured is an error, never a number.

scipy and statsmodels take longer to import than many a command runs: each is imported where used.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from volano.core.errors import DataError

FEW = 20  # observations: of fewer the bootstrap is too narrow
RESAMPLES = 2_000  # the ends of a 95 % interval then rest on 50 resamples each


class Interval(NamedTuple):
    """A value with its two-sided confidence interval and the number of observations."""

    value: float
    low: float
    high: float
    n: int


def share_interval(outcomes: Sequence[bool], *, confidence: float = 0.95) -> Interval:
    """The share of true outcomes, by `wilson_interval`. Raises DataError if there are none."""
    return wilson_interval(sum(map(bool, outcomes)), len(outcomes), confidence=confidence)


def wilson_interval(successes: float, trials: int, *, confidence: float = 0.95) -> Interval:
    """Share of successes with Wilson's score interval, without continuity correction.

    Source: Wilson 1927; recommended over the normal interval by Brown, Cai & DasGupta 2001.
    Raises DataError if nothing was tried.
    """
    from statsmodels.stats.proportion import proportion_confint

    _require(trials, at_least=1, what="share")
    assert 0 <= successes <= trials, (successes, trials)
    low, high = proportion_confint(successes, trials, alpha=1 - confidence, method="wilson")
    share = successes / trials
    # At 0 and 1 the end of the interval is the share itself, which rounding may overstep.
    return Interval(share, min(float(low), share), max(float(high), share), trials)


def mean_interval(values: Sequence[float], *, confidence: float = 0.95) -> Interval:
    """Mean with Student's t interval. Raises DataError below two values: one has no spread."""
    from scipy import stats

    _require(len(values), at_least=2, what="mean with interval")
    array = np.asarray(values, dtype=np.float64)
    mean, error = float(array.mean()), float(stats.sem(array))
    half_width = error * float(stats.t.ppf((1 + confidence) / 2, len(array) - 1))
    return Interval(mean, mean - half_width, mean + half_width, len(array))


def bootstrap_interval(
    values: Sequence[float], *, seed: int, confidence: float = 0.95, resamples: int = RESAMPLES
) -> Interval:
    """Mean with the percentile bootstrap, for skewed values. Raises DataError below two values."""
    _require(len(values), at_least=2, what="mean with interval")
    array = np.asarray(values, dtype=np.float64)
    means = array[_resampled_rows(len(array), resamples, seed)].mean(axis=1)
    low, high = _percentiles(means, confidence)
    return Interval(float(array.mean()), low, high, len(array))


def ratio_interval(
    numerators: Sequence[float],
    denominators: Sequence[float],
    *,
    seed: int,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> Interval:
    """Sum over sum, the percentile bootstrap drawing whole observations (documents). Of fewer than
    twenty, which it makes too sure (of five it holds the truth in 77 % and not 95), Student's t of
    what each lies off the ratio (Cochran 1977, chapter 6).

    The mean of ratios would let a document of ten bytes weigh as much as one of ten thousand.
    Raises DataError below two observations, or where all denominators are 0.
    """
    assert len(numerators) == len(denominators), (len(numerators), len(denominators))
    _require(len(numerators), at_least=2, what="ratio with interval")
    above = np.asarray(numerators, dtype=np.float64)
    below = np.asarray(denominators, dtype=np.float64)
    if not below.sum():
        raise DataError("all denominators are 0", "ratio", "Give documents that are not empty.")
    if len(above) < FEW:
        ratio = float(above.sum() / below.sum())
        off = mean_interval(
            ((above - ratio * below) / below.mean()).tolist(), confidence=confidence
        )
        return Interval(ratio, ratio + off.low, ratio + off.high, len(above))
    rows = _resampled_rows(len(above), resamples, seed)
    low, high = _percentiles(above[rows].sum(axis=1) / below[rows].sum(axis=1), confidence)
    return Interval(float(above.sum() / below.sum()), low, high, len(above))


def _resampled_rows(n: int, resamples: int, seed: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, n, size=(resamples, n))


def _percentiles(values: npt.NDArray[np.float64], confidence: float) -> tuple[float, float]:
    tail_percent = 50 * (1 - confidence)
    low, high = np.percentile(values, [tail_percent, 100 - tail_percent])
    return float(low), float(high)


def _require(n: int, *, at_least: int, what: str) -> None:
    if n < at_least:
        remedy = f"Measure at least {at_least}; fewer would be a guess, not a number."
        raise DataError(f"a {what} of {n} observations", "statistics", remedy)
