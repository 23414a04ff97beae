"""Gradient-boosted decision trees, evaluated at native speed over rows of numbers.

Trained elsewhere (scikit-learn's HistGradientBoosting); kept as four plain arrays.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
LEAF = -1


class Trees(NamedTuple):
    """All nodes of all trees in one row each; a tree begins at each of `roots`."""

    roots: Array  # int32
    feature: Array  # int16; LEAF where `value` is what the tree adds
    value: Array  # float32: of an inner node its threshold (at most: left), of a leaf its output
    right: Array  # int32: the node on the right; the left one follows its parent
    start: Array  # float32 (1,): what all trees add to


def probabilities(trees: Trees, rows: Array) -> Array:
    """float32 per row of float32 numbers: the logistic function of the sum of all trees."""
    found = np.empty(len(rows), np.float32)
    _fill(*trees, rows, found)
    return found


@numba.njit(nogil=True, cache=True)
def _fill(
    roots: Array,
    feature: Array,
    value: Array,
    right: Array,
    start: Array,
    rows: Array,
    found: Array,
) -> None:
    for place in range(len(rows)):
        row = rows[place]
        total = np.float64(start[0])
        for root in roots:
            node = np.int64(root)
            while feature[node] != LEAF:
                node = node + 1 if row[feature[node]] <= value[node] else np.int64(right[node])
            total += value[node]
        found[place] = 1.0 / (1.0 + np.exp(-total))
