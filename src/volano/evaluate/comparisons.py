"""Is a stage better than the one before it on the same items: paired tests and win rates."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from volano.core.report import Measurement
from volano.evaluate.stage import AS_DOCUMENT, Item, measured, outcomes
from volano.stats.paired import mcnemar, paired_difference
from volano.stats.win_rate import length_controlled_win_rate, win_rate

ORDER = ("base", "sft", "aligned")
SHARES = ("choice_pmi", "choice_normalised", "answers_end", "answers_repeat")


def compare_stages(items: Sequence[Item], seed: int) -> list[dict[str, Any]]:
    """Each stage against the one before it, for every task that both have.

    Shares by McNemar's exact test, other scores by permutation; the interval of the difference is
    the paired bootstrap's.
    """
    found = []
    tasks = sorted({item.task for item in items} - {"sampled_chrf"})
    for first, second in _pairs({item.stage for item in items}):
        for task in tasks:
            before, after = outcomes(items, task, first), outcomes(items, task, second)
            ids = sorted(before.keys() & after.keys())
            if len(ids) < 2:
                continue
            one, two = [before[each] for each in ids], [after[each] for each in ids]
            difference = paired_difference(one, two, seed=seed)
            binary = all(value in (0.0, 1.0) for value in one + two)
            if binary:
                right = [list(map(bool, values)) for values in (one, two)]
                p_value, test = mcnemar(*right).p_value, "exact McNemar"
            else:
                p_value, test = difference.p_value, "paired permutation"
            found.append(
                {
                    "name": task,
                    "first": first,
                    "second": second,
                    "difference": difference.value,
                    "low": difference.low,
                    "high": difference.high,
                    "p_value": p_value,
                    "test": test,
                    "n": len(ids),
                }
            )
    return found


def win_rates(items: Sequence[Item], seed: int) -> list[Measurement]:
    """How often a stage's answers have the higher chrF, as they are and at equal length.

    Against the stage before it, and fine-tuning also against the base model asked in the form of
    its documents. Sampled answers count the mean over their seeds.
    """
    found = []
    stages = {item.stage for item in items}
    rivals = _pairs(stages) + ([(AS_DOCUMENT, "sft")] if {AS_DOCUMENT, "sft"} <= stages else [])
    for first, second in rivals:
        for task, ending in (("answer_chrf", ""), ("sampled_chrf", "_sampled")):
            wins, differences = _wins(items, task, first, second)
            if len(wins) < 2:
                continue
            name = f"win_rate_over_{first.replace(' ', '_')}{ending}"
            found.append(measured(name, second, win_rate(wins)))
            controlled = length_controlled_win_rate(wins, differences, seed=seed)
            found.append(measured(f"{name}_length_controlled", second, controlled))
    return found


def _wins(
    items: Sequence[Item], task: str, first: str, second: str
) -> tuple[list[float], list[float]]:
    """Per function: 1, 1/2 or 0 for the second stage, and how many characters longer it is."""
    answers = {
        stage: {i.id: i for i in items if (i.task, i.stage) == (task, stage)}
        for stage in (first, second)
    }
    wins, differences = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    for name in sorted(answers[first].keys() & answers[second].keys()):
        one, two = answers[first][name], answers[second][name]
        assert one.score is not None
        assert two.score is not None
        function = name.rpartition("#")[0] if task == "sampled_chrf" else name
        wins[function].append((two.score > one.score) + 0.5 * (two.score == one.score))
        differences[function].append(float(len(two.answer or "") - len(one.answer or "")))
    means = [
        [float(np.mean(values)) for values in by_function.values()]
        for by_function in (wins, differences)
    ]
    return means[0], means[1]


def _pairs(stages: set[str]) -> list[tuple[str, str]]:
    present = [stage for stage in ORDER if stage in stages]
    pairs = list(pairwise(present))
    return [*pairs, ("base", "aligned")] if len(present) == len(ORDER) else pairs
