"""How well scores tell positives from negatives, and whether a probability means what it says.

`scores` has one number per item, higher for positives; `truth` is 1 or True for those that are.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def roc_auc(scores: Array, truth: Array) -> float:
    """Probability that a positive scores above a negative, ties counting half; NaN without both.

    Source: Hanley and McNeil 1982.
    """
    truth = np.asarray(truth, bool)
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if not positives or not negatives:
        return float("nan")
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - (count - 1) / 2  # the mean rank of equal scores
    above = rank[place][truth].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def average_precision(scores: Array, truth: Array) -> float:
    """Mean precision over the positives, each at the threshold of its own score; NaN without any.

    Equal scores share one threshold, so that the order of the items does not count.
    """
    truth = np.asarray(truth, bool)
    if not truth.any():
        return float("nan")
    values, place = np.unique(-np.asarray(scores, np.float64), return_inverse=True)
    found = np.cumsum(np.bincount(place, truth, len(values)))
    precision = found / np.cumsum(np.bincount(place, minlength=len(values)))
    return float(np.sum(np.diff(found, prepend=0) * precision) / truth.sum())


def brier_score(probabilities: Array, truth: Array) -> float:
    """Mean squared distance of a probability from what came, 0 or 1. Source: Brier 1950."""
    gap = np.asarray(probabilities, np.float64) - np.asarray(truth, np.float64)
    return float(np.mean(gap**2))


def calibration_error(probabilities: Array, truth: Array, bins: int = 15) -> float:
    """Expected calibration error: the distance between mean probability and fraction of positives,
    in so many bins of equal width, weighted by their items. Source: Guo et al. 2017."""
    probabilities = np.asarray(probabilities, np.float64)
    place = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    gap = np.bincount(place, probabilities - np.asarray(truth, np.float64), bins)
    return float(np.abs(gap).sum() / len(probabilities))
