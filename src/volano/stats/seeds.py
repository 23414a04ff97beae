"""Is one way of training better than another, or were its seeds luckier?

Each way was trained with the same few seeds, so a comparison is paired by seed, and the seeds are
the sample: however many documents a loss is measured on, they tell of this one model alone. Where
many metrics and ways are looked at, one of them wins by luck: p-values are adjusted for all that
were looked at, by Holm 1979. What is not shown is no proof of nothing, so the smallest difference
that so many seeds would have shown stands beside it.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from math import inf, isnan
from typing import Literal, NamedTuple

import numpy as np

from volano.core.errors import DataError

Verdict = Literal["better", "worse", "no difference shown"]
SIGNIFICANCE = 0.05  # that any of a family's null comparisons is called a difference
POWER = 0.8  # with which a difference of the size that is called visible is seen
LEAST = 2  # seeds: one has no spread
MOST_SEEDS = 20  # that anybody would train to show a difference
ALIKE = 1e-9  # relative spread below which differences are the same but for rounding


class SeedPair(NamedTuple):
    """Mean of second − first over n seeds, with its interval of Student's t and two-sided p."""

    difference: float
    low: float
    high: float
    p_value: float
    deviation: float  # of a seed's difference
    n: int


class Comparison(NamedTuple):
    """A metric of an arm beside that of the first one, judged among all the others."""

    metric: str
    arm: str
    pair: SeedPair
    adjusted: float  # p by Holm, over all comparisons that were judged together
    visible: float | None  # smallest that four of five such ablations see; None: a share has none
    verdict: Verdict


def pair_by_seed(
    first: Mapping[int, float],
    second: Mapping[int, float],
    *,
    confidence: float = 0.95,
    items: int | None = None,
) -> SeedPair:
    """Compare two arms on the seeds that both have, values by seed.

    Where all differences are the same, a spread of 0 would make any difference certain. Of shares
    of so many `items` (all of them in one arm and none in the other) the spread is then taken to be
    the standard error of a difference of two such shares (Agresti & Caffo 2000); of other values p
    is that of the sign test. Raises DataError below two seeds in common.
    """
    seeds = sorted(first.keys() & second.keys())
    if len(seeds) < LEAST:
        raise DataError(
            f"{len(seeds)} seeds in common", "ablation", f"Train both arms with {LEAST} or more."
        )
    from scipy import stats

    gains = np.array([second[seed] - first[seed] for seed in seeds])
    n, mean, deviation = len(gains), float(gains.mean()), float(gains.std(ddof=1))
    scale = max(abs(mean), abs(first[seeds[0]]), abs(second[seeds[0]]))
    if deviation <= ALIKE * scale and items is not None:
        shares = [float(np.mean([arm[seed] for seed in seeds])) for arm in (first, second)]
        deviation = share_error(shares, items)
    elif deviation <= ALIKE * scale:
        certain = 1.0 if abs(mean) <= ALIKE * scale else 2 * 0.5**n
        return SeedPair(mean, mean, mean, certain, 0.0, n)
    error = deviation / math.sqrt(n)
    half_width = error * float(stats.t.ppf((1 + confidence) / 2, n - 1))
    p_value = 2 * float(stats.t.sf(abs(mean) / error, n - 1))
    return SeedPair(mean, mean - half_width, mean + half_width, p_value, deviation, n)


def share_error(shares: Sequence[float], items: int) -> float:
    """Standard error of the difference of two shares, a success and a failure added to each."""
    errors = 0.0
    for share in shares:
        middle = (share * items + 1) / (items + 2)
        errors += middle * (1 - middle) / (items + 2)
    return math.sqrt(errors)


def adjusted_by_holm(p_values: Sequence[float]) -> list[float]:
    """Each p-value as it counts among the others. Source: Holm 1979."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, most = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        most = max(most, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = most
    return adjusted


def visible_difference(
    deviation: float,
    seeds: int,
    *,
    tests: int = 1,
    significance: float = SIGNIFICANCE,
    power: float = POWER,
) -> float:
    """The smallest true difference that is called one with probability `power`.

    `deviation` is that of a seed's difference between two arms, `tests` how many comparisons are
    judged together: the first that Holm accepts has to pass significance / tests. From the
    noncentral t distribution. Infinite below two seeds.
    """
    if seeds < LEAST:
        return math.inf
    if deviation == 0:
        return 0.0
    from scipy import optimize, stats

    freedom = seeds - 1
    limit = float(stats.t.ppf(1 - significance / (2 * tests), freedom))

    def lacks(shift: float) -> float:
        return float(stats.nct.sf(limit, freedom, shift)) - power

    # The median of the noncentral t lies near its shift, so this bracket always holds the root.
    shift = float(optimize.brentq(lacks, 0.0, 4 * limit + 10))
    return shift * deviation / math.sqrt(seeds)


def judge(
    values: Mapping[str, Mapping[str, Mapping[int, float]]],
    *,
    lower_is_better: Sequence[str],
    items: Mapping[str, int] | None = None,
    significance: float = SIGNIFICANCE,
) -> list[Comparison]:
    """Every arm beside the first, by metric; all comparisons are one family.

    `values` maps a metric to arms to seeds; the first arm of each metric is the one that others are
    compared with. `items` has of how many a metric is a share, for those that are one. A pair with
    fewer than two seeds in common is left out: nothing can be said. Differences of shares end at
    1, and so do their intervals; where only a larger one would be seen, none is.
    """
    shares = items or {}
    pairs = [
        (
            metric,
            arm,
            _within(pair_by_seed(first, of_arm, items=shares.get(metric)), metric in shares),
        )
        for metric, arms in values.items()
        for first in [next(iter(arms.values()))]
        for arm, of_arm in list(arms.items())[1:]
        if len(first.keys() & of_arm.keys()) >= LEAST
    ]
    # A value that is not finite tells nothing, of itself or of others.
    adjusted = adjusted_by_holm([1 if isnan(pair.p_value) else pair.p_value for *_, pair in pairs])
    seen = partial(visible_difference, tests=len(pairs), significance=significance)
    return [
        Comparison(
            metric,
            arm,
            pair,
            p_value,
            _possible(seen(pair.deviation, pair.n), 1.0 if metric in shares else inf),
            _verdict(pair.difference, metric in lower_is_better, p_value < significance),
        )
        for (metric, arm, pair), p_value in zip(pairs, adjusted, strict=True)
    ]


def _possible(visible: float, most: float) -> float | None:
    return visible if visible <= most else None


def seeds_to_show(
    difference: float, deviation: float, *, tests: int, most: int = MOST_SEEDS
) -> int | None:
    """Seeds with which a true difference of this size is seen; None where `most` are too few.
    Source: `visible_difference`."""
    for seeds in range(LEAST, most + 1):
        if visible_difference(deviation, seeds, tests=tests) <= abs(difference):
            return seeds
    return None


def _within(pair: SeedPair, share: bool) -> SeedPair:
    return pair._replace(low=max(-1.0, pair.low), high=min(1.0, pair.high)) if share else pair


def _verdict(difference: float, lower_is_better: bool, shown: bool) -> Verdict:
    if not shown:
        return "no difference shown"
    return "better" if (difference < 0) == lower_is_better else "worse"
