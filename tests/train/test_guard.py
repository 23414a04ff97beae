from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volano.train.guard import Guard


def guard(losses=(), window=8, spike_deviations=8.0, diverged_factor=1.5, guessing=None):
    made = Guard(
        window=window,
        spike_deviations=spike_deviations,
        diverged_factor=diverged_factor,
        guessing=guessing,
    )
    made.replay(enumerate(losses, start=1))
    return made


def test_a_spike_is_counted_in_robust_deviations_by_hand():
    # Sorted 1.8 1.9 2.0 2.1 2.2 2.3 2.4 9.0: median 2.2. Neighbours are .2 .4 .6 .3 6.9 7.1 .4
    # apart: median .4.
    watched = guard([2.0, 2.2, 1.8, 2.4, 2.1, 9.0, 1.9, 2.3])
    deviation = 1.4826 / 2**0.5 * 0.4
    spike = watched.look(9, 6.2, 1.0)
    assert (spike.step, spike.loss, spike.median) == (9, 6.2, 2.2)
    assert spike.deviations == pytest.approx((6.2 - 2.2) / deviation)
    assert watched.look(9, 2.2 + 7.9 * deviation, 1.0) is None
    assert watched.look(9, 0.1, 1.0) is None  # a loss that falls is none


def test_losses_that_hardly_vary_make_no_spike_of_a_small_step():
    watched = guard([4.0] * 8)
    assert watched.look(9, 4.31, 1.0) is None
    assert watched.look(9, 4.34, 1.0).deviations == pytest.approx(8.5)  # of 1 % of the median
    assert guard([0.0] * 8).look(9, 0.15, 1.0) is None
    assert guard([0.0] * 8).look(9, 0.18, 1.0).deviations == pytest.approx(9)  # of 0.02


def test_a_loss_that_falls_fast_hides_no_spike():
    course = [9.0 - 0.4 * step + (0.1 if step % 2 else -0.1) for step in range(8)]
    assert guard(course).look(9, 12.0, 1.0) is not None
    assert guard(course).look(9, 9.0, 1.0) is None


def test_the_first_half_of_a_window_passes_unjudged():
    assert guard([2.0] * 3).look(4, 50.0, 1.0) is None
    assert guard([2.0] * 4).look(5, 50.0, 1.0) is not None


@pytest.mark.parametrize(
    ("loss", "norm", "name"), [(nan, 1.0, "loss"), (inf, 1.0, "loss"), (2.0, nan, "gradient")]
)
def test_what_is_not_finite_stands_out_from_the_first_step(loss, norm, name):
    spike = guard(spike_deviations=0).look(1, loss, norm)
    assert (spike.not_finite, spike.deviations) == (name, inf)


def test_without_deviations_nothing_finite_is_a_spike():
    assert guard([2.0] * 8, spike_deviations=0).look(9, 50.0, 1.0) is None


def test_divergence_is_half_a_window_beyond_the_bound():
    course = [4.0, 3.0, 2.5, 2.0, 2.0, 2.0, 2.0, 2.0]  # best median 2.0, so beyond 3.0 is too much
    watched = guard(course)
    for step, loss in ((9, 2.1), (10, 3.1), (11, 3.2), (12, 3.3)):
        watched.add(step, loss)
        assert watched.diverged() is None
    watched.add(13, 3.4)
    found = watched.diverged()
    assert (found.median, found.best, found.left_at) == (3.1, 2.0, 10)
    assert guard([*course, 2.1, 3.1, 3.2, 3.3, 3.4], diverged_factor=0).diverged() is None


def test_a_loss_near_zero_that_doubles_is_no_divergence():
    assert guard([0.01] * 8 + [0.9] * 8).diverged() is None
    assert guard([0.01] * 8 + [1.1] * 8).diverged() is not None


def test_a_run_that_never_beats_guessing_has_diverged():
    assert guard([9.0] * 3 + [9.6] * 2, guessing=9.0).diverged() is None  # 3 of 5 may be chance
    found = guard([9.0] * 3 + [9.6] * 4, guessing=9.0).diverged()
    assert (found.median, found.guessing, found.left_at) == (9.6, 9.0, 4)
    assert guard([9.44] * 8, guessing=9.0).diverged() is None  # up to 5 % above
    assert guard([9.6] * 8).diverged() is None
    assert guard([9.6] * 8, guessing=9.0, diverged_factor=0).diverged() is None


def test_a_run_too_short_for_half_a_window_is_judged_at_its_last_step():
    short = guard([6.9, *[1e9] * 9], window=64, guessing=7.0)
    assert short.diverged() is None
    found = short.diverged(last=True)
    assert (found.median, found.guessing, found.left_at) == (1e9, 7.0, 2)
    recovered = guard([1e9] * 5 + [6.0] * 9, window=64, guessing=7.0)
    assert recovered.diverged(last=True) is None
    assert guard([6.9, 1e7, 1e9], window=64, guessing=7.0).diverged(last=True) is not None
    assert guard([6.9, 7.1, 7.2], window=64, guessing=7.0).diverged(last=True) is None
    assert guard([6.9, 1e9], window=64, guessing=7.0).diverged(last=True) is None  # too few
    assert guard([1e9] * 20, window=64).diverged(last=True) is None  # nothing to compare with


def test_a_short_run_ends_where_divergence_has_no_room():
    assert guard([5.0] * 5, window=100, diverged_factor=1.0).diverged(last=True) is None


def test_weights_are_in_doubt_some_steps_before_divergence():
    watched = guard([2.0] * 64, window=64)
    for step in range(65, 70):
        assert not watched.doubtful
        watched.add(step, 2.6)  # half-way to 3.0
    assert watched.doubtful
    assert watched.diverged() is None


@given(st.lists(st.floats(0.1, 20), max_size=60), st.integers(2, 20))
def test_a_replayed_guard_judges_as_the_one_that_saw_all(losses, window):
    one, other = guard(losses, window), guard(window=window)
    for step, loss in enumerate(losses, start=1):
        other.add(step, loss)
    assert one.look(99, 5.0, 1.0) == other.look(99, 5.0, 1.0)
    assert one.diverged() == other.diverged()
    assert one.doubtful == other.doubtful
