"""How often one answer beats another, and how often it would if both were equally long."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from volano.core.errors import DataError
from volano.stats.intervals import Interval, wilson_interval

Array = npt.NDArray[Any]
RESAMPLES = 1_000
NEWTON_STEPS = 12
RIDGE = 0.05  # on the length's coefficient, per pair: keeps it finite where length decides all


def win_rate(outcomes: Sequence[float], *, confidence: float = 0.95) -> Interval:
    """Mean outcome: 1 for a win, 0 for a loss, 1/2 for a tie or for a mean over repetitions.

    The interval is Wilson's with the summed outcomes as successes, too wide rather than too narrow
    where ties or repetitions make outcomes vary less than coins. Raises DataError for none.
    """
    return wilson_interval(sum(outcomes), len(outcomes), confidence=confidence)


def length_controlled_win_rate(
    outcomes: Sequence[float],
    length_differences: Sequence[float],
    *,
    seed: int,
    confidence: float = 0.95,
) -> Interval:
    """The win rate that a logistic model predicts for two answers of the same length.

    P(win) = σ(θ + φ · tanh(difference / its standard deviation)), so the value is σ(θ). Half a win
    and half a loss at no difference are added, so that a clean sweep has a finite θ. The interval
    is the percentile bootstrap over pairs. After Dubois et al. 2024 (AlpacaEval 2), without
    their term for the instruction's difficulty. Raises DataError if there are no pairs.
    """
    n = len(outcomes)
    if n != len(length_differences) or n < 2:
        what = f"{n} outcomes beside {len(length_differences)} differences of length"
        raise DataError(what, "win rate", "Compare at least two pairs of answers.")
    differences = np.asarray(length_differences, np.float64)
    spread = float(np.sqrt(np.mean(differences**2)))
    slopes = np.append(np.tanh(differences / spread) if spread else np.zeros(n), 0.0)
    wins = np.append(np.asarray(outcomes, np.float64), 0.5)
    random = np.random.default_rng(seed)
    counts = random.multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    weights = np.hstack([counts, np.ones((RESAMPLES, 1), np.int64)]).astype(np.float64)
    value = _even_length_rate(np.ones((1, n + 1)), slopes, wins)[0]
    tail_percent = 50 * (1 - confidence)
    rates = _even_length_rate(weights, slopes, wins)
    low, high = np.percentile(rates, [tail_percent, 100 - tail_percent])
    return Interval(float(value), float(low), float(high), n)


def _even_length_rate(weights_RN: Array, slopes_N: Array, wins_N: Array) -> Array:
    """σ(θ) of the weighted fit, for each of R weightings of N pairs at once, by Newton's method."""
    theta, phi = np.zeros((2, len(weights_RN), 1))
    ridge = RIDGE * weights_RN.sum(axis=1, keepdims=True)
    for _ in range(NEWTON_STEPS):
        rate = _sigmoid(theta + phi * slopes_N)
        residual, curve = weights_RN * (wins_N - rate), weights_RN * rate * (1 - rate)
        g0 = residual.sum(axis=1, keepdims=True)
        g1 = (residual * slopes_N).sum(axis=1, keepdims=True) - ridge * phi
        h00 = curve.sum(axis=1, keepdims=True)
        h01 = (curve * slopes_N).sum(axis=1, keepdims=True)
        h11 = (curve * slopes_N**2).sum(axis=1, keepdims=True) + ridge
        determinant = h00 * h11 - h01**2
        # Steps of at most 1 on the logit: a full step overshoots where nearly all pairs are wins.
        theta += np.clip((h11 * g0 - h01 * g1) / determinant, -1, 1)
        phi += np.clip((h00 * g1 - h01 * g0) / determinant, -1, 1)
    return _sigmoid(theta[:, 0])


def _sigmoid(x: Array) -> Array:
    result: Array = 0.5 * (1 + np.tanh(x / 2))
    return result
