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

from volano.core.artifact import Artifact
from volano.core.errors import DataError
from volano.core.files import json_digest
from volano.core.store import Store
from volano.model.config import DecoderConfig
from volano.stats.seeds import visible_difference
from volano.study.ablation import Ablation, read_so_often
from volano.study.ablation_behind import base_key, billed_per_epoch, seconds_behind
from volano.study.ablation_sample import Beside, TooLarge, measure_beside
from volano.study.ablation_step import measured_in
from volano.study.axes import Arm
from volano.study.common_held_out import known_common
from volano.study.spread import Chosen, Spread, choose, rate_alone, rate_together, warm_up
from volano.study.trial import BASE, DATA, Found, Trial, found_of, stages_of_trial
from volano.study.trial_threads import threads_there, usual
from volano.study.trial_workers import Workers
from volano.text.stream import TokenShards

Rates = Mapping[DecoderConfig, float]  # tokens a second of one trial among others
ALONE, NOTHING = Spread(1, 1), Beside()
TOKENS = "tokens"  # the stage that packs


@dataclass(frozen=True)
class ArmPlan:
    """One arm: how many of its trials are there, and the seconds that training the others takes in
    a process of its own, beside those that run at the same time. Arms may share base models; the
    first of them has their seconds."""

    arm: Arm
    parameters: int  # of the base model that is trained, and so are the tokens
    tokens: int
    reused: int
    seconds: float
    base_seconds: float  # of training one base model
    behind: Mapping[str, float]  # stage → seconds of it, in each trial


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
    note: str = ""  # what else the plan rests on

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
        if self.unknown and not self.training_seconds:
            return f"How long it takes is not known: {self.unknown}"
        parts = [f"training {duration(self.training_seconds)} ({self.spread.said()})"]
        if self.unknown:
            parts.append(f"data and measuring are not known: {self.unknown}")
            return f"At least {duration(self.seconds)}: {', '.join(parts)}"
        parts.insert(0, f"data {duration(self.beside.data)}")
        rest = self.seconds - self.training_seconds - self.beside.data
        parts.append(f"beginning, keeping and measuring {duration(rest)}")
        said = f"All of it: {duration(self.seconds)}, by this machine now: {', '.join(parts)}."
        return f"{said} {self.note}".rstrip()

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


def reckon(
    ablation: Ablation,
    store: Store,
    told: Callable[[str], None] = lambda line: None,
    *,
    silent: bool = False,
) -> Reckoned:
    """The plan. Nothing is made that stays. `told` hears what is timed, before it is."""
    ablation, note = _with_known_text(ablation, store)
    state = _State.of(ablation, store)
    if state.left and ablation.arms[0].trains_base:
        told("Timing some steps of training, to see how many trials at a time are fastest …")
    threads = usual(threads_there(state.found, store))
    chosen = choose(
        ablation.arms, len(state.left), state.tokens_left(), ablation.asked, threads=threads
    )
    try:
        by_shape = {each.shape: each for each in ablation.arms if each.trains_base}
        rates = {shape: _rate(arm, chosen) for shape, arm in by_shape.items()}
    finally:
        chosen.close()
    beside, unknown = NOTHING, ""
    if state.left:
        try:
            beside = _beside(ablation, state, told, silent)
        except (TooLarge, NoTrial) as problem:
            unknown = str(problem)
    arms, trials = state.seconds(ablation, rates, beside)
    visible = _visible(ablation, store)
    return Reckoned(arms, visible, chosen.spread, beside, chosen.seconds, trials, unknown, note)


def scaled(reckoned: Reckoned, after: Ablation, store: Store) -> Reckoned:
    """The plan of an ablation that was made smaller, or of which more is there by now, by the rates
    that were measured for it."""
    after, _ = _with_known_text(after, store)
    trained = [each for each in reckoned.arms if each.arm.trains_base]
    rates = {each.arm.shape: each.tokens / each.base_seconds for each in trained}
    state, unknown, beside = _State.of(after, store), reckoned.unknown, reckoned.beside
    if unknown and state.has_bills:
        unknown, beside = "", _beside(after, state)
    beside = beside._replace(data=0.0) if state.has_data else beside
    arms, trials = state.seconds(after, rates, beside)
    visible = _visible(after, store)
    return replace(
        reckoned, arms=arms, visible=visible, beside=beside, trials=trials, unknown=unknown
    )


class _State(NamedTuple):
    """What there is of every trial."""

    trials: list[Trial]
    found: list[Found]

    @classmethod
    def of(cls, ablation: Ablation, store: Store) -> "_State":
        trials = [*ablation.trials(), *ablation.signal_trials()]
        found = [found_of(each, store, ablation.asked) for each in trials]
        common = known_common([each.present for each in found], store, ablation.name)
        if common:
            found = [found_of(each, store, ablation.asked, common) for each in trials]
        return cls(trials, found)

    @property
    def left(self) -> list[int]:
        return [place for place, each in enumerate(self.found) if each.missing]

    @property
    def untrained(self) -> dict[str, int]:
        """Key of each base model that is not there → the first trial that trains it."""
        left = [place for place in self.left if BASE not in self.found[place].present]
        return {base_key(self.trials[place]): place for place in reversed(left)}

    def tokens_left(self) -> float:
        """Of the most costly shape, as many FLOPs as are left to train."""
        arms = [self.trials[place].arm for place in self.untrained.values()]
        costs = [each.flops_a_token for each in arms if each.trains_base]
        flops = sum(each.tokens * each.flops_a_token for each in arms if each.trains_base)
        return flops / max(costs) if costs else 0.0

    @property
    def has_data(self) -> bool:
        return not any(set(DATA).intersection(each.missing) for each in self.found)

    @property
    def has_bills(self) -> bool:
        """Whether all data are there, and a whole trial."""
        return self.has_data and len(self.left) < len(self.trials)

    def seconds(
        self, ablation: Ablation, rates: Rates, beside: Beside
    ) -> tuple[list[ArmPlan], tuple[float, ...]]:
        """The arms, and the seconds of training of each trial that is left."""
        of_arm = {
            each.label: seconds_behind(each, ablation.asked, beside.behind)
            for each in ablation.arms
        }
        untrained, found = set(self.untrained.values()), {}
        for place in self.left:
            trial, missing = self.trials[place], self.found[place].missing
            base = _base_seconds(trial.arm, rates) if place in untrained else 0.0
            behind = of_arm[trial.arm.label]
            found[place] = base + sum(each for name, each in behind.items() if name in missing)
        plans = []
        for arm in ablation.arms:
            mine = [place for place, trial in enumerate(self.trials) if trial.arm is arm]
            there = sum(BASE in self.found[place].present for place in mine)
            if not arm.trains_base:
                there = sum(not self.found[place].missing for place in mine)
            parameters = arm.shape.parameters if arm.trains_base else 0
            seconds = sum(found.get(place, 0.0) for place in mine)
            one, behind = _base_seconds(arm, rates), of_arm[arm.label]
            plans.append(ArmPlan(arm, parameters, arm.tokens, there, seconds, one, behind))
        return plans, tuple(found.values())


def _base_seconds(arm: Arm, rates: Rates) -> float:
    return arm.tokens / rates[arm.shape] if arm.trains_base else 0.0


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


class NoTrial(DataError):
    """What trials take is known once there is one."""


def _beside(
    ablation: Ablation,
    state: _State,
    told: Callable[[str], None] = lambda line: None,
    silent: bool = False,
) -> Beside:
    """By bills where all data and a trial are there, else by samples."""
    if state.has_bills:
        _, measuring = stages_of_trial(state.trials[0].recipe, ablation.asked)
        pairs = zip(state.trials, state.found, strict=True)
        done = [(trial, found.present) for trial, found in pairs if not found.missing]
        bills = [made[BASE].bill() for trial, made in done if trial.arm.trains_base]
        keeping = [float(each["seconds"]) - float(each["training_seconds"]) for each in bills]
        measured = [sum(float(made[m].bill()["seconds"]) for m in measuring) for _, made in done]
        return Beside(
            0.0,
            median(keeping) if keeping else 0.0,
            median(measured),
            billed_per_epoch(done, ablation.asked),
        )
    if not ablation.arms[0].trains_base:
        raise NoTrial(
            "no trial of these data is in the store, and a sample of them takes as long as one",
            ablation.name,
            "--pilot trains two, which the ablation takes over.",
        )
    sampled = measure_beside(ablation.arms, ablation.asked, told, silent=silent)
    return sampled._replace(data=0.0) if state.has_data else sampled


def _with_known_text(ablation: Ablation, store: Store) -> tuple[Ablation, str]:
    """Where arms read their text equally often: with the tokens of each, if its text is packed."""
    if ablation.asked.match != "documents":
        return ablation, ""
    epochs: dict[str, float] = {}
    arms = []
    for arm in ablation.arms:
        packed = found_of(ablation.trials([arm])[0], store, ablation.asked).present.get(TOKENS)
        if packed is None:
            return (
                ablation,
                "Of arms whose text is not packed yet it counts the first one's tokens.",
            )
        arms.append(read_so_often(arm, TokenShards(packed.folder).rows, epochs))
    return replace(ablation, arms=tuple(arms)), ""


def _kin(artifact: Artifact, by_digest: Mapping[str, Artifact], known: dict[str, str]) -> str:
    """The same for what differs in its seed alone: settings, and kin of what it was made from."""
    if artifact.digest not in known:
        digests = {name: str(each["digest"]) for name, each in artifact.parents.items()}
        parents = {
            name: _kin(by_digest[each], by_digest, known) if each in by_digest else each
            for name, each in digests.items()
        }
        own = "" if parents else artifact.digest
        known[artifact.digest] = json_digest([artifact.meta["identity"]["settings"], parents, own])
    return known[artifact.digest]


def _trained(settings: Mapping[str, Any]) -> str:
    """How large a base model is and how long it is trained."""
    return json_digest([settings.get("model"), settings.get("tokens")])


def _visible(ablation: Ablation, store: Store) -> dict[str, float]:
    """From trials of this recipe that differ in their seed alone, with models of as many parameters
    and tokens that were measured alike: others have another noise."""
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    artifacts = store.artifacts()
    by_digest = {each.digest: each for each in artifacts}
    known: dict[str, str] = {}
    stages, measuring = stages_of_trial(ablation.trials()[0].recipe, ablation.asked)
    alike = {
        f"{ablation.name}/{each.name}": json_digest(each.section.identity())
        for each in stages
        if each.name in measuring
    }
    trained = {_trained(each.section.identity()) for each in ablation.arms if each.trains_base}
    for artifact in artifacts:
        if alike.get(artifact.name) != json_digest(artifact.meta["identity"]["settings"]):
            continue
        base = by_digest.get(artifact.parents[BASE]["digest"])
        if base is None or (trained and _trained(base.meta["identity"]["settings"]) not in trained):
            continue
        kin = _kin(artifact, by_digest, known)
        for name, figure in measured_in([artifact]):
            if not (ablation.later and figure.stage == BASE):
                groups[name, kin].append(figure.value)
    squares: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for (metric, _), values in groups.items():
        if len(values) > 1:
            squares[metric].append((float(np.var(values, ddof=1)), len(values) - 1))
    sizes = len({each.size for each in ablation.arms})
    tests = len(squares) * max(1, len(ablation.arms) - sizes)
    found = {}
    for metric, pooled in sorted(squares.items()):
        freedom = sum(each for _, each in pooled)
        variance = sum(value * each for value, each in pooled) / freedom
        # Of the difference of two arms; what a shared seed takes away from it is not known yet.
        deviation = sqrt(2 * variance)
        found[metric] = visible_difference(deviation, len(ablation.seeds), tests=tests)
    return found
