"""The law is found again in simulated ladders, and its intervals hold what they promise."""

from dataclasses import astuple

import numpy as np
import pytest
from scipy.optimize import minimize

from volano.core.errors import DataError
from volano.stats.scaling_law import HUBER, Law, Run, fit_law, largest_below, line_through_two

# Of the size of what small models of documentation give: 1.6 to 2.7 bits per byte.
TRUTH = Law(e=1.0, a=0.8 * 2e5**0.35, alpha=0.35, b=0.6 * 5e5**0.45, beta=0.45)
SIZES, BUDGETS = (0.13e6, 0.29e6, 0.68e6, 1.9e6), (0.25e6, 0.5e6, 1e6)
NEXT = (3.5e6, 2e6)


def ladder(noise, seed, sizes=SIZES, budgets=BUDGETS, seeds=1):
    draw = np.random.default_rng(seed)
    return [
        Run(size, budget, TRUTH.loss(size, budget) * np.exp(noise * draw.normal()))
        for size in sizes
        for budget in budgets
        for _ in range(seeds)
    ]


def test_without_noise_the_five_numbers_come_back():
    fit = fit_law(ladder(0.0, 0), seed=1, resamples=50)
    assert astuple(fit.law) == pytest.approx(astuple(TRUTH), rel=1e-3)
    assert fit.noise < 1e-6
    assert fit.weak == ()
    assert fit.predict(*NEXT, seed=1).value == pytest.approx(TRUTH.loss(*NEXT), rel=1e-5)


def test_with_little_noise_the_truth_lies_within_narrow_intervals():
    fit = fit_law(ladder(0.001, 3), seed=1)
    for name in ("e", "a", "alpha", "b", "beta"):
        found = fit.numbers[name]
        assert found.low <= getattr(TRUTH, name) <= found.high
    assert fit.numbers["alpha"].high - fit.numbers["alpha"].low < 0.1
    assert 0.0005 < fit.noise < 0.002  # of seven degrees of freedom


def test_the_minimum_is_that_of_hubers_loss_by_lbfgs_from_many_starts():
    runs = ladder(0.01, 5)
    fit = fit_law(runs, seed=1, resamples=10)
    observed = np.log([each.loss for each in runs])

    def errors(numbers):
        e, a, b, alpha, beta = numbers
        parts = [
            np.full(len(runs), e),
            a - alpha * np.log([each.parameters for each in runs]),
            b - beta * np.log([each.tokens for each in runs]),
        ]
        return np.abs(np.logaddexp.reduce(parts) - observed)

    def cost(numbers, turn):
        error = errors(numbers)
        return np.where(error <= turn, error**2 / 2, turn * (error - turn / 2)).sum()

    def least(turn):
        exact = {"ftol": 1e-15, "gtol": 1e-12, "maxiter": 20_000, "maxfun": 200_000}
        bounds = [(-9, 2), (-20, 60), (-20, 60), (0.01, 3), (0.01, 3)]
        starts = [[e, x * 12, x * 13, x, x] for e in (-1, 0, 0.5) for x in (0.2, 0.4, 0.8)]
        found = [
            minimize(cost, each, (turn,), "L-BFGS-B", bounds=bounds, options=exact)
            for each in starts
        ]
        return min(found, key=lambda each: each.fun)

    off = np.median(errors(least(1e9).x)) * np.sqrt(len(runs) / (len(runs) - 5))
    turn = HUBER * 1.4826 * off
    law = fit.law
    ours = [np.log(law.e), np.log(law.a), np.log(law.b), law.alpha, law.beta]
    assert cost(ours, turn) <= least(turn).fun * (1 + 1e-4)
    assert cost(ours, turn) < cost(least(1e9).x, turn)


def test_predictions_hold_the_next_run_about_as_often_as_they_say():
    inside = {0.95: 0, 0.5: 0}
    ladders = 60
    for each in range(ladders):
        fit = fit_law(ladder(0.005, each), seed=1, resamples=200)
        [got] = ladder(0.005, 10_000 + each, [NEXT[0]], [NEXT[1]])
        for confidence in inside:
            found = fit.predict(*NEXT, seed=1, confidence=confidence)
            inside[confidence] += found.low <= got.loss <= found.high
    # Three standard errors of a share of 60: 8 and 19 points.
    assert inside[0.95] / ladders >= 0.87
    assert 0.31 <= inside[0.5] / ladders <= 0.69


def test_the_interval_has_the_noise_of_one_run_in_it():
    runs = ladder(0.02, 1, np.geomspace(1e5, 4e6, 8), np.geomspace(1e5, 4e6, 8), seeds=3)
    fit = fit_law(runs, seed=1, resamples=500)
    found = fit.predict(6e5, 6e5, seed=1)  # where so many runs leave the law hardly any doubt
    assert np.log(found.high / found.low) == pytest.approx(2 * 1.96 * 0.02, rel=0.2)


def test_noise_that_hides_the_numbers_is_said_and_widens_the_prediction():
    clear, hidden = (fit_law(ladder(noise, 2), seed=1) for noise in (0.001, 0.03))
    assert clear.weak == ()
    assert {"e", "beta"} <= {*hidden.weak}
    narrow, wide = (each.predict(*NEXT, seed=1) for each in (clear, hidden))
    assert wide.high - wide.low > 5 * (narrow.high - narrow.low)


def test_one_run_that_went_wrong_moves_the_law_little():
    runs = ladder(0.002, 4, seeds=2)
    runs[9] = runs[9]._replace(loss=runs[9].loss * 1.1)
    off = abs(fit_law(runs, seed=1, resamples=10).law.loss(*NEXT) / TRUTH.loss(*NEXT) - 1)
    assert off < 0.01


def twist(runs, true):
    """Losses that the law has no word for: large models gain more from tokens, or less."""
    size, budget = (np.log(each).mean() for each in (SIZES, BUDGETS))
    return [
        run._replace(
            loss=run.loss
            * np.exp(true * (np.log(run.parameters) - size) * (np.log(run.tokens) - budget))
        )
        for run in runs
    ]


@pytest.mark.parametrize("true", [-0.03, 0.03])
def test_an_interaction_that_the_law_has_no_word_for_is_found(true):
    fit = fit_law(twist(ladder(0.002, 6), true), seed=1, resamples=10)
    found = fit.interaction
    assert found.low <= true <= found.high
    assert (found.low > 0) == (true > 0)
    assert (found.high < 0) == (true < 0)
    [got] = twist([Run(*NEXT, TRUTH.loss(*NEXT))], true)
    off, extended = (each.value / got.loss - 1 for each in (fit.predict(*NEXT, seed=1), mend(fit)))
    assert abs(off) > 0.04
    assert (off > 0) == (true < 0)
    assert abs(extended) < 0.02


def mend(fit, confidence=0.95):
    return fit.predict_with_interaction(*NEXT, confidence=confidence)


def test_predictions_with_interaction_hold_the_next_run_about_as_often_as_they_say():
    inside = {0.95: 0, 0.5: 0}
    for each in range(120):
        fit = fit_law(twist(ladder(0.005, each), -0.02), seed=1, resamples=2)
        [got] = twist(ladder(0.005, 10_000 + each, [NEXT[0]], [NEXT[1]]), -0.02)
        for confidence in inside:
            found = mend(fit, confidence)
            inside[confidence] += found.low <= got.loss <= found.high
    # Three standard errors of a share of 120: 6 and 14 points.
    assert inside[0.95] / 120 >= 0.89
    assert 0.36 <= inside[0.5] / 120 <= 0.64


def test_an_interaction_is_seldom_seen_where_there_is_none():
    fits = [fit_law(ladder(0.005, each), seed=1, resamples=2).interaction for each in range(80)]
    assert sum(not each.low <= 0 <= each.high for each in fits) <= 10  # 4 are expected


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        (ladder(0, 0, SIZES[:2]), "6 runs of 2 sizes and 3 budgets"),
        (ladder(0, 0, SIZES, BUDGETS[:2]), "8 runs of 4 sizes and 2 budgets"),
        (ladder(0, 0)[:6], "6 runs"),
        ([*ladder(0, 0), Run(1e6, 1e6, float("nan"))], "has a loss of nan"),
        ([*ladder(0, 0), Run(1e6, 0, 2.0)], "0 tokens"),
    ],
)
def test_runs_that_cannot_tell_five_numbers_apart_are_refused(runs, said):
    with pytest.raises(DataError, match=said):
        fit_law(runs, seed=1)


def test_the_baseline_goes_on_in_the_direction_of_what_is_asked():
    runs = [Run(n, d, 8 * n**-0.1 * d**-0.05) for n in (1e5, 2e5, 4e5) for d in (1e5, 2e5, 4e5)]
    # The last asks for fewer tokens than the longest run had: that one is then no help.
    for asked in ((8e5, 4e5), (8e5, 8e5), (4e5, 8e5), (8e5, 1e5)):
        exact = 8 * asked[0] ** -0.1 * asked[1] ** -0.05
        assert line_through_two(runs, *asked) == pytest.approx(exact)
    bent = [each._replace(loss=each.loss + 1) if each.tokens < 4e5 else each for each in runs]
    assert line_through_two(bent, 8e5, 4e5) == pytest.approx(8 * 8e5**-0.1 * 4e5**-0.05)


def test_the_largest_run_is_one_that_has_no_more_than_is_asked_for():
    runs = ladder(0, 0)
    assert largest_below(runs, *NEXT) == runs[-1]
    assert largest_below(runs, 3.5e6, 0.5e6)[:2] == (1.9e6, 0.5e6)
    assert largest_below(runs, 3.5e6, 0.1e6) == runs[-1]  # there is none


def test_the_baseline_takes_the_mean_of_seeds():
    two = [Run(1e5, 1e5, 4.0), Run(2e5, 2e5, 1.0), Run(2e5, 2e5, 4.0)]
    assert line_through_two(two, 4e5, 4e5) == pytest.approx(1.0)  # 4, 2, 1
