import numpy as np
import pytest
from scipy.optimize import minimize

from volano.core.errors import DataError
from volano.stats.intervals import wilson_interval
from volano.stats.win_rate import RIDGE, length_controlled_win_rate, win_rate


def test_tie_counts_half_and_the_interval_is_wilsons():
    assert win_rate([1, 1, 0.5, 0]) == wilson_interval(2.5, 4)


def simulated(n=400):
    random = np.random.default_rng(0)
    differences = random.normal(20, 30, n)
    wins = random.random(n) < 1 / (1 + np.exp(0.5 - 2 * np.tanh(differences / 36)))
    return wins.astype(float).tolist(), differences.tolist()


def test_fit_equals_scipys_minimum_of_the_same_penalised_likelihood():
    wins, differences = simulated()
    spread = np.sqrt(np.mean(np.square(differences)))
    x = np.append(np.tanh(np.array(differences) / spread), 0.0)
    y = np.append(wins, 0.5)

    def loss(parameters):
        logit = parameters[0] + parameters[1] * x
        likelihood = y * -np.logaddexp(0, -logit) + (1 - y) * -np.logaddexp(0, logit)
        return -likelihood.sum() + RIDGE * len(x) * parameters[1] ** 2 / 2

    theta = minimize(loss, [0.0, 0.0], tol=1e-12).x[0]
    found = length_controlled_win_rate(wins, differences, seed=0)
    assert found.value == pytest.approx(1 / (1 + np.exp(-theta)), abs=1e-5)
    assert found.low < found.value < found.high


def test_stage_that_wins_by_length_alone_is_brought_back_towards_even():
    # Longer answers win; equally long ones would win 38 % of the time (logit −0.5).
    wins, differences = simulated(4_000)
    assert np.mean(wins) > 0.55
    assert length_controlled_win_rate(wins, differences, seed=0).value < 0.47


def test_equal_lengths_leave_the_plain_rate():
    # 30 wins of 40, and half a win among the one pair that is added
    wins = [1.0] * 30 + [0.0] * 10
    assert length_controlled_win_rate(wins, [0.0] * 40, seed=0).value == pytest.approx(30.5 / 41)


def test_clean_sweep_is_finite_and_below_one():
    found = length_controlled_win_rate([1.0] * 50, [10.0, -10.0] * 25, seed=0)
    assert 0.9 < found.low <= found.value < 1


@pytest.mark.parametrize(("wins", "differences"), [([], []), ([1.0], [2.0]), ([1.0, 0.0], [1.0])])
def test_too_few_or_unpaired_outcomes_are_refused(wins, differences):
    with pytest.raises(DataError):
        length_controlled_win_rate(wins, differences, seed=0)
