"""What an ablation would take, and what it could show, before anything is made.

Minutes are of everything: data that are not there yet, training at the rate of as many trials at
once as would run, keeping and measuring each, and the trials for the signal. Rates are taken now,
by some steps of each size; what lies beside training is of bills in the store, or of a sample
(study/ablation_sample.py). What differences so many seeds can show follows from how far seeds lie
apart, as trials in the store tell.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heapreplace
from math import sqrt
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from volano.core.errors import VolanoError
from volano.core.store import Store
from volano.model.config import DecoderConfig
from volano.stats.seeds import visible_difference
from volano.study.ablation import Ablation
from volano.study.ablation_sample import Beside, measure_beside
from volano.study.ablation_step import measured_in
from volano.study.axes import Arm
from volano.study.spread import Chosen, Spread, choose, rate_alone, rate_together, warm_up
from volano.study.trial import BASE, DATA, Found, Trial, found_of, stages_of_trial
from volano.study.trial_workers import Workers

Rates = Mapping[DecoderConfig, float]  # tokens a second of one trial among others
ALONE, NOTHING = Spread(1, 1), Beside()


@dataclass(frozen=True)
class ArmPlan:
    """One arm: how many of its trials are there, and the seconds that training the others takes in
    a process of its own, beside those that run at the same time."""

    arm: Arm
    parameters: int
    tokens: int
    reused: int
    seconds: float
    seconds_a_trial: float  # were it made


@dataclass(frozen=True)
class Reckoned:
    """All arms, what lies beside their training, and the smallest difference to be seen per metric,
    where noise is known."""

    arms: list[ArmPlan]
    visible: dict[str, float]
    spread: Spread = ALONE
    beside: Beside = NOTHING
    beginning: float = 0.0  # seconds until workers are up and rates are measured
    trials: tuple[float, ...] = ()  # seconds of training of every trial that is left
    unknown: str = ""  # why what lies beside training is not known

    @property
    def seconds(self) -> float:
        """Of the whole."""
        each = [one + self.beside.keeping + self.beside.measuring for one in self.trials]
        return self.beside.data + self.beginning + makespan(each, self.spread.at_once)

    @property
    def training_seconds(self) -> float:
        """Of all training that is left."""
        return makespan(self.trials, self.spread.at_once)

    def said_of_minutes(self, duration: Callable[[float], str]) -> str:
        """How long it takes, and what."""
        if not self.trials:
            return "Nothing is left to train or to measure."
        parts = [f"training {duration(self.training_seconds)} ({self.spread.said()})"]
        if self.unknown:
            parts.append(f"data and measuring are not known: {self.unknown}")
            return f"At least {duration(self.seconds)}: {', '.join(parts)}"
        parts.insert(0, f"data {duration(self.beside.data)}")
        rest = self.seconds - self.training_seconds - self.beside.data
        parts.append(f"beginning, keeping and measuring {duration(rest)}")
        return f"All of it: {duration(self.seconds)}, by this machine now: {', '.join(parts)}."

    def said_of_noise(self) -> str:
        """What so many seeds can show."""
        if not self.visible:
            return (
                "How small a difference these seeds can show is known once trials are in the "
                "store: --pilot trains two seeds of the first arm, which the ablation takes over."
            )
        seen = ", ".join(f"{name} {value:.2g}" for name, value in self.visible.items())
        return f"The smallest difference that so many seeds show, four times of five: {seen}."

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "arms": [
                {
                    "arm": each.arm.name,
                    "size": each.arm.size,
                    "parameters": each.parameters,
                    "tokens": each.tokens,
                    "reused": each.reused,
                    "training_seconds": each.seconds,
                }
                for each in self.arms
            ],
            "at_once": self.spread.at_once,
            "threads": self.spread.threads,
            "data_seconds": self.beside.data,
            "training_seconds": self.training_seconds,
            "measuring_seconds": len(self.trials) * self.beside.measuring,
            "seconds": self.seconds,
            "unknown": self.unknown,
            "visible": self.visible,
        }


def makespan(seconds: Sequence[float], at_once: int) -> float:
    """When the last of these is done, if so many run at a time and each begins when one is free."""
    ends = [0.0] * max(1, at_once)
    heapify(ends)
    for each in seconds:
        heapreplace(ends, ends[0] + each)
    return max(ends)


def reckon(ablation: Ablation, store: Store) -> Reckoned:
    """The plan. Nothing is made that stays."""
    state = _State.of(ablation, store)
    most = max(each.flops_a_token for each in ablation.arms)
    untrained = [state.trials[place].arm for place in state.untrained]
    flops = sum(each.tokens * each.flops_a_token for each in untrained)
    chosen = choose(ablation.arms, len(state.left), flops / most, ablation.asked)
    try:
        by_shape = {each.shape: each for each in ablation.arms}
        rates = {shape: _rate(arm, chosen) for shape, arm in by_shape.items()}
    finally:
        chosen.close()
    beside, unknown = NOTHING, ""
    if state.left:
        try:
            beside = _beside(ablation, state)
        except VolanoError as problem:
            unknown = str(problem)
    return Reckoned(
        state.arms(ablation, rates),
        _visible(ablation, store),
        chosen.spread,
        beside,
        chosen.seconds,
        state.seconds(rates),
        unknown,
    )


def scaled(reckoned: Reckoned, after: Ablation, store: Store) -> Reckoned:
    """The plan of an ablation that was made smaller, or of which more is there by now, by the rates
    that were measured for it."""
    rates = {each.arm.shape: each.tokens / each.seconds_a_trial for each in reckoned.arms}
    state = _State.of(after, store)
    beside = reckoned.beside._replace(data=0.0) if state.has_data else reckoned.beside
    return replace(
        reckoned,
        arms=state.arms(after, rates),
        visible=_visible(after, store),
        beside=beside,
        trials=state.seconds(rates),
    )


class _State(NamedTuple):
    """What there is of every trial."""

    trials: list[Trial]
    found: list[Found]

    @classmethod
    def of(cls, ablation: Ablation, store: Store) -> "_State":
        trials = [*ablation.trials(), *ablation.signal_trials()]
        return cls(trials, [found_of(each, store, ablation.asked) for each in trials])

    @property
    def left(self) -> list[int]:
        return [place for place, each in enumerate(self.found) if each.missing]

    @property
    def untrained(self) -> list[int]:
        return [place for place in self.left if BASE not in self.found[place].present]

    @property
    def has_data(self) -> bool:
        return not any(set(DATA).intersection(each.missing) for each in self.found)

    def seconds(self, rates: Rates) -> tuple[float, ...]:
        """Of training, of each that is left."""
        untrained = set(self.untrained)
        return tuple(
            self.trials[p].arm.tokens / rates[self.trials[p].arm.shape] if p in untrained else 0.0
            for p in self.left
        )

    def arms(self, ablation: Ablation, rates: Rates) -> list[ArmPlan]:
        plans = []
        for arm in ablation.arms:
            there = [
                BASE in found.present
                for trial, found in zip(self.trials, self.found, strict=True)
                if trial.arm is arm
            ]
            one = arm.tokens / rates[arm.shape]
            missing = (len(there) - sum(there)) * one
            parameters = arm.shape.parameters
            plans.append(ArmPlan(arm, parameters, arm.tokens, sum(there), missing, one))
        return plans


def _rate(arm: Arm, chosen: Chosen) -> float:
    """Tokens a second of one trial among those that run at the same time."""
    spread = chosen.spread
    if spread in chosen.rates and arm.shape == chosen.shape:
        return chosen.rates[spread] / spread.at_once
    if spread.at_once == 1:
        return rate_alone(arm, spread)
    if chosen.workers is None:
        chosen.workers = Workers(spread.at_once, spread.threads)
        chosen.seconds += warm_up(chosen.workers)
    return rate_together(arm, spread, chosen.workers) / spread.at_once


def _beside(ablation: Ablation, state: _State) -> Beside:
    """By bills where all data and a trial are there, else by samples."""
    _, measuring = stages_of_trial(state.trials[0].recipe, ablation.asked)
    done = [each.present for each in state.found if not each.missing]
    if done and state.has_data:
        bills = [each[BASE].bill() for each in done]
        return Beside(
            0.0,
            median(float(b["seconds"]) - float(b["training_seconds"]) for b in bills),
            median(sum(float(each[m].bill()["seconds"]) for m in measuring) for each in done),
        )
    sampled = measure_beside(ablation.arms, ablation.asked)
    return sampled._replace(data=0.0) if state.has_data else sampled


def _visible(ablation: Ablation, store: Store) -> dict[str, float]:
    """From trials of this recipe that differ in their seed alone: others have another noise."""
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    artifacts = store.artifacts()
    by_digest = {each.digest: each for each in artifacts}
    _, measuring = stages_of_trial(ablation.trials()[0].recipe, ablation.asked)
    names = {f"{ablation.name}/{each}" for each in measuring}
    for artifact in artifacts:
        if artifact.name not in names:
            continue
        base = by_digest.get(artifact.parents[BASE]["digest"])
        if base is None:
            continue
        identity = base.meta["identity"]
        kin = f"{sorted(identity['settings'].items())}{sorted(identity['parents'].items())}"
        for name, figure in measured_in([artifact]):
            groups[name, kin].append(figure.value)
    squares: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for (metric, _), values in groups.items():
        if len(values) > 1:
            squares[metric].append((float(np.var(values, ddof=1)), len(values) - 1))
    tests = len(squares) * max(1, len(ablation.arms) - 1)
    found = {}
    for metric, pooled in sorted(squares.items()):
        freedom = sum(each for _, each in pooled)
        variance = sum(value * each for value, each in pooled) / freedom
        # Of the difference of two arms; what a shared seed takes away from it is not known yet.
        deviation = sqrt(2 * variance)
        found[metric] = visible_difference(deviation, len(ablation.seeds), tests=tests)
    return found
