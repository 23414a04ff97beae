import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volano.stats.detection import average_precision, brier_score, calibration_error, roc_auc

items = st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=20)


@given(items)
def test_roc_auc_counts_pairs_in_order_and_half_of_ties(pairs):
    positives = [score for score, true in pairs if true]
    negatives = [score for score, true in pairs if not true]
    won = [(p > n) + (p == n) / 2 for p in positives for n in negatives]
    found = roc_auc(*map(np.array, zip(*pairs, strict=True)))
    assert math.isnan(found) if not won else found == pytest.approx(sum(won) / len(won))


@given(items)
def test_average_precision_is_the_mean_precision_at_each_positive(pairs):
    precisions = []
    for score, true in pairs:
        if true:
            above = [each for value, each in pairs if value >= score]
            precisions.append(sum(above) / len(above))
    found = average_precision(*map(np.array, zip(*pairs, strict=True)))
    assert math.isnan(found) if not precisions else found == pytest.approx(np.mean(precisions))


def test_brier_score_and_calibration_error_counted_by_hand():
    probabilities, truth = np.array([0.1, 0.1, 0.9, 1.0]), np.array([0, 1, 1, 1])
    assert brier_score(probabilities, truth) == pytest.approx((0.01 + 0.81 + 0.01 + 0) / 4)
    # Two bins: (0.2 - 1) of the lower two, (1.9 - 2) of the upper two.
    assert calibration_error(probabilities, truth, bins=2) == pytest.approx((0.8 + 0.1) / 4)
