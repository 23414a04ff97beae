"""A scaling law from a few training runs: loss = E + A / N^α + B / D^β, and how far to trust it.

N counts parameters, D tokens; E is what no model and no data would take away. Small runs say what a
larger one will lose before it is trained, if they are many and different enough to tell the five
numbers apart: three sizes and three budgets of tokens, and more runs than numbers.

The squared error of the logarithm is minimised, errors far beyond the usual counted by Huber's
loss, from a grid of starts (approach 3 of Hoffmann et al. 2022, Chinchilla), by damped Gauss-Newton
steps on all starts at once: their optimiser stopped early, and their intervals came out far too
narrow (Besiroglu et al. 2024). Their Huber loss turns linear at 0.001, about the noise of their
runs; with twelve runs of small models that would be the least absolute error, whose curve goes
exactly through five of them. Here it turns at 1.345 standard deviations of what is left over.

Shapes: S starts or resamples, R runs, P = 5 numbers, Q = 6 with the interaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from volano.core.errors import DataError
from volano.stats.intervals import Interval

Array = npt.NDArray[Any]
NUMBERS = 5
LEAST_RUNS = NUMBERS + 2  # two beyond, or nothing is left over to tell the noise by
LEAST_KINDS = 3  # of sizes and of budgets: a constant, a factor and an exponent each way
RESAMPLES = 2_000
HUBER = 1.345  # 95 % of the efficiency of least squares under normal noise. Source: Huber 1981
MEDIAN_TO_DEVIATION = 1.4826  # of normal noise; a run that went wrong does not move the median
STEPS = 60  # of Gauss-Newton; most starts have settled after a dozen
EXPONENTS = (0.01, 3.0)  # bounds; those that were published lie between 0.05 and 0.8
STARTS = (0.1, 0.3, 0.6, 1.2)  # exponents
SHARES = (0.05, 0.4, 0.8)  # of the least loss that is E at a start
SETTLED = 1e-8  # share of the cost that a last step takes off
MOST_DAMPING = 1e5
LEAST_SHARE = 1e-4  # of the least loss that a part of it may be


class Run(NamedTuple):
    """A finished training run."""

    parameters: float
    tokens: float
    loss: float


@dataclass(frozen=True)
class Law:
    """loss = e + a / parameters^alpha + b / tokens^beta, in the unit of the losses."""

    e: float
    a: float
    alpha: float
    b: float
    beta: float

    def loss(self, parameters: float, tokens: float) -> float:
        """What it expects of a run."""
        return float(self.e + self.a * parameters**-self.alpha + self.b * tokens**-self.beta)


@dataclass(frozen=True)
class Fit:
    """The law with 95 % intervals of its numbers by name (e, a, alpha, b, beta).

    `noise` is the standard deviation of a run about the law, as a share of its loss: seed and what
    the law cannot say together.
    """

    law: Law
    numbers: dict[str, Interval]
    noise: float
    extended: "_Extended"
    drawn_SP: Array  # numbers of the resamples, as _Scaled has them
    spread_S: Array  # by which each resample's noise is larger than `noise`
    left_over_R: Array  # log loss of each run less that of the law, widened to `noise`
    scaled: "_Scaled"

    def predict(
        self, parameters: float, tokens: float, *, seed: int, confidence: float = 0.95
    ) -> Interval:
        """The loss of one more run, with the interval that it should fall into: the law's own
        uncertainty and the noise of a single run. `n` counts the runs that were fitted."""
        draw = np.random.default_rng(seed)
        noise_S = draw.choice(self.left_over_R, len(self.drawn_SP)) * self.spread_S
        log_loss_S = self.scaled.log_losses(self.drawn_SP, parameters, tokens) + noise_S
        low, high = np.exp(_quantiles(log_loss_S, confidence))
        value = self.law.loss(parameters, tokens)
        runs = len(self.left_over_R)
        return Interval(value, min(float(low), value), max(float(high), value), runs)

    @property
    def interaction(self) -> Interval:
        """What the law has no word for: how much lower (negative) or higher the log loss is where
        size and tokens are both e times larger, or both e times smaller, than the mean run.

        Where the interval leaves out 0 the misfit is no chance, and a prediction by the law beyond
        both ranges is off to that side: take `predict_with_interaction`.
        """
        return self.extended.interaction()

    def predict_with_interaction(
        self, parameters: float, tokens: float, *, confidence: float = 0.95
    ) -> Interval:
        """As `predict`, by the law and its interaction as a sixth number: one linear step from the
        law (least squares), with the interval that Student's t gives there."""
        return self.extended.predict(parameters, tokens, confidence)

    @property
    def weak(self) -> tuple[str, ...]:
        """Which of e, alpha and beta the runs hardly tell: the interval is wider than the number.

        A prediction near the runs may be good all the same; one far beyond them rests on these.
        """
        return tuple(
            name
            for name in ("e", "alpha", "beta")
            if self.numbers[name].high - self.numbers[name].low > self.numbers[name].value
        )


def fit_law(runs: Sequence[Run], *, seed: int, resamples: int = RESAMPLES) -> Fit:
    """The law that the runs follow. Raises DataError where they cannot tell its numbers apart.

    Intervals are of a bootstrap of what is left over, drawn anew for each run and widened for the
    five numbers that were fitted; how large the noise is, a few runs tell badly, so each resample
    draws that too, as Student's t does. Runs themselves are not drawn: some resamples would hold
    too few sizes.
    """
    check_runs(runs)
    scaled = _Scaled.of(runs)
    log_loss_R = np.log([each.loss for each in runs])
    plain_SP, cost_S = _minimise(scaled, _starts(scaled, runs), log_loss_R, np.inf)
    plain_P = plain_SP[np.argmin(cost_S)]
    degrees = len(runs) - NUMBERS
    off_R = np.abs(log_loss_R - scaled.predict(plain_P[None])[0]) * np.sqrt(len(runs) / degrees)
    turn = max(HUBER * MEDIAN_TO_DEVIATION * float(np.median(off_R)), 1e-9)
    robust_SP, cost_S = _minimise(scaled, plain_SP, log_loss_R, turn)
    best_P = robust_SP[np.argmin(cost_S)]
    fitted_R = scaled.predict(best_P[None])[0]
    left_over_R = (log_loss_R - fitted_R) * np.sqrt(len(runs) / degrees)
    left_over_R -= left_over_R.mean()
    draw = np.random.default_rng(seed)
    spread_S = np.sqrt(degrees / draw.chisquare(degrees, resamples))
    noise_SR = draw.choice(left_over_R, (resamples, len(runs))) * spread_S[:, None]
    drawn_SP, _ = _minimise(
        scaled, np.repeat(best_P[None], resamples, 0), fitted_R + noise_SR, turn * spread_S[:, None]
    )
    law = scaled.law(best_P)
    laws = [scaled.law(each_P) for each_P in drawn_SP]
    numbers = {}
    for name in ("e", "a", "alpha", "b", "beta"):
        value = float(getattr(law, name))
        low, high = _quantiles(np.array([getattr(each, name) for each in laws]), 0.95)
        numbers[name] = Interval(value, min(low, value), max(high, value), len(runs))
    noise = float(np.sqrt((left_over_R**2).mean()))
    extended = _Extended.of(scaled, best_P, log_loss_R)
    return Fit(law, numbers, noise, extended, drawn_SP, spread_S, left_over_R, scaled)


def check_runs(runs: Sequence[Run]) -> None:
    """Raise DataError where so few or so like runs cannot tell five numbers apart."""
    for each in runs:
        if not (each.parameters > 0 and each.tokens > 0 and 0 < each.loss < np.inf):
            raise DataError(
                f"a run of {each.parameters:,.0f} parameters and {each.tokens:,.0f} tokens has a "
                f"loss of {each.loss}",
                "scaling law",
                "All three are finite numbers above 0; leave the run out.",
            )
    check_grid([(each.parameters, each.tokens) for each in runs])


def check_grid(grid: Sequence[tuple[float, float]]) -> None:
    """The same of (parameters, tokens) alone, before anything is trained."""
    sizes, budgets = len({each[0] for each in grid}), len({each[1] for each in grid})
    if len(grid) < LEAST_RUNS or min(sizes, budgets) < LEAST_KINDS:
        raise DataError(
            f"{len(grid)} runs of {sizes} sizes and {budgets} budgets of tokens cannot tell the "
            "five numbers of E + A/N^α + B/D^β apart",
            "scaling law",
            f"Give at least {LEAST_KINDS} sizes, {LEAST_KINDS} budgets and {LEAST_RUNS} runs.",
        )


def largest_below(runs: Sequence[Run], parameters: float, tokens: float) -> Run:
    """The run of most parameters × tokens among those with no more of either than is asked for;
    among all, where there are not two such. Its loss is what one would say who knows of no law."""
    return max(_below(runs, parameters, tokens), key=lambda each: each.parameters * each.tokens)


def line_through_two(runs: Sequence[Run], parameters: float, tokens: float) -> float:
    """What two runs say without a law: a straight line, all in logarithms, through `largest_below`
    and the run that lies most nearly behind it on the way to what is asked for, the nearer of two.
    Runs of one size and budget count as their mean."""
    cells: dict[tuple[float, float], list[float]] = {}
    for each in _below(runs, parameters, tokens):
        cells.setdefault((each.parameters, each.tokens), []).append(float(np.log(each.loss)))
    points = [(np.log(np.array(key)), float(np.mean(value))) for key, value in cells.items()]
    largest, its_loss = max(points, key=lambda each: float(each[0].sum()))
    ahead = np.log([parameters, tokens]) - largest
    length = float(np.linalg.norm(ahead))
    if length == 0:
        return float(np.exp(its_loss))

    def behind(point: tuple[Array, float]) -> tuple[float, float]:
        back = largest - point[0]
        away = float(np.linalg.norm(back))
        return (round(float(back @ ahead) / (away * length), 6), -away)

    second, other_loss = max((each for each in points if np.any(each[0] != largest)), key=behind)
    slope = (its_loss - other_loss) / float(np.linalg.norm(largest - second))
    return float(np.exp(its_loss + slope * length))


def _below(runs: Sequence[Run], parameters: float, tokens: float) -> Sequence[Run]:
    found = [each for each in runs if each.parameters <= parameters and each.tokens <= tokens]
    kinds = {(each.parameters, each.tokens) for each in found}
    return found if len(kinds) > 1 else runs


@dataclass(frozen=True)
class _Scaled:
    """The runs' logarithms about their means: there A and α, B and β are nearly independent.

    Numbers P: ln E, ln of A's part at the mean size, ln of B's part at the mean budget, α, β.
    """

    size_R: Array
    budget_R: Array
    mean_size: float
    mean_budget: float
    least: float  # bound below for the logarithm of each of the three parts
    most: float

    @classmethod
    def of(cls, runs: Sequence[Run]) -> "_Scaled":
        size_R, budget_R = (
            np.log([each.parameters for each in runs]),
            np.log([each.tokens for each in runs]),
        )
        losses = [each.loss for each in runs]
        return cls(
            size_R - size_R.mean(),
            budget_R - budget_R.mean(),
            float(size_R.mean()),
            float(budget_R.mean()),
            float(np.log(min(losses) * LEAST_SHARE)),
            float(np.log(max(losses)) + 2),
        )

    def parts(self, numbers_SP: Array, size_R: Array, budget_R: Array) -> tuple[Array, Array]:
        """Log loss, shape SR, and the share of each of the three parts in it, shape SR3."""
        e_S1, a_S1, b_S1, alpha_S1, beta_S1 = numbers_SP.T[:, :, None]
        logs = np.stack(
            np.broadcast_arrays(
                e_S1 + 0 * size_R, a_S1 - alpha_S1 * size_R, b_S1 - beta_S1 * budget_R
            ),
            axis=-1,
        )
        top_SR1 = logs.max(-1, keepdims=True)
        parts_SR3 = np.exp(logs - top_SR1)
        whole_SR1 = parts_SR3.sum(-1, keepdims=True)
        return (top_SR1 + np.log(whole_SR1))[..., 0], parts_SR3 / whole_SR1

    def predict(self, numbers_SP: Array) -> Array:
        """Log losses of the runs, shape SR."""
        return self.parts(numbers_SP, self.size_R, self.budget_R)[0]

    def log_losses(self, numbers_SP: Array, parameters: float, tokens: float) -> Array:
        """Log loss of another run by each of the laws, shape S."""
        size_R = np.array([np.log(parameters) - self.mean_size])
        budget_R = np.array([np.log(tokens) - self.mean_budget])
        return self.parts(numbers_SP, size_R, budget_R)[0][:, 0]

    def clipped(self, numbers_SP: Array) -> Array:
        """The numbers within their bounds."""
        low = np.array([self.least] * 3 + [EXPONENTS[0]] * 2)
        high = np.array([self.most] * 3 + [EXPONENTS[1]] * 2)
        return np.clip(numbers_SP, low, high)

    def law(self, numbers_P: Array) -> Law:
        """In the units of parameters, tokens and loss."""
        e, a, b, alpha, beta = map(float, numbers_P)
        factor_a, factor_b = a + alpha * self.mean_size, b + beta * self.mean_budget
        return Law(float(np.exp(e)), float(np.exp(factor_a)), alpha, float(np.exp(factor_b)), beta)


@dataclass(frozen=True)
class _Extended:
    """The law about its own numbers, where it is a plane, and size × budget as a sixth column Q."""

    scaled: _Scaled
    numbers_P: Array
    off_R: Array  # log losses less those of the law
    inverse_QR: Array  # pseudo-inverse of the columns

    @classmethod
    def of(cls, scaled: _Scaled, numbers_P: Array, log_loss_R: Array) -> "_Extended":
        log_R, columns_RQ = cls._at(scaled, numbers_P, scaled.size_R, scaled.budget_R)
        return cls(scaled, numbers_P, log_loss_R - log_R, np.linalg.pinv(columns_RQ))

    @staticmethod
    def _at(
        scaled: _Scaled, numbers_P: Array, size_R: Array, budget_R: Array
    ) -> tuple[Array, Array]:
        log_SR, shares_SR3 = scaled.parts(numbers_P[None], size_R, budget_R)
        slope_RP = _slopes(shares_SR3, size_R, budget_R)[0]
        return log_SR[0], np.concatenate([slope_RP, (size_R * budget_R)[:, None]], axis=1)

    def _noise(self) -> tuple[float, int]:
        _, columns_RQ = self._at(
            self.scaled, self.numbers_P, self.scaled.size_R, self.scaled.budget_R
        )
        left_R = self.off_R - columns_RQ @ (self.inverse_QR @ self.off_R)
        degrees = len(left_R) - NUMBERS - 1
        return float(np.sqrt((left_R**2).sum() / degrees)), degrees

    def interaction(self) -> Interval:
        """The sixth number, with its 95 % interval."""
        value = float(self.inverse_QR[-1] @ self.off_R)
        noise, degrees = self._noise()
        half = _student(0.95, degrees) * noise * float(np.linalg.norm(self.inverse_QR[-1]))
        return Interval(value, value - half, value + half, len(self.off_R))

    def predict(self, parameters: float, tokens: float, confidence: float) -> Interval:
        """The loss of one more run."""
        size_R = np.array([np.log(parameters) - self.scaled.mean_size])
        budget_R = np.array([np.log(tokens) - self.scaled.mean_budget])
        log_R, columns_RQ = self._at(self.scaled, self.numbers_P, size_R, budget_R)
        of_runs_R = columns_RQ[0] @ self.inverse_QR
        value = float(log_R[0] + of_runs_R @ self.off_R)
        noise, degrees = self._noise()
        half = _student(confidence, degrees) * noise * float(np.hypot(1, np.linalg.norm(of_runs_R)))
        low, middle, high = np.exp([value - half, value, value + half])
        return Interval(float(middle), float(low), float(high), len(self.off_R))


def _student(confidence: float, degrees: int) -> float:
    return float(stats.t.ppf((1 + confidence) / 2, degrees))


def _starts(scaled: _Scaled, runs: Sequence[Run]) -> Array:
    least, mean = min(each.loss for each in runs), float(np.mean([each.loss for each in runs]))
    found = []
    for share, split, alpha, beta in product(SHARES, (0.3, 0.7), STARTS, STARTS):
        rest = mean - share * least
        parts = np.log([share * least, split * rest, (1 - split) * rest])
        found.append([*parts, alpha, beta])
    return np.array(found)


def _minimise(
    scaled: _Scaled, start_SP: Array, log_loss_R: Array, turn: float | Array
) -> tuple[Array, Array]:
    """The numbers that each start comes to, and their cost: Huber's loss, squared where |error| is
    below `turn`. `log_loss_R` may differ by start, shape SR, and `turn` too, shape S1.

    Levenberg-Marquardt: a step that does not lower the cost is not taken, and damps the next. A
    start that has settled is left alone.
    """
    numbers_SP = scaled.clipped(start_SP)
    starts = len(numbers_SP)
    wanted_SR = np.broadcast_to(log_loss_R, (starts, len(scaled.size_R)))
    turn_S1 = np.broadcast_to(turn, (starts, 1))
    damping_S = np.full(starts, 1e-2)
    cost_S = _cost(scaled.predict(numbers_SP) - wanted_SR, turn_S1)
    moving = np.arange(starts)
    for _ in range(STEPS):
        now_SP, damping, cost = numbers_SP[moving], damping_S[moving], cost_S[moving]
        tried_SP = scaled.clipped(
            now_SP - _step(scaled, now_SP, wanted_SR[moving], turn_S1[moving], damping)
        )
        tried = _cost(scaled.predict(tried_SP) - wanted_SR[moving], turn_S1[moving])
        better = tried < cost
        numbers_SP[moving] = np.where(better[:, None], tried_SP, now_SP)
        cost_S[moving] = np.where(better, tried, cost)
        damping_S[moving] = np.where(better, damping / 5, damping * 4)
        done = np.where(better, cost - tried <= SETTLED * cost, damping > MOST_DAMPING)
        moving = moving[~done]
        if not len(moving):
            break
    return numbers_SP, cost_S


def _step(
    scaled: _Scaled, numbers_SP: Array, wanted_SR: Array, turn_S1: Array, damping_S: Array
) -> Array:
    log_SR, shares_SR3 = scaled.parts(numbers_SP, scaled.size_R, scaled.budget_R)
    error_SR = log_SR - wanted_SR
    weight_SR = np.minimum(1.0, turn_S1 / np.maximum(np.abs(error_SR), 1e-300))
    slope_SRP = _slopes(shares_SR3, scaled.size_R, scaled.budget_R)
    weighted_SPR = (slope_SRP * weight_SR[..., None]).transpose(0, 2, 1)
    square_SPP = weighted_SPR @ slope_SRP
    gradient_SP1 = weighted_SPR @ error_SR[..., None]
    damped_SP = (np.einsum("spp->sp", square_SPP) + 1e-9) * damping_S[:, None]
    step_SP1 = np.linalg.solve(square_SPP + np.eye(NUMBERS) * damped_SP[:, None], gradient_SP1)
    step_SP: Array = step_SP1[..., 0]
    return step_SP


def _slopes(shares_SR3: Array, size_R: Array, budget_R: Array) -> Array:
    """Of the log losses by the numbers, shape SRP."""
    by_alpha_SR = -shares_SR3[..., 1] * size_R
    by_beta_SR = -shares_SR3[..., 2] * budget_R
    return np.concatenate([shares_SR3, by_alpha_SR[..., None], by_beta_SR[..., None]], axis=-1)


def _cost(error_SR: Array, turn_S1: Array) -> Array:
    size_SR = np.abs(error_SR)
    squared_SR = np.minimum(size_SR, turn_S1)  # least squares where the turn is infinite
    cost_S: Array = (squared_SR * (size_SR - squared_SR / 2)).sum(-1)
    return cost_S


def _quantiles(values: Array, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
