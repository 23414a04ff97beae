import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from volano.core.errors import DataError
from volano.stats.intervals import (
    bootstrap_interval,
    mean_interval,
    ratio_interval,
    share_interval,
    wilson_interval,
)

Z = 1.959963984540054  # the normal quantile at 97.5 %


def test_wilson_of_one_in_two_by_hand():
    # p = 1/2: centre 1/2, half-width z·sqrt(1/8 + z²/16) / (1 + z²/2)
    half_width = Z * np.sqrt(1 / 8 + Z**2 / 16) / (1 + Z**2 / 2)
    value, low, high, n = wilson_interval(1, 2)
    assert (value, n) == (0.5, 2)
    assert low == pytest.approx(0.5 - half_width, abs=1e-12)
    assert high == pytest.approx(0.5 + half_width, abs=1e-12)


def test_wilson_of_all_right_ends_at_one_and_still_admits_doubt():
    # p = 1: the low end is 1 / (1 + z²/n)
    interval = wilson_interval(10, 10)
    assert interval.low == pytest.approx(1 / (1 + Z**2 / 10), abs=1e-12)
    assert interval.high == pytest.approx(1.0)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_equals_scipy(counts):
    successes, trials = counts
    expected = stats.binomtest(successes, trials).proportion_ci(method="wilson")
    interval = wilson_interval(successes, trials)
    assert interval.low == pytest.approx(expected.low, abs=1e-9)
    assert interval.high == pytest.approx(expected.high, abs=1e-9)


def test_share_counts_the_true_outcomes():
    assert share_interval([True, False, True, True]).value == 3 / 4


def test_mean_interval_equals_scipy():
    values = [1.0, 2.5, 2.0, 7.0]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    interval = mean_interval(values)
    assert interval[:2] == pytest.approx((3.125, expected.low))
    assert interval.high == pytest.approx(expected.high)


def test_bootstrap_of_many_values_agrees_with_t_and_repeats_by_seed():
    values = np.random.default_rng(0).normal(10, 2, 400).tolist()
    drawn, exact = bootstrap_interval(values, seed=1), mean_interval(values)
    assert drawn.low == pytest.approx(exact.low, abs=0.03)
    assert drawn.high == pytest.approx(exact.high, abs=0.03)
    assert drawn == bootstrap_interval(values, seed=1)
    assert drawn != bootstrap_interval(values, seed=2)


def test_ratio_weighs_documents_by_their_size():
    # 2 bits in 1 byte and 100 bits in 100 bytes: 102/101, not the mean of ratios 1.5
    interval = ratio_interval([2.0, 100.0], [1.0, 100.0], seed=0)
    assert interval.value == 102 / 101
    assert interval.low <= interval.value <= interval.high


@pytest.mark.parametrize("n", [3, 5, 10, 19, 40])
def test_a_ratio_of_few_documents_holds_the_truth_as_often_as_it_says(n):
    random, held = np.random.default_rng(n), 0
    for _ in range(400):
        below = random.uniform(200, 2000, n)
        interval = ratio_interval(below * random.normal(2.0, 0.3, n), below, seed=1)
        held += interval.low <= 2.0 <= interval.high
    assert held / 400 > 0.9  # the bootstrap: 0.76, 0.77, 0.88 at 3, 5, 10


@pytest.mark.parametrize(
    "measure",
    [
        lambda: wilson_interval(0, 0),
        lambda: share_interval([]),
        lambda: mean_interval([]),
        lambda: mean_interval([1.0]),
        lambda: bootstrap_interval([], seed=0),
        lambda: ratio_interval([], [], seed=0),
        lambda: ratio_interval([0.0, 0.0], [0.0, 0.0], seed=0),
    ],
)
def test_nothing_measured_is_an_error_not_zero(measure):
    with pytest.raises(DataError):
        measure()
