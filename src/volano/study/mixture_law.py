"""Which share of a mixture of two kinds would have been the best, by a law fitted to those tried.

A grid of mixtures names the best of its points; the optimum lies between them, and whoever trains a
larger model wants it without another grid. Source: Ye et al. 2024, Data Mixing Laws, of each kind's
own share r: bits per byte = c + k exp(−t r). Small models are fitted, and the next size is to show
whether it holds (`python benchmarks/best_mixture.py`).
"""

from collections.abc import Mapping
from statistics import fmean, stdev
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from volano.core.files import json_digest
from volano.study.ablation_found import AT, FoundAblation
from volano.study.words import PERCENT

Floats = npt.NDArray[np.float64]
BySeed = Mapping[str, Mapping[str, float]]  # arm → seed → bits per byte
KINDS, LEAST_SHARES = 2, 4  # the law has three numbers, and something has to be left to check it
FINENESS = 0.01  # of the shares that are tried on the law
MOST_LEFT = 0.1  # of the range of the means, that the law may miss
BITS = "bits_per_byte"


class Predicted(NamedTuple):
    """The share of a kind with the fewest bits per byte, in the mean of the domains of both kinds.

    `left` is what the law misses of the means of arms (root mean square), `spread` how far seeds
    lie apart.
    """

    size: str
    kind: str
    other: str
    share: float
    bits: float
    left: float
    spread: float
    best_tried: str
    bits_tried: float
    at_end: bool  # of the shares that were tried, so that the best may lie beyond

    @property
    def said(self) -> str:
        """In a sentence or two."""
        at = f" at {self.size}" if self.size else ""
        share = f"{100 * self.share:.0f}{PERCENT} {self.kind}"
        law = (
            f"By a law fitted to these mixtures{at} (Ye et al. 2024; it leaves {self.left:.4f}, "
            f"seeds lie {self.spread:.4f} apart)"
        )
        both = f"the mean of {self.kind} and {self.other}"
        if self.at_end:
            return (
                f"{law} the best share for {both} is not between those tried: it lies at {share} "
                "or beyond."
            )
        return (
            f"{law} {share} would have the fewest bits per byte in {both}: {self.bits:.3f}, where "
            f"`{self.best_tried}` has {self.bits_tried:.3f}. To try it: pretrain.mixture="
            f"{{{self.kind}: {self.share:.2f}, {self.other}: {1 - self.share:.2f}}}."
        )


def predicted(found: FoundAblation) -> list[Predicted]:
    """A prediction for each size, where all arms mix the same two kinds in four shares or more and
    both are measured; empty where they do not."""
    shares = _shares(found)
    if shares is None:
        return []
    kinds, of_arm = shares
    values = found.report.extra.get("values", {})
    predictions = []
    for size in found.sizes:
        at = f"{AT}{size}" if size else ""
        domains = {kind: values.get(f"{BITS}.{kind}{at}", {}) for kind in kinds}
        known = [arm for arm in of_arm if all(each.get(arm) for each in domains.values())]
        if len({of_arm[arm] for arm in known}) >= LEAST_SHARES:
            chosen = {kind: {arm: each[arm] for arm in known} for kind, each in domains.items()}
            fit = best_share(chosen, {arm: of_arm[arm] for arm in known}, size)
            predictions += [fit] if fit is not None else []
    return predictions


def best_share(
    domains: Mapping[str, BySeed], shares: Mapping[str, float], size: str = ""
) -> Predicted | None:
    """Of the first of two kinds, between the least and the greatest of the `shares` of arms. None
    where the law misses more than a tenth of the range of the means.

    `domains` maps both kinds to arms to seeds.
    """
    kind, other = domains
    tried = np.array(list(shares.values()))
    between = np.linspace(tried.min(), tried.max(), round(np.ptp(tried) / FINENESS) + 1)
    total, left = np.zeros_like(between), []
    for name in domains:
        own, own_between = (tried, between) if name == kind else (1 - tried, 1 - between)
        means = np.array([fmean(domains[name][arm].values()) for arm in shares])
        numbers = _fitted(own, means)
        if numbers is None:
            return None
        left.append(float(np.sqrt(np.mean((_law(own, *numbers) - means) ** 2))))
        if not left[-1] <= MOST_LEFT * float(np.ptp(means)):
            return None
        total += _law(own_between, *numbers) / KINDS
    means_of_both = {
        arm: fmean(fmean(domains[name][arm].values()) for name in domains) for arm in shares
    }
    best_tried = min(means_of_both, key=lambda arm: means_of_both[arm])
    best = int(total.argmin())
    return Predicted(
        size,
        kind,
        other,
        float(between[best]),
        float(total[best]),
        max(left),
        _spread(domains),
        best_tried,
        means_of_both[best_tried],
        best in (0, len(between) - 1),
    )


def _shares(found: FoundAblation) -> tuple[tuple[str, str], dict[str, float]] | None:
    """Two kinds, and the share of the first in each arm; None where arms mix anything else, or
    differ in more than how they mix."""
    of_arm: dict[str, dict[str, float]] = {}
    others: set[str] = set()  # what else models of one size rest on
    size = found.sizes[0]
    for arm in found.arms:
        base = next((each.base for each in found.of(arm, size)), None)
        settings = {} if base is None else base.meta["identity"]["settings"]
        if base is not None:
            rest = {key: each for key, each in settings.items() if key != "mixture"}
            read = sorted(each["digest"] for each in base.parents.values())
            others.add(json_digest([rest, read]))
        mixture = {} if settings.get("curriculum") else settings.get("mixture") or {}
        of_arm[arm] = {kind: share for kind, share in mixture.items() if share > 0}
    kinds = sorted(set().union(*of_arm.values()))
    mixed = len(kinds) == KINDS and all(len(each) == KINDS for each in of_arm.values())
    if not mixed or len(others) > 1:
        return None
    first, second = kinds
    shares = {arm: each[first] / sum(each.values()) for arm, each in of_arm.items()}
    return (first, second), shares


def _law(share: Floats, floor: float, fall: float, rate: float) -> Floats:
    bits: Floats = floor + fall * np.exp(-rate * share)
    return bits


def _fitted(shares: Floats, bits: Floats) -> Floats | None:
    from scipy.optimize import curve_fit

    begin = (max(0.0, bits.min() - 0.1), np.ptp(bits) + 0.1, 3.0)
    bounds = ([0, 0, 0.1], [np.inf, np.inf, 50])
    try:
        found, _ = curve_fit(_law, shares, bits, begin, bounds=bounds)
    except (RuntimeError, ValueError):  # no fit after many tries, or values that are not finite
        return None
    return np.asarray(found)


def _spread(domains: Mapping[str, BySeed]) -> float:
    spreads = [
        stdev(by_seed.values())
        for arms in domains.values()
        for by_seed in arms.values()
        if len(by_seed) > 1
    ]
    return fmean(spreads) if spreads else 0.0
