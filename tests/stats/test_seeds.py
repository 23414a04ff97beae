"""Verdicts over seeds: what luck makes is not called a difference, and what is one is seen."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from volano.core.errors import DataError
from volano.stats.seeds import (
    adjusted_by_holm,
    judge,
    pair_by_seed,
    seeds_to_show,
    visible_difference,
)

# Held-out bits per byte of ten base models of tiny/python-docs that differ in their seed alone.
RECORDED = [3.0794, 3.0932, 3.0737, 3.0798, 3.0785, 3.0706, 3.0705, 3.0762, 3.1003, 3.0720]


def by_seed(values):
    return dict(enumerate(values, 1))


def test_a_pair_is_the_paired_t_test_of_scipy():
    random = np.random.default_rng(1)
    one, two = random.normal(1.4, 0.01, 6), random.normal(1.38, 0.01, 6)
    found = pair_by_seed(by_seed(one), by_seed(two))
    expected = stats.ttest_rel(two, one)
    assert found.p_value == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.difference == pytest.approx((two - one).mean())


def test_only_seeds_that_both_arms_have_are_compared():
    one, two = {1: 1.0, 2: 1.1, 3: 9.0}, {1: 0.9, 2: 1.05, 4: 0.0}
    assert pair_by_seed(one, two).n == 2
    with pytest.raises(DataError, match="1 seeds in common"):
        pair_by_seed(one, {3: 1.0})


def test_differences_that_are_all_the_same_are_not_certain():
    found = pair_by_seed({1: 0.5, 2: 0.6}, {1: 0.55, 2: 0.65})
    assert found.p_value == 0.5
    assert pair_by_seed({1: 0.5, 2: 0.6}, {1: 0.5, 2: 0.6}).p_value == 1.0


def test_holm_is_that_of_statsmodels():
    p_values = [0.04, 0.001, 0.03, 0.2, 0.02, 0.9]
    assert adjusted_by_holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])
    assert adjusted_by_holm([]) == []


@pytest.mark.parametrize(("seeds", "tests"), [(2, 1), (3, 4), (5, 1), (5, 12)])
def test_the_visible_difference_is_seen_with_the_power_that_it_names(seeds, tests):
    found = visible_difference(0.02, seeds, tests=tests)
    # The reference counts both tails; the far one is nothing at this power.
    power = TTestPower().power(found / 0.02, seeds, 0.05 / tests)
    assert power == pytest.approx(0.8, abs=0.002)
    assert visible_difference(0.02, seeds + 3, tests=tests) < found
    assert math.isinf(visible_difference(0.02, 1))


def drawn(random, seeds):
    return by_seed(random.choice(RECORDED, seeds))


def test_two_hundred_null_ablations_have_few_winners():
    random = np.random.default_rng(5)
    winners = 0
    for _ in range(200):
        metrics = {
            name: {arm: drawn(random, 5) for arm in ("first", "second", "third")}
            for name in ("code", "prose", "all")
        }
        found = judge(metrics, lower_is_better=list(metrics))
        assert len(found) == 6
        winners += any(each.verdict != "no difference shown" for each in found)
    assert winners <= 16


def test_without_holm_the_same_ablations_have_many_winners():
    random = np.random.default_rng(5)
    winners = 0
    for _ in range(200):
        arms = [[drawn(random, 5) for _ in range(3)] for _ in range(3)]
        p_values = [
            pair_by_seed(first, other).p_value for first, *others in arms for other in others
        ]
        winners += min(p_values) < 0.05
    assert winners > 16, "the test above can fail"


def test_what_is_better_is_seen_and_has_a_direction():
    random = np.random.default_rng(2)
    noise = float(np.std(RECORDED, ddof=1))
    metrics = {"bits": {}, "choice": {}}
    for arm, shift in (("first", 0.0), ("second", -12 * noise)):
        metrics["bits"][arm] = {seed: v + shift for seed, v in drawn(random, 5).items()}
        metrics["choice"][arm] = {seed: v + shift for seed, v in drawn(random, 5).items()}
    bits, choice = judge(metrics, lower_is_better=["bits"])
    assert (bits.verdict, choice.verdict) == ("better", "worse")
    assert bits.pair.high < 0
    assert bits.adjusted >= bits.pair.p_value


def test_as_many_ablations_see_the_visible_difference_as_it_says():
    random = np.random.default_rng(3)
    noise = 0.003
    shift = visible_difference(noise * math.sqrt(2), 5, tests=1)
    seen = 0
    for _ in range(400):
        one = by_seed(random.normal(1.4, noise, 5))
        two = by_seed(random.normal(1.4 + shift, noise, 5))
        seen += (
            judge({"bits": {"a": one, "b": two}}, lower_is_better=["bits"])[0].verdict == "worse"
        )
    assert 0.74 < seen / 400 < 0.86


def test_what_would_be_seen_is_of_all_that_is_judged_together():
    random = np.random.default_rng(4)
    metrics = {
        name: {arm: drawn(random, 5) for arm in ("first", "second", "third")}
        for name in ("code", "prose")
    }
    for each in judge(metrics, lower_is_better=[]):
        alone = visible_difference(each.pair.deviation, 5, tests=1)
        assert each.visible == visible_difference(each.pair.deviation, 5, tests=4)
        assert each.visible > 1.3 * alone


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_value_that_is_no_number_tells_nothing_and_takes_nothing_from_others(place):
    shown = {"a": {1: 1.0, 2: 1.01, 3: 1.02}, "b": {1: 2.0, 2: 2.012, 3: 2.021}}
    broken = {"a": shown["a"], "b": {1: math.nan, 2: 2.0, 3: 2.1}}
    metrics = {f"m{n}": shown for n in range(2)}
    names = list(metrics)
    names.insert(place, "broken")
    values = {name: metrics.get(name, broken) for name in names}
    found = {each.metric: each for each in judge(values, lower_is_better=[])}
    assert found["broken"].verdict == "no difference shown"
    assert found["broken"].adjusted == 1
    assert {found[name].verdict for name in metrics} == {"better"}
    assert found["m0"].adjusted == pytest.approx(3 * found["m0"].pair.p_value)


def test_where_no_difference_of_shares_could_be_shown_none_is_named():
    apart = {"a": {1: 0.1, 2: 0.5}, "b": {1: 0.4, 2: 0.3}}
    (share,) = judge({"m": apart}, lower_is_better=[], items={"m": 30})
    (other,) = judge({"m": apart}, lower_is_better=[])
    assert share.visible is None
    assert other.visible > 1
    broken = {"a": {1: 0.1, 2: 0.5}, "b": {1: math.nan, 2: 0.3}}
    assert judge({"m": broken}, lower_is_better=[])[0].visible is None


@pytest.mark.parametrize(("difference", "tests"), [(0.05, 1), (0.05, 20), (-0.02, 4)])
def test_as_many_seeds_as_are_needed_and_none_less(difference, tests):
    seeds = seeds_to_show(difference, 0.02, tests=tests)
    assert visible_difference(0.02, seeds, tests=tests) <= abs(difference)
    assert visible_difference(0.02, seeds - 1, tests=tests) > abs(difference)
    assert seeds_to_show(0.0001, 0.02, tests=1) is None


def test_an_arm_of_one_seed_is_not_judged():
    metrics = {"bits": {"a": {1: 1.0, 2: 1.1}, "b": {1: 0.9}, "c": {1: 0.9, 2: 1.3}}}
    assert [each.arm for each in judge(metrics, lower_is_better=["bits"])] == ["c"]


def test_a_share_that_is_all_or_nothing_in_every_seed_is_as_sure_as_its_items_make_it():
    none, every = dict.fromkeys(range(3), 0.0), dict.fromkeys(range(3), 1.0)
    pair = pair_by_seed(none, every, items=30)
    error = (2 * (1 / 32) * (31 / 32) / 32) ** 0.5  # of one success added, and one failure
    assert pair.deviation == pytest.approx(error)
    assert pair.low == pytest.approx(1 - 4.3027 * error / 3**0.5, abs=1e-4)
    assert pair.p_value < 0.002
    assert pair_by_seed(none, every).p_value == 0.25  # without a number of items: the sign test
    assert pair_by_seed(none, every, items=2).p_value > 0.02
    nothing = pair_by_seed(none, none, items=30)
    assert (nothing.difference, nothing.p_value) == (0, 1)
    (found,) = judge({"m": {"a": none, "b": none}}, lower_is_better=[], items={"m": 30})
    assert 0 < found.visible < 0.5
