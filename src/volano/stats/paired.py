"""Is one stage better than another on the same items, or only luckier?

Two stages answer the same questions, so the comparison is paired: what both get right or both
get wrong says nothing, and the items on which they differ say it all.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from volano.core.errors import DataError
from volano.stats.intervals import (
    FEW,
    RESAMPLES,
    Interval,
    bootstrap_interval,
    mean_interval,
    wilson_interval,
)

PERMUTATIONS = 10_000  # resolves p down to 1e-4


class McNemar(NamedTuple):
    """Exact McNemar test of two stages that were each right or wrong on the same items."""

    only_first: int  # items that only the first stage got right
    only_second: int
    p_value: float  # two-sided; 1.0 where the stages differ on no item
    n: int


class PairedDifference(NamedTuple):
    """Mean of second − first over the pairs, its bootstrap interval and a permutation p-value."""

    value: float
    low: float
    high: float
    p_value: float
    n: int


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> McNemar:
    """Two-sided exact test that both stages are right equally often.

    Of the items on which they differ, each is a fair coin under the null (McNemar 1947, exact
    form). Raises DataError if there are no items or their numbers differ.
    """
    _check_pairs(len(first), len(second), at_least=1)
    only_first = sum(bool(a) and not b for a, b in zip(first, second, strict=True))
    only_second = sum(bool(b) and not a for a, b in zip(first, second, strict=True))
    differing = only_first + only_second
    p_value = float(stats.binomtest(only_first, differing).pvalue) if differing else 1.0
    return McNemar(only_first, only_second, p_value, len(first))


def share_difference(
    first: Sequence[bool], second: Sequence[bool], *, confidence: float = 0.95
) -> Interval:
    """Share of the second minus share of the first on the same items, with Newcombe's interval.

    The two Wilson intervals, joined by how alike the stages are. Unlike the bootstrap it keeps a
    width where the stages differ on no item, which shows no difference among so few and no more.
    Source: Newcombe 1998 (Statistics in Medicine 17, 2635), method 10. Raises DataError if there
    are no items or their numbers differ.
    """
    _check_pairs(len(first), len(second), at_least=1)
    n = len(first)
    both = sum(bool(a) and bool(b) for a, b in zip(first, second, strict=True))
    rights = sum(map(bool, first)), sum(map(bool, second))
    neither = n - sum(rights) + both
    # The correlation of right and wrong, drawn towards 0 where it is positive.
    product = both * neither - (rights[0] - both) * (rights[1] - both)
    apart = max(product - n / 2, 0.0) if product > 0 else float(product)
    scale = math.sqrt(rights[0] * (n - rights[0]) * rights[1] * (n - rights[1]))
    alike = apart / scale if scale else 0.0
    one, two = (wilson_interval(right, n, confidence=confidence) for right in rights)

    def reach(a: float, b: float) -> float:
        return math.sqrt(max(a * a - 2 * alike * a * b + b * b, 0.0))

    difference = two.value - one.value
    low = difference - reach(two.value - two.low, one.high - one.value)
    high = difference + reach(two.high - two.value, one.value - one.low)
    return Interval(difference, max(low, -1.0), min(high, 1.0), n)


def paired_difference(
    first: Sequence[float],
    second: Sequence[float],
    *,
    seed: int,
    resamples: int = RESAMPLES,
    permutations: int = PERMUTATIONS,
    confidence: float = 0.95,
) -> PairedDifference:
    """How much higher the second stage scores, per pair.

    The interval is the percentile bootstrap over pairs, of fewer than twenty Student's t. The
    p-value flips the sign of each
    difference at random and counts, both ways, the means at least as far from 0 as the one seen;
    that one counts too, so p is never 0. Scores that are not finite tell nothing: p is 1. Raises
    DataError below two pairs.
    """
    _check_pairs(len(first), len(second), at_least=2)
    gains = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    interval = (
        mean_interval(gains.tolist(), confidence=confidence)
        if len(gains) < FEW
        else bootstrap_interval(
            gains.tolist(), seed=seed, resamples=resamples, confidence=confidence
        )
    )
    if not np.isfinite(gains).all():
        return PairedDifference(interval.value, interval.low, interval.high, 1.0, len(gains))
    random, extreme = np.random.default_rng(seed), 0
    for begin in range(
        0, permutations, 1_000
    ):  # a thousand at a time, or they would not fit beside large n
        rows = min(1_000, permutations - begin)
        sums = (random.integers(0, 2, size=(rows, len(gains))) * 2 - 1) @ gains
        # A hair of slack, or rounding would lose permutations that tie with what was seen.
        extreme += int((np.abs(sums) >= abs(gains.sum()) * (1 - 1e-12)).sum())
    p_value = (extreme + 1) / (permutations + 1)
    return PairedDifference(interval.value, interval.low, interval.high, p_value, len(gains))


def _check_pairs(first: int, second: int, *, at_least: int) -> None:
    if first != second:
        what = f"{first} results beside {second}"
        raise DataError(what, "paired comparison", "Compare two stages on the same items.")
    if first < at_least:
        what = f"{first} pairs"
        raise DataError(what, "paired comparison", f"Measure at least {at_least}.")
