"""Does a metric say anything about models of this size, trained for so long?

Before a verdict is read, its metric has to show that it measures: training moves it in the
direction of learning, by more than seeds lie apart, and arms that lie clearly apart come in the
same order at every size, unless their differences are shown at both. Source: the ablations of
FineWeb (Penedo et al. 2024), which chose their metrics by monotonic rise, low noise between seeds
and one order of the arms.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np

Direction = Literal["falls", "rises", "either"]
MOVED = 2.0  # standard errors by which half of the training has to move a metric
BySeed = Mapping[int, float]


class Signal(NamedTuple):
    """What is known of a metric. None: not measured, or there is nothing to compare."""

    gain: float | None  # of the second half of training, in the metric's own direction of learning
    noise: float  # standard deviation of a seed within an arm, as arms have it typically
    signal_to_noise: float | None
    seeds_agree: float | None  # mean Kendall tau of the arms' order between seeds, -1 to 1
    sizes_agree: float | None  # and between sizes
    fails: tuple[str, ...]


def check_signal(
    sizes: Mapping[str, Mapping[str, BySeed]],
    half: Mapping[str, BySeed],
    direction: Direction,
    *,
    shown: bool,
    crossing: bool = False,
) -> Signal:
    """Judge one metric. `sizes` maps a size to arms to seeds, the first arm first; `half` maps a
    size to the first arm's values after half of the tokens. `shown`: whether some arm was told from
    the first, as only then their order is worth anything. `crossing`: whether one was shown to be
    better at one size and worse at another, which is an answer and no lack of signal."""
    noise = _noise([*half.values(), *(by for arms in sizes.values() for by in arms.values())])
    gain, error = _gain(sizes, half, noise)
    fails = []
    if gain is not None and error is not None:
        learnt = {"falls": -gain, "rises": gain, "either": abs(gain)}[direction]
        if direction != "either" and learnt < -MOVED * error:
            fails.append("training makes it worse")
        # Where an arm was told from the first, the metric measures, whatever it does in the first:
        # nothing is learnt by heart of a text without duplicates.
        elif direction != "either" and learnt <= MOVED * error and not shown:
            fails.append("training hardly moves it")
        gain = learnt
    values = [value for arms in sizes.values() for by in arms.values() for value in by.values()]
    if len(set(values)) <= 1:
        fails = ["it is the same in every trial"]
    sizes_agree = _order_between_sizes(sizes)
    if shown and not crossing and sizes_agree is not None and sizes_agree < 0:
        fails.append("sizes rank the arms in opposite orders")
    ratio = abs(gain) / noise if gain is not None and noise > 0 else None
    return Signal(gain, noise, ratio, _order_between_seeds(sizes), sizes_agree, tuple(fails))


def _noise(arms: Sequence[BySeed]) -> float:
    """By the median of the arms' variances: one arm that trains badly tells nothing of the
    others."""
    values = [np.array(list(by.values())) for by in arms if len(by) > 1]
    variances = [float(each.var(ddof=1)) for each in values if np.isfinite(each).all()]
    # Where most arms never vary the others tell what there is of noise.
    return float(np.sqrt(np.median(variances) or np.mean(variances))) if variances else 0.0


def _gain(
    sizes: Mapping[str, Mapping[str, BySeed]], half: Mapping[str, BySeed], noise: float
) -> tuple[float | None, float | None]:
    gains = []
    for size, before in half.items():
        first = next(iter(sizes.get(size, {}).values()), {})
        gains += [first[seed] - before[seed] for seed in before.keys() & first.keys()]
    if not gains:
        return None, None
    # Of two seeds the spread of the gains is hardly known; that of all arms is.
    return float(np.mean(gains)), noise * float(np.sqrt(2 / len(gains)))


def _order_between_seeds(sizes: Mapping[str, Mapping[str, BySeed]]) -> float | None:
    found = []
    for arms in sizes.values():
        seeds = sorted(set.intersection(*(set(by) for by in arms.values()))) if arms else []
        if len(arms) > 1:
            orders = [[by[seed] for by in arms.values()] for seed in seeds]
            found += [_kendall(one, two) for one, two in combinations(orders, 2)]
    return float(np.mean(found)) if found else None


def _order_between_sizes(sizes: Mapping[str, Mapping[str, BySeed]]) -> float | None:
    names = sorted(set.intersection(*(set(arms) for arms in sizes.values()))) if sizes else []
    if len(sizes) < 2 or len(names) < 2:
        return None
    orders = []
    for arms in sizes.values():
        noise = _noise([arms[name] for name in names])
        means = [float(np.mean(list(arms[name].values()))) for name in names]
        fewest = min(len(arms[name]) for name in names)
        orders.append((means, MOVED * noise * float(np.sqrt(2 / fewest))))
    agreed = [
        _kendall(one, two, (near, nearby)) for (one, near), (two, nearby) in combinations(orders, 2)
    ]
    return float(np.mean(agreed))


def _kendall(
    one: Sequence[float], two: Sequence[float], ties: tuple[float, float] = (0.0, 0.0)
) -> float:
    """Pairs in the same order less those in the opposite one, of all; a tie is neither, and so is a
    pair that lies no further apart than the `ties` of each."""

    def order(values: Sequence[float], tie: float, a: int, b: int) -> float:
        apart = values[a] - values[b]
        return float(np.sign(apart)) if abs(apart) > tie else 0.0

    pairs = list(combinations(range(len(one)), 2))
    return float(np.mean([order(one, ties[0], *p) * order(two, ties[1], *p) for p in pairs]))
