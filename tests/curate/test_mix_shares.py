"""The arithmetic of a mixture, against exact fractions and by hand."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volano.core.errors import DataError, RecipeError
from volano.curate.mix import draws, passes_of
from volano.curate.mix_section import MixSection
from volano.curate.mix_shares import filled, planned

sizes = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 10**9), min_size=2)
weights = st.floats(0.01, 100)


def section(**settings):
    return MixSection.read(settings, "curate.mix")


def exactly_filled(shares, limits, total):
    """The same by fractions: fill as the shares, take the full ones out, until none overflows."""
    amounts, waiting, left = [Fraction(0)] * len(shares), set(np.flatnonzero(shares)), total
    while waiting:
        whole = sum(shares[each] for each in waiting)
        full = {each for each in waiting if left * shares[each] / whole > limits[each]}
        for each in full or waiting:
            amounts[each] = limits[each] if full else left * shares[each] / whole
        left -= sum(limits[each] for each in full)
        waiting = waiting - full if full else set()
    return amounts


@given(
    groups=st.lists(st.tuples(st.integers(0, 50), st.integers(1, 1000)), min_size=1, max_size=8),
    part=st.fractions(0, 1),
)
def test_amounts_are_those_of_exact_fractions(groups, part):
    shares = [Fraction(share) for share, _ in groups]
    limits = [Fraction(limit) for _, limit in groups]
    most = sum(limit for share, limit in zip(shares, limits, strict=True) if share)
    total = part * most
    found = filled(np.array(shares, float), np.array(limits, float), float(total))
    expected = exactly_filled(shares, limits, total)
    np.testing.assert_allclose(found, np.array(expected, float), rtol=1e-9, atol=1e-9)
    assert found.sum() == pytest.approx(float(total) if most else 0)


@given(sizes=sizes, chosen=st.dictionaries(st.sampled_from("abcdefgh"), weights), size=weights)
def test_the_plan_adds_up_and_keeps_the_limit(sizes, chosen, size):
    wanted = section(weights={name: chosen[name] for name in chosen if name in sizes})
    whole = sum(sizes.values())
    wanted = wanted.model_copy(update={"size_bytes": max(1, int(whole * min(size, 4)))})
    plan = planned(sizes, wanted)
    assert sum(plan.shares.values()) == pytest.approx(1, abs=1e-5)
    assert max(plan.epochs.values()) <= 4
    read = sum(plan.epochs[name] * sizes[name] for name in sizes)
    assert read == pytest.approx(wanted.size_bytes, abs=1e-6 * whole + 1e-6)
    # Below the limit, epochs are to each other as the weights are: the share is factor × size.
    below = [name for name in sizes if 1e-3 < plan.epochs[name] < 4]
    for one, other in pairwise(below):
        factor = chosen.get(one, 1) / chosen.get(other, 1)
        assert plan.epochs[one] / plan.epochs[other] == pytest.approx(factor, rel=2e-3)


@given(sizes=sizes, low=weights, high=weights, temperature=st.floats(0.5, 10))
def test_a_higher_weight_only_adds(sizes, low, high, temperature):
    name, *others = sorted(sizes)
    low, high = sorted([low, high])
    before, after = (
        planned(sizes, section(weights={name: weight}, temperature=temperature)).epochs
        for weight in (low, high)
    )
    assert after[name] >= before[name] - 1e-6
    assert all(after[other] <= before[other] + 1e-6 for other in others)
    draw = draws([f"d{place}" for place in range(50)], [name] * 50, seed=0)
    assert (passes_of(draw, np.full(50, after[name] + 1e-6))
            >= passes_of(draw, np.full(50, before[name]))).all()  # fmt: skip


def test_a_mixture_by_hand():
    sizes = {"code": 1_000_000, "prose": 4_000_000, "web": 5_000_000}
    plan = planned(sizes, section(shares={"code": 0.6}, max_epochs=3))
    # 6 MB of code are wanted and 3 epochs allow 3 MB; the others divide 7 MB as 4 to 5.
    assert plan.shares == pytest.approx({"code": 0.6, "prose": 0.4 * 4 / 9, "web": 0.4 * 5 / 9},
                                        abs=1e-6)  # fmt: skip
    assert plan.epochs == {"code": 3, "prose": 0.777778, "web": 0.777778}
    assert plan.notes == [
        "'code' is 1.0 MB: its share of 0.6 would be 6.0 epochs, and max_epochs is 3; the 3.0 MB "
        "that it lacks go to the others",
        "up to 5.0 MB in all (size_bytes) every share would be as wanted",
    ]
    # α = 0.5: as the square roots 1 : 2, of 10 MB.
    even = planned({"a": 1_000_000, "b": 4_000_000}, section(temperature=2, size_epochs=2))
    assert even.epochs == {"a": 3.333333, "b": 1.666667}
    dropped = planned(sizes, section(weights={"code": 2, "web": 1}, others="drop"))
    assert dropped.epochs == {"code": 1.714286, "prose": 0, "web": 0.857143}  # 6 MB as 2 : 5
    assert dropped.notes == ["left out: 'prose', 4.0 MB"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"by": "sorce"}, "documents have no 'sorce'. Did you mean 'source'"),
        ({"shares": {"a": 0.7, "b": 0.6}}, "shares are 0.7 \\+ 0.6 = 1.3, more than 1"),
        ({"shares": {"a": 0.5}, "weights": {"a": 2}}, "'a' stands in weights and in shares"),
        ({"size_epochs": 5}, "size_epochs 5 needs each group more than max_epochs 4 times"),
        ({"size_epochs": 2, "size_bytes": 9}, "leave one out"),
        ({"weights": {"a": -1}}, "greater than or equal to 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, told):
    with pytest.raises(RecipeError, match=told):
        section(**settings)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"size_bytes": "50"}, "50 bytes are wanted, but 4 epochs of the 12 bytes that take part "
         "are 48 bytes"),
        ({"shares": {"a": 0.7}, "weights": {"b": 0}}, "add up to 0.7, and no other group may take "
         "the remaining 0.3"),
        ({"shares": {"c": 0.7}}, "'c' shall be 0.7 of all bytes, but none of its training text"),
        ({"weights": {"a": 1, "b": 1}, "others": "drop", "shares": {}, "size_bytes": 49}, "48"),
        ({"others": "drop"}, "all 2 groups are left out"),
    ],
)  # fmt: skip
def test_plans_that_cannot_be_are_refused_with_the_arithmetic(settings, told):
    with pytest.raises(DataError, match=told):
        planned({"a": 5, "b": 7}, section(**settings))
