"""Has something been lost? A difference that is not significant is no proof that nothing was.

Non-inferiority turns the question round: the new version passes only if the data exclude a loss of
the margin or more. Few items, or noisy ones, then refuse rather than pass.
"""

from collections.abc import Sequence
from typing import NamedTuple

from volano.stats.paired import paired_difference


class NonInferiority(NamedTuple):
    """Mean of second − first with the one-sided lower bound that has to stay above −margin."""

    value: float
    bound: float
    margin: float
    n: int
    passed: bool


def non_inferior(
    first: Sequence[float],
    second: Sequence[float],
    *,
    margin: float,
    min_items: int,
    seed: int,
    significance: float = 0.05,
) -> NonInferiority:
    """Whether the second is worse than the first by less than `margin`, higher being better.

    The bound is the lower end of the paired bootstrap's interval at 1 − 2 · significance, which is
    the one-sided test at `significance`. Below `min_items` pairs nothing passes. Source: Piaggio et
    al. 2012 (CONSORT extension for non-inferiority).
    """
    found = paired_difference(
        first, second, seed=seed, permutations=0, confidence=1 - 2 * significance
    )
    passed = found.n >= min_items and found.low > -margin
    return NonInferiority(found.value, found.low, margin, found.n, passed)
