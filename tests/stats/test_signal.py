"""A metric is trusted where training moves it by more than seeds lie apart."""

import pytest

from volano.stats.signal import check_signal

FIRST, SECOND = {1: 2.0, 2: 2.1, 3: 1.9}, {1: 1.5, 2: 1.6, 3: 1.4}


def test_a_metric_that_training_moves_passes():
    half = {"": {1: 3.0, 2: 3.1}}
    found = check_signal({"": {"a": FIRST, "b": SECOND}}, half, "falls", shown=True)
    assert found.fails == ()
    assert found.gain == pytest.approx(1.0)
    assert found.noise == pytest.approx(0.1)
    assert found.signal_to_noise == pytest.approx(10)
    assert found.seeds_agree == 1
    assert found.sizes_agree is None


@pytest.mark.parametrize(
    ("half", "direction", "said"),
    [
        ({1: 2.05, 2: 2.1}, "falls", "training hardly moves it"),
        ({1: 1.0, 2: 1.1}, "falls", "training makes it worse"),
        ({1: 3.0, 2: 3.1}, "rises", "training makes it worse"),
    ],
)
def test_a_metric_that_it_does_not_move_fails(half, direction, said):
    found = check_signal({"": {"a": FIRST, "b": SECOND}}, {"": half}, direction, shown=False)
    assert found.fails == (said,)


def test_a_metric_that_told_an_arm_apart_measures_though_the_first_arm_does_not_move():
    none, some = {1: 0.0, 2: 0.0, 3: 0.0}, {1: 0.8, 2: 0.9, 3: 0.7}
    sizes, half = {"": {"a": none, "b": some}}, {"": {1: 0.0, 2: 0.0}}
    assert check_signal(sizes, half, "rises", shown=True).fails == ()
    assert check_signal(sizes, half, "rises", shown=False).fails == ("training hardly moves it",)


def test_where_either_way_is_right_training_need_not_move_it():
    found = check_signal({"": {"a": FIRST}}, {"": {1: 2.05}}, "either", shown=False)
    assert found.fails == ()


def test_a_constant_says_nothing():
    same = {1: 0.0, 2: 0.0}
    found = check_signal({"": {"a": same, "b": same}}, {"": same}, "rises", shown=False)
    assert found.fails == ("it is the same in every trial",)
    assert found.signal_to_noise is None


def test_sizes_that_turn_the_order_round_fail_where_a_difference_was_shown():
    sizes = {"1M": {"a": FIRST, "b": SECOND}, "2M": {"a": SECOND, "b": FIRST}}
    half = {"1M": {1: 3.0, 2: 3.1}}
    turned = check_signal(sizes, half, "falls", shown=True)
    assert turned.sizes_agree == -1
    assert turned.fails == ("sizes rank the arms in opposite orders",)
    assert check_signal(sizes, half, "falls", shown=False).fails == ()
    assert check_signal(sizes, half, "falls", shown=True, crossing=True).fails == ()


@pytest.mark.parametrize(("moved", "fails"), [(1.1, False), (0.9, True)])
def test_training_has_to_move_it_by_two_standard_errors(moved, fails):
    error = 0.1 * (2 / 3) ** 0.5  # of the mean of three gains, each of two trials
    half = {seed: value + moved * 2 * error for seed, value in FIRST.items()}
    found = check_signal({"": {"a": FIRST, "b": SECOND}}, {"": half}, "falls", shown=False)
    assert bool(found.fails) == fails


def test_one_wild_arm_does_not_take_the_metric_from_the_others():
    wild = {1: 3.0, 2: 5.0, 3: 9.0}
    half = {"": {1: 3.0, 2: 3.1}}
    arms = {"a": FIRST, "b": SECOND, "c": wild}
    assert check_signal({"": arms}, half, "falls", shown=False).fails == ()


def test_arms_that_lie_within_luck_of_each_other_have_no_order_to_turn():
    near = {1: 2.01, 2: 2.11, 3: 1.91}
    sizes = {"1M": {"a": FIRST, "b": SECOND}, "2M": {"a": FIRST, "b": near}}
    found = check_signal(sizes, {"1M": {1: 3.0, 2: 3.1}}, "falls", shown=True)
    assert (found.sizes_agree, found.fails) == (0, ())
    for apart, agreed in (
        (0.15, 0),
        (0.17, -1),
    ):  # of 2 · 0.1 · √(2/3)
        over = {seed: value + apart for seed, value in FIRST.items()}
        sizes = {"1M": {"a": FIRST, "b": SECOND}, "2M": {"a": FIRST, "b": over}}
        found = check_signal(sizes, {"1M": {1: 3.0, 2: 3.1}}, "falls", shown=True)
        assert found.sizes_agree == agreed


def test_where_most_arms_never_vary_the_others_tell_the_noise():
    none, some = {1: 0.0, 2: 0.0, 3: 0.0}, {1: 0.0, 2: 0.3, 3: 0.0}
    sizes = {"": {"a": some, "b": none, "c": none, "d": none}}
    found = check_signal(sizes, {"": {1: 0.0, 2: 0.2}}, "rises", shown=False)
    assert found.noise > 0


def test_nothing_is_said_of_what_was_not_tried():
    found = check_signal({"": {"a": FIRST, "b": SECOND}}, {}, "falls", shown=False)
    assert (found.gain, found.signal_to_noise, found.fails) == (None, None, ())
