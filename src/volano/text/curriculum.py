"""Which rows a run reads at which step: a function of the seed and of the packed rows alone.

A run is one part or several, one behind the other: the stages of a curriculum, and at its end the
anneal. Each part mixes kinds by its own shares. A kind is read in a fresh random order per epoch,
which goes on from part to part, so none of its rows comes again before all the others have; an
order by an attribute changes when a row is read, never which rows are. The anneal alone reads some
rows more often than others: the best of each kind, those first that were read least.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from volano.core.errors import DataError, did_you_mean

Array = npt.NDArray[Any]
Kinds = Mapping[str, Mapping[str, int]]  # first_row and rows of each, as meta.json has them
WHERE = "pretrain.curriculum"
ANNEAL = "anneal"
# First numbers of what a generator is seeded with behind the run's own seed.
MIX, EPOCH, BEST, WINDOW = range(4)


@dataclass(frozen=True)
class Order:
    """Rows of a kind by the mean of an attribute, in every epoch anew.

    window: fraction of an epoch's rows within which the order is random; the last window is the
    smaller one where they do not fill the epoch.
    """

    by: str
    descending: bool = False
    window: float = 0.1


@dataclass(frozen=True)
class Stage:
    """Shares of kinds up to a fraction of the steps."""

    until: float
    mixture: Mapping[str, float]


@dataclass(frozen=True)
class Anneal:
    """The last fraction of the steps reads the best share of each kind's text alone."""

    by: str
    best: float
    fraction: float
    lowest: bool = False  # whether low values are the good ones
    max_epochs: float = 4.0  # over the best rows of a kind, the whole run counted


@dataclass(frozen=True)
class Curriculum:
    """What a run reads when. Without any of them: rows at random, kinds mixed evenly."""

    order: Order | None = None
    stages: tuple[Stage, ...] = ()
    anneal: Anneal | None = None


class Part(NamedTuple):
    """Consecutive steps of a run, the end excluded."""

    name: str
    begin: int
    end: int
    mixture: Mapping[str, float]  # empty: each kind by its size


def parts_of(curriculum: Curriculum, steps: int, mixture: Mapping[str, float]) -> list[Part]:
    """The parts of a run, in order. Raises DataError for a stage that gets no step."""
    stages = curriculum.stages or (Stage(1.0, mixture),)
    last_steps = 0
    if curriculum.anneal is not None:  # rounded as the decay of the rates is
        last_steps = max(1, round(curriculum.anneal.fraction * steps))
    parts, begin = [], 0
    for number, stage in enumerate(stages, 1):
        end = round(stage.until * steps)
        if end <= begin:
            raise DataError(
                f"of {steps:,} steps stage {number} gets none",
                f"{WHERE}.stages",
                "Train on more tokens, or leave the stage out.",
            )
        name = f"stage {number}" if curriculum.stages else "run"
        cut = min(max(begin, steps - last_steps), end)
        parts.append(Part(name, begin, cut, stage.mixture))
        parts.append(Part(ANNEAL, cut, end, stage.mixture))
        begin = end
    return [part for part in parts if part.end > part.begin]


def schedule(
    kinds: Kinds,
    parts: Sequence[Part],
    curriculum: Curriculum,
    *,
    batch_rows: int,
    seed: int,
    means: Array | None = None,
    best: Array | None = None,
    noun: str = "kind",
) -> Array:
    """The row at each place of the run, `batch_rows` places a step.

    means: of the attribute of the order, by row. best: whether the anneal may read a row. Raises
    DataError for a kind without rows, and where the anneal would read its rows too often.
    """
    counts = [_counts(kinds, part, batch_rows, noun) for part in parts]
    rows = np.empty(parts[-1].end * batch_rows, np.int64)
    annealed = np.repeat(
        [part.name == ANNEAL for part in parts],
        [(part.end - part.begin) * batch_rows for part in parts],
    )
    kind_at = np.concatenate([_interleaved(each, seed, n) for n, each in enumerate(counts)])
    for place, kind in enumerate(kinds):
        mine = kind_at == place
        before, last = mine & ~annealed, mine & annealed
        first, size = kinds[kind]["first_row"], kinds[kind]["rows"]
        mean = means[first : first + size] if means is not None else None
        drawn = _in_epochs(int(before.sum()), first, size, seed, curriculum.order, mean)
        rows[before] = first + drawn
        if last.any():
            assert curriculum.anneal is not None, "a part that no curriculum asks for"
            assert best is not None, "an anneal without its rows"
            pool = np.flatnonzero(best[first : first + size])
            reads = np.bincount(drawn, minlength=size)[pool]
            _refuse_too_often(curriculum.anneal, f"{noun} '{kind}'", reads, int(last.sum()))
            rows[last] = first + pool[_least_read(reads, int(last.sum()), first, seed)]
    return rows


def _counts(kinds: Kinds, part: Part, batch_rows: int, noun: str) -> Array:
    """Rows of each kind in a part, in the order of the kinds."""
    shares = {kind: share for kind, share in part.mixture.items() if share > 0} or {
        kind: each["rows"] for kind, each in kinds.items() if each["rows"]
    }
    for kind in shares:
        if not kinds.get(kind, {}).get("rows"):
            known = [each for each in kinds if kinds[each]["rows"]]
            staged = part.name.startswith("stage") or part.name == ANNEAL
            where = f"{WHERE}.stages" if staged else "pretrain.mixture"
            raise DataError(f"no tokens of {noun} '{kind}'", where, did_you_mean(kind, known))
    wanted = np.array([shares.get(kind, 0.0) for kind in kinds], np.float64)
    return _apportion(wanted, (part.end - part.begin) * batch_rows)


def _interleaved(counts: Array, seed: int, number: int) -> Array:
    # The first part draws as a run without parts does.
    generator = np.random.default_rng([seed, MIX, *([number] if number else [])])
    order: Array = generator.permutation(np.repeat(np.arange(len(counts)), counts))
    return order


def _in_epochs(
    count: int, first: int, size: int, seed: int, order: Order | None, mean: Array | None
) -> Array:
    drawn: list[Array] = [np.empty(0, np.int64)]
    for epoch in range(-(-count // size) if count else 0):
        # One generator per kind and epoch: a longer run begins with the rows of a shorter epoch.
        rows = np.random.default_rng([seed, EPOCH, first, epoch]).permutation(size)
        rows = rows[: count - epoch * size]
        if order is not None:
            assert mean is not None, "an order without its attribute"
            rows = _ordered(rows, mean, order, [seed, WINDOW, first, epoch])
        drawn.append(rows)
    return np.concatenate(drawn)


def _ordered(rows: Array, mean: Array, order: Order, seeds: list[int]) -> Array:
    # Stable: rows of equal means stay in their random order.
    key = -mean[rows] if order.descending else mean[rows]
    ordered = rows[np.argsort(key, kind="stable")]
    generator = np.random.default_rng(seeds)
    windows = _windows(ordered, order.window)
    return np.concatenate([generator.permutation(each) for each in windows])


def _windows(rows: Array, window: float) -> list[Array]:
    if window * len(rows) < 1:
        return np.array_split(rows, max(1, len(rows)))  # each row alone
    # The tolerance is for fractions such as 0.1, ten of which are one but for rounding.
    whole = max(1, ceil(1 / window - 1e-9) - 1)
    last = int(len(rows) * (1 - whole * window) + 1e-9)
    first = len(rows) - last
    return [*np.array_split(rows[:first], whole), rows[first:]]


def _least_read(reads: Array, count: int, first: int, seed: int) -> Array:
    """Places in a pool of rows, the least read first, at random among equals."""
    drawn: list[Array] = [np.empty(0, np.int64)]
    held, level = 0, int(reads.min())
    while held < count:
        due = np.flatnonzero(reads <= level)
        drawn.append(np.random.default_rng([seed, BEST, first, level]).permutation(due))
        held, level = held + len(due), level + 1
    return np.concatenate(drawn)[:count]


def _refuse_too_often(anneal: Anneal, what: str, reads: Array, count: int) -> None:
    earlier = reads.sum() / len(reads)
    epochs = earlier + count / len(reads)
    if epochs <= anneal.max_epochs:
        return
    remedy = f"Allow max_epochs of {epochs:.3g}, or train on fewer tokens."
    if earlier < anneal.max_epochs:
        share = anneal.best * (epochs - earlier) / (anneal.max_epochs - earlier)
        enough = f"best: {share:.2g} is about enough" if share < 1 else "no share is enough"
        remedy = f"Take a larger share ({enough}), a shorter fraction, or more epochs."
    raise DataError(
        f"the best {anneal.best:.0%} of {what} would be read {epochs:.3g} times, "
        f"{earlier:.2g} of them before the anneal, and max_epochs is {anneal.max_epochs:g}",
        f"{WHERE}.anneal",
        remedy,
    )


def _apportion(shares: Array, total: int) -> Array:
    # Largest remainder: whole rows that add up to the total, each less than one off its share.
    exact = shares / shares.sum() * total
    counts: Array = np.floor(exact).astype(np.int64)
    short = total - int(counts.sum())
    counts[np.argsort(-(exact - counts), kind="stable")[:short]] += 1
    return counts
