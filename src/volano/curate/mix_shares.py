"""From sizes of groups and wishes to epochs of groups: the arithmetic of a mixture.

The share of a group is as weight × size^(1/temperature), unless it is given. A group that would be
read more than max_epochs times is read so often, and what it lacks goes to the others in
proportion, as long as one of them is below the limit.

Sources: temperature after Conneau & Lample 2019 (XLM), section 3.1, and Arivazhagan et al. 2019,
section 4.2; the limit after Muennighoff et al. 2023.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from volano.core.errors import DataError, did_you_mean
from volano.curate.mix_section import MixSection

Array = npt.NDArray[Any]
WHOLE = 1 - 1e-9  # of shares; 0.1 + 0.2 + 0.7 may be below 1 in floating point
# The last digits of a power are not the same on every processor.
DECIMALS = 6
MOST_NOTES = 5  # of one kind; by domain there may be thousands


class Plan(NamedTuple):
    """What each group shall be: names in order, and in the same order the numbers."""

    shares: dict[str, float]  # as wanted; they add up to 1
    epochs: dict[str, float]  # at most max_epochs
    notes: list[str]  # where a wish was not met


def check_names(section: MixSection, known: Iterable[str]) -> None:
    """Raise DataError for a name in weights or shares that is no group."""
    known = sorted(known)
    for setting in ("weights", "shares"):
        for name in getattr(section, setting):
            if name not in known:
                raise DataError(
                    f"no documents of {section.by} '{name}'",
                    f"curate.mix.{setting}",
                    did_you_mean(name, known),
                )


def planned(sizes: Mapping[str, int], section: MixSection) -> Plan:
    """The plan for groups of these sizes, in bytes of training text, all above 0.

    Raises DataError where no amounts fulfil the wishes.
    """
    names = sorted(sizes)
    size = np.array([sizes[name] for name in names], float)
    shares = wanted_shares(names, size, section)
    there = size[shares > 0]
    if section.size_bytes is None:
        total = section.size_epochs * float(there.sum())
    else:
        total = float(section.size_bytes)
    most = section.max_epochs * float(there.sum())
    if total > most:
        raise DataError(
            f"{written_size(total)} are wanted, but {section.max_epochs:g} epochs of the "
            f"{written_size(there.sum())} that take part are {written_size(most)}",
            "curate.mix.size_bytes",
            "Lower it, raise max_epochs, or let more groups take part.",
        )
    amounts = filled(shares, section.max_epochs * size, total)
    epochs = np.minimum(np.round(amounts / size, DECIMALS), section.max_epochs)
    notes = _notes(names, size, shares, total, section)
    return Plan(
        dict(zip(names, np.round(shares, DECIMALS).tolist(), strict=True)),
        dict(zip(names, epochs.tolist(), strict=True)),
        notes,
    )


def wanted_shares(names: list[str], size: Array, section: MixSection) -> Array:
    """The part of each group, as wanted; they add up to 1. Raises DataError where they cannot."""
    named = section.weights.keys() | section.shares.keys()
    kept = 1.0 if section.others == "keep" else 0.0
    weights = [section.weights.get(name, 0.0 if name in named else kept) for name in names]
    # Of the largest, or a small temperature would leave the range of floating point.
    free = np.array(weights) * (size / size.max()) ** (1 / section.temperature)
    given = np.array([section.shares.get(name, 0.0) for name in names])
    for name, share in section.shares.items():
        if share > 0 and name not in names:
            raise DataError(
                f"'{name}' shall be {share:g} of all bytes, but none of its training text is left",
                f"curate.mix.shares.{name}",
                "Loosen the filter that took it, or give it no share.",
            )
    rest = 1 - float(given.sum())
    if rest <= 1 - WHOLE:
        whole: Array = given / given.sum()
        return whole
    if free.sum() <= 0:
        raise DataError(
            f"shares add up to {given.sum():g}, and no other group may take the remaining {rest:g}"
            if given.any()
            else f"all {len(names)} groups are left out",
            "curate.mix",
            "Let other groups take part (others, weights), or raise the shares to 1.",
        )
    shares: Array = given + rest * free / free.sum()
    return shares


def filled(shares: Array, limits: Array, total: float) -> Array:
    """Amounts that add up to `total`: as the shares, but none above its limit; what that leaves
    goes to the others in proportion. The limits of shares above 0 add up to `total` or more."""
    amounts = np.zeros(len(shares))
    order = np.flatnonzero(shares > 0)
    order = order[np.argsort(limits[order] / shares[order], kind="stable")]  # first to be full
    left = total
    open_shares = np.cumsum(shares[order][::-1])[::-1]  # of a group and those that fill up later
    for place, group in enumerate(order):
        rest = order[place:]
        if left * shares[group] <= limits[group] * open_shares[place]:
            amounts[rest] = left * shares[rest] / open_shares[place]
            break
        amounts[group] = limits[group]
        left -= limits[group]
    return amounts


def written_size(count: float) -> str:
    """Bytes as a note says them."""
    if count < 1e3:
        return f"{count:,.0f} bytes"
    return f"{count / 1e3:,.1f} kB" if count < 1e6 else f"{count / 1e6:,.1f} MB"


def _notes(
    names: list[str], size: Array, shares: Array, total: float, section: MixSection
) -> list[str]:
    found = [
        f"no training text of '{name}' is left: its weight counts for nothing"
        for name in section.weights
        if name not in names
    ]
    lack = np.where(shares > 0, shares * total - section.max_epochs * size, 0)
    lacking = np.flatnonzero(lack > size * 10**-DECIMALS)
    lacking = lacking[np.argsort(-lack[lacking], kind="stable")]
    for place in lacking[:MOST_NOTES]:
        found.append(
            f"'{names[place]}' is {written_size(size[place])}: its share of {shares[place]:.3g} "
            f"would be {shares[place] * total / size[place]:,.1f} epochs, and max_epochs is "
            f"{section.max_epochs:g}; the {written_size(lack[place])} that it lacks go to the "
            "others"
        )
    smaller = lacking[MOST_NOTES:]
    if len(smaller):
        missing = written_size(lack[smaller].sum())
        found.append(f"so it is with {len(smaller):,} groups more, which lack {missing}")
    if len(lacking):
        there = shares > 0
        met = float(np.min(section.max_epochs * size[there] / shares[there]))
        found.append(
            f"up to {written_size(met)} in all (size_bytes) every share would be as wanted"
        )
    left_out = [name for name, share in zip(names, shares, strict=True) if share == 0]
    if left_out:
        some = ", ".join(f"'{name}'" for name in left_out[:MOST_NOTES])
        rest = len(left_out) - MOST_NOTES
        more = f" and {rest:,} more" if rest > 0 else ""
        found.append(f"left out: {some}{more}, {written_size(size[shares == 0].sum())}")
    return found
