"""Two models on the same items: what each task's difference is, and which items it comes from.

A mean says that something was lost and not what. Items are paired by task, stage and id; those that
only one of the two has are counted and never compared.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from volano.evaluate.conversations import CHRF, ENDS, NEAREST
from volano.evaluate.half import ENDS as HALF_ENDS
from volano.evaluate.half import EXACT, HALF
from volano.evaluate.safety import BAG_OF_WORDS
from volano.evaluate.stage import RANDOM, Item
from volano.stats.intervals import ratio_interval
from volano.stats.paired import mcnemar, paired_difference, share_difference
from volano.stats.seeds import SIGNIFICANCE, adjusted_by_holm
from volano.study.words import measure_of

SEED = 1
LEAST = 2  # items: one has no spread
SAMPLED = "sampled_chrf"  # its ids end in "#seed"
BITS_PER_BYTE = "bits_per_byte"
BESIDE = (RANDOM, BAG_OF_WORDS, NEAREST)  # no models of ours: nothing of them is compared
# What is told of an answer is an item of its own; this one has the answer in it.
ANSWERED_IN = {
    "answers_end": "answer_chrf",
    "answers_repeat": "answer_chrf",
    "refused_safe": "answered_safe",
    "refused_safe_matched": "answered_safe_matched",
    ENDS: CHRF,
    HALF_ENDS: HALF,
    EXACT: HALF,
}
Unit = Literal["share", "bits/byte", "score"]
Verdict = Literal["better", "worse", "no difference shown"]


class Row(NamedTuple):
    """One task: what both score, and second − first with its 95 % interval.

    `of` is the stage, or the domain of documents. `adjusted` is p by Holm over all rows that are
    shown together, and the verdict, about the second, is by it.
    """

    task: str
    of: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float
    n: int
    unit: Unit
    test: str
    only_first: int | None = None  # items that only the first has right
    only_second: int | None = None
    adjusted: float = 1.0
    verdict: Verdict = "no difference shown"


class Missing(NamedTuple):
    """Items of a task that only one of the two has."""

    task: str
    of: str
    only_first: int
    only_second: int
    both: int


class Change(NamedTuple):
    """One item on which the two differ. A lost one is better in the first; values are 1 and 0 for
    right and wrong."""

    task: str
    of: str
    id: str
    lost: bool
    first: float
    second: float
    first_answer: str | None = None
    second_answer: str | None = None


class ComparedItems(NamedTuple):
    """What two lists of items come to."""

    rows: list[Row]
    missing: list[Missing]
    changes: list[Change]  # the largest of each task first


Key = tuple[str, str]  # task and stage, or domain
Pair = tuple[Item, Item]


def compare_items(first: Iterable[Item], second: Iterable[Item]) -> ComparedItems:
    """Pair the items and compare each task of each stage; p-values are not adjusted yet.

    A task of which fewer than two items are common to both has no row; `missing` has it.
    """
    tables = _by_task(first), _by_task(second)
    rows, missing, changes = [], [], []
    for key in dict.fromkeys([*tables[0], *tables[1]]):
        one, two = (table.get(key, {}) for table in tables)
        common = one.keys() & two.keys()
        # Of other bytes it is another document, whatever its id says.
        ids = sorted(each for each in common if one[each].weight == two[each].weight)
        if len(ids) < max(len(one), len(two), LEAST):
            counts = len(one) - len(ids), len(two) - len(ids), len(ids)
            missing.append(Missing(*key, *counts))
        if len(ids) < LEAST:
            continue
        pairs = [(one[each], two[each]) for each in ids]
        rows.append(_row(key, pairs))
        changes += _changes(key, pairs)
    return ComparedItems(rows, missing, _with_answers(changes, tables))


def weighted_row(
    task: str,
    of: str,
    first: Sequence[float],
    second: Sequence[float],
    weights: Sequence[float],
) -> Row:
    """A ratio of sums, such as bits per byte: totals of both by item, over the items' weights.

    The interval is the bootstrap over items, the p-value that of random signs.
    """
    gains = (np.asarray(second) - np.asarray(first)).tolist()
    apart = ratio_interval(gains, weights, seed=SEED)
    p_value = paired_difference(first, second, seed=SEED).p_value
    whole = sum(weights)
    return Row(
        task, of, sum(first) / whole, sum(second) / whole, *apart[:3], p_value, apart.n,
        "bits/byte", "paired permutation",
    )  # fmt: skip


def judged_together(rows: Sequence[Row]) -> list[Row]:
    """The rows with p-values adjusted for each other, and what follows of the second model."""
    adjusted = adjusted_by_holm([each.p_value for each in rows])
    return [
        each._replace(adjusted=p_value, verdict=_verdict(each, p_value))
        for each, p_value in zip(rows, adjusted, strict=True)
    ]


def _verdict(row: Row, p_value: float) -> Verdict:
    if p_value >= SIGNIFICANCE:
        return "no difference shown"
    return "better" if (row.difference < 0) == measure_of(row.task).fewer else "worse"


def _by_task(items: Iterable[Item]) -> dict[Key, dict[str, Item]]:
    """Task and stage → id → item; of sampled answers the mean over their seeds."""
    found: dict[Key, dict[str, Item]] = defaultdict(dict)
    sampled: dict[Key, dict[str, list[Item]]] = defaultdict(lambda: defaultdict(list))
    for item in items:
        if item.stage in BESIDE or (item.score is None and item.correct is None):
            continue
        key = (item.task, item.stage)
        if item.task == SAMPLED:
            sampled[key][item.id.rpartition("#")[0]].append(item)
        else:
            found[key][item.id] = item
    for key, by_function in sampled.items():
        for name, several in by_function.items():
            mean = sum(each.score or 0.0 for each in several) / len(several)
            found[key][name] = several[0]._replace(id=name, score=mean)
    return found


def _value(item: Item) -> float:
    value = item.score if item.correct is None else float(item.correct)
    assert value is not None
    return value


def _row(key: Key, pairs: Sequence[Pair]) -> Row:
    one, two = ([_value(pair[side]) for pair in pairs] for side in (0, 1))
    if all(item.correct is not None for pair in pairs for item in pair):
        rights = [list(map(bool, values)) for values in (one, two)]
        test, apart = mcnemar(*rights), share_difference(*rights)
        return Row(
            *key, sum(one) / len(one), sum(two) / len(two), *apart[:3], test.p_value, test.n,
            "share", "exact McNemar", test.only_first, test.only_second,
        )  # fmt: skip
    weights = [pair[0].weight for pair in pairs]
    if all(weights):
        known = [float(each or 0) for each in weights]
        totals = [[v * w for v, w in zip(side, known, strict=True)] for side in (one, two)]
        return weighted_row(*key, totals[0], totals[1], known)
    found = paired_difference(one, two, seed=SEED)
    return Row(
        *key, sum(one) / len(one), sum(two) / len(two), found.value, found.low, found.high,
        found.p_value, found.n, "score", "paired permutation",
    )  # fmt: skip


def _changes(key: Key, pairs: Sequence[Pair]) -> list[Change]:
    lower = measure_of(key[0]).fewer
    found = []
    for one, two in pairs:
        gain = _value(two) - _value(one)
        if gain:
            lost = (gain < 0) != lower
            found.append(Change(*key, one.id, lost, _value(one), _value(two)))
    return largest_first(found)


def largest_first(changes: Iterable[Change]) -> list[Change]:
    """The largest difference first, whatever its direction."""
    return sorted(changes, key=lambda each: (-abs(each.second - each.first), each.id))


def _with_answers(
    changes: Sequence[Change], tables: Sequence[Mapping[Key, Mapping[str, Item]]]
) -> list[Change]:
    found = []
    for each in changes:
        key = (ANSWERED_IN.get(each.task, each.task), each.of)
        items = [table.get(key, {}).get(each.id) for table in tables]
        first, second = (item.answer if item else None for item in items)
        found.append(each._replace(first_answer=first, second_answer=second))
    return found
