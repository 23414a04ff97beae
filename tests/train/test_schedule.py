import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volano.train.schedule import rate_factor


def factors(schedule, steps=100, warmup=0.1, decay=0.4):
    return [
        rate_factor(step, steps, schedule=schedule, warmup_fraction=warmup, decay_fraction=decay)
        for step in range(steps)
    ]


def test_wsd_warms_up_stays_and_falls_linearly_to_one_step_before_zero():
    made = factors("wsd")
    assert made[:3] == [0.1, 0.2, 0.3]
    assert made[9:61] == [1.0] * 52
    assert made[61] == pytest.approx(39 / 40)
    assert made[-1] == pytest.approx(1 / 40)


def test_cosine_falls_by_half_a_cosine():
    made = factors("cosine")
    assert made[9] == 1.0
    assert made[55] == pytest.approx(0.5)
    assert made[-1] == pytest.approx(0.5 - 0.5 * math.cos(math.pi / 90))


def test_constant_stays_after_warm_up():
    assert factors("constant")[9:] == [1.0] * 91


@given(
    schedule=st.sampled_from(["wsd", "cosine", "constant"]),
    steps=st.integers(1, 300),
    warmup=st.floats(0, 1),
    decay=st.floats(0, 1),
)
def test_every_step_of_any_run_learns_and_none_above_the_peak(schedule, steps, warmup, decay):
    assert all(0 < factor <= 1 for factor in factors(schedule, steps, warmup, decay))
