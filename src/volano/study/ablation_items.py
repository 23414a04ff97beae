"""Where arms were asked different questions: their figures of those that all were asked.

What fits into a context depends on the tokenizer, and a question that does not fit is left out, or
another takes its place. Figures of different items are no comparison.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import nan
from typing import NamedTuple

import pyarrow.parquet as pq

from volano.core.artifact import Artifact

ITEMS_FILE = "items.parquet"  # beside the report of an evaluation
Key = tuple[str, str]  # task and stage
Items = Mapping[str, tuple[float, float]]  # id → value and weight


class Restated(NamedTuple):
    """A figure over the n items in common, of so many at most in one trial; where there are none
    it is not a number."""

    value: float
    n: int
    most: int


def on_common_items(
    trials: Mapping[str, Sequence[Artifact]], size_of: Mapping[str, str]
) -> dict[tuple[str, Key], Restated]:
    """Trial, task and stage → the figure over the items that all trials of its size have; those
    alone where some trial has others. `trials` has the measurements of each."""
    of_trial = {trial: _items(artifacts) for trial, artifacts in trials.items()}
    sharing: dict[tuple[str, Key], list[str]] = defaultdict(list)
    for trial, tasks in of_trial.items():
        for key in tasks:
            sharing[size_of[trial], key].append(trial)
    found = {}
    for (_, key), those in sharing.items():
        ids = [set(of_trial[trial][key]) for trial in those]
        common = set.intersection(*ids)
        if all(each == common for each in ids):
            continue
        most = max(map(len, ids))
        for trial in those:
            if not common:
                found[trial, key] = Restated(nan, 0, most)
                continue
            items = of_trial[trial][key]
            chosen = [items[each] for each in sorted(common)]
            whole = sum(weight for _, weight in chosen)
            value = sum(value * weight for value, weight in chosen) / whole
            found[trial, key] = Restated(value, len(common), most)
    return found


def _items(artifacts: Sequence[Artifact]) -> Mapping[Key, Items]:
    found: dict[Key, dict[str, tuple[float, float]]] = defaultdict(dict)
    columns = ["task", "id", "stage", "score", "correct", "weight"]
    for artifact in artifacts:
        path = artifact.folder / ITEMS_FILE
        for row in pq.read_table(path, columns=columns).to_pylist() if path.is_file() else ():
            value = row["score"] if row["correct"] is None else float(row["correct"])
            if value is not None:
                found[row["task"], row["stage"]][row["id"]] = value, row["weight"] or 1.0
    return found
