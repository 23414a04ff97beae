import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from volano.core.errors import DataError
from volano.stats.paired import mcnemar, paired_difference, share_difference


def test_mcnemar_by_hand():
    # They differ on 5 items, all won by the second: p = 2 · (1/2)^5
    result = mcnemar([True] * 3 + [False] * 5, [True] * 8)
    assert result == (0, 5, 2 / 32, 8)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_mcnemar_equals_statsmodels(pairs):
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    table = np.zeros((2, 2), int)
    for a, b in pairs:
        table[int(not a), int(not b)] += 1
    expected = statsmodels_mcnemar(table, exact=True).pvalue
    differing = table[0, 1] + table[1, 0]
    assert mcnemar(first, second).p_value == pytest.approx(expected if differing else 1.0)


def test_permutation_p_equals_the_full_enumeration():
    first, second = [0.0] * 8, [1.0, 2.0, -0.5, 1.5, 0.5, 3.0, -1.0, 0.25]
    seen = abs(sum(second))
    flips = itertools.product([1, -1], repeat=8)
    exact = np.mean([abs(np.dot(signs, second)) >= seen - 1e-12 for signs in flips])
    result = paired_difference(first, second, seed=0)
    assert result.value == pytest.approx(6.75 / 8)
    assert result.p_value == pytest.approx(exact, abs=0.01)


def test_difference_of_equal_scores_is_no_evidence():
    result = paired_difference([1.0, 2.0], [1.0, 2.0], seed=0)
    assert (result.value, result.p_value) == (0.0, 1.0)


def test_clear_gain_has_an_interval_above_zero_and_a_p_that_is_never_zero():
    first = np.random.default_rng(0).normal(size=200)
    result = paired_difference(first.tolist(), (first + 0.5).tolist(), seed=0)
    assert 0 < result.low <= result.high
    assert result.p_value == 1 / 10_001


@pytest.mark.parametrize("sizes", [(0, 0), (1, 2)])
def test_unpaired_or_empty_results_are_refused(sizes):
    with pytest.raises(DataError):
        mcnemar([True] * sizes[0], [True] * sizes[1])
    with pytest.raises(DataError):
        paired_difference([1.0] * sizes[0], [1.0] * sizes[1], seed=0)


def test_share_difference_equals_the_published_example():
    # Bentur et al. 2009 in Fagerland, Lydersen and Laake 2014: of 21 children 1 was right
    # both times, 1 only before, 7 only after; after − before, so the published signs are turned.
    before, after = [True] * 2 + [False] * 19, [True] + [False] + [True] * 7 + [False] * 12
    found = share_difference(before, after)
    assert found.value == pytest.approx(6 / 21)
    assert (found.low, found.high) == pytest.approx((0.026, 0.507), abs=5e-4)


def test_shares_that_differ_on_no_item_are_not_certainly_equal():
    found = share_difference([True] * 15 + [False] * 15, [True] * 15 + [False] * 15)
    assert found.low < found.value == 0 < found.high < 0.1


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_share_difference_holds_its_value_and_turns_with_its_sides(pairs):
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    found, turned = share_difference(first, second), share_difference(second, first)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))


@pytest.mark.parametrize("shares", [(0.4, 0.1, 0.1), (0.6, 0.05, 0.2), (0.5, 0.02, 0.02)])
def test_share_difference_covers_as_often_as_it_says(shares):
    # All tables of 12 items with their probabilities: right in both, only first, only second.
    n, (both, first, second) = 12, shares
    chances = [both, first, second, 1 - both - first - second]
    covered = 0.0
    for counts in itertools.product(range(n + 1), repeat=3):
        cells = [*counts, n - sum(counts)]
        if cells[3] < 0:
            continue
        ways = math.factorial(n) / math.prod(map(math.factorial, cells))
        shared = [True] * cells[0] + [False] * cells[3]
        one = [True] * cells[1] + [False] * cells[2]
        found = share_difference(shared + one, shared + [not each for each in one])
        inside = found.low - 1e-12 <= second - first <= found.high + 1e-12
        covered += inside * ways * math.prod(p**k for p, k in zip(chances, cells, strict=True))
    assert covered >= 0.94


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_scores_that_are_not_finite_are_no_evidence(broken):
    assert paired_difference([1.0, 2.0, 3.0], [broken, 1.0, 1.0], seed=1).p_value == 1
