"""What an ablation would take, and what it could show, before anything is made.

Minutes are of everything: data that are not there yet, training at the rate of as many trials at
once as would run, keeping and measuring each, and the trials for the signal. Rates are taken now,
by some steps of each size; what lies beside training is of bills in the store, or of a sample
(study/ablation_sample.py). What differences so many seeds can show follows from how far seeds lie
apart, as trials in the store tell.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import sqrt
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from volano.core.artifact import Artifact
from volano.core.errors import DataError
from volano.core.files import json_digest
from volano.core.report import Measurement
from volano.core.store import Store
from volano.model.config import DecoderConfig
from volano.stats.seeds import share_error, visible_difference
from volano.study.ablation import Ablation, read_so_often
from volano.study.ablation_behind import base_key, billed_per_epoch, seconds_behind
from volano.study.ablation_reckoned import NOTHING, ArmPlan, Reckoned
from volano.study.ablation_sample import Beside, TooLarge, measure_beside
from volano.study.ablation_step import SHARE, measured_in
from volano.study.axes import Arm
from volano.study.common_held_out import known_common
from volano.study.spread import Chosen, choose, rate_alone, rate_together, warm_up
from volano.study.trial import BASE, DATA, Found, Trial, data_stages, found_of, stages_of_trial
from volano.study.trial_threads import threads_there, usual
from volano.study.trial_workers import Workers
from volano.text.stream import TokenShards

Rates = Mapping[DecoderConfig, float]  # tokens a second of one trial among others
TOKENS = "tokens"  # the stage that packs


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
    timed = state.seconds(ablation, rates, beside)
    return Reckoned(
        timed.arms,
        _visible(ablation, store),
        timed.signal,
        state.data_there(ablation),
        chosen.spread,
        beside,
        chosen.seconds,
        timed.trials,
        unknown,
        note,
    )


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
    timed = state.seconds(after, rates, beside)
    return replace(
        reckoned,
        arms=timed.arms,
        signal=timed.signal,
        trials=timed.trials,
        visible=_visible(after, store),
        there=state.data_there(after),
        beside=beside,
        unknown=unknown,
    )


class _Timed(NamedTuple):
    """The arms, what is trained for the signal, and the seconds of each trial that is left."""

    arms: list[ArmPlan]
    signal: ArmPlan | None
    trials: tuple[float, ...]


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

    def data_there(self, ablation: Ablation) -> dict[str, int]:
        """Stage before the models → of how many arms the store has it."""
        counted: Counter[str] = Counter()
        for trial, found in zip(self.trials[: len(ablation.arms)], self.found, strict=False):
            counted.update(
                each for each in data_stages(trial, ablation.asked) if each in found.present
            )
        return dict(counted)

    def seconds(self, ablation: Ablation, rates: Rates, beside: Beside) -> _Timed:
        """Of training and what lies behind it."""
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
        signal = [self.trials[-1].arm] if self.trials[-1].share < 1 else []
        for arm in [*ablation.arms, *signal]:
            mine = [place for place, trial in enumerate(self.trials) if trial.arm is arm]
            there = sum(BASE in self.found[place].present for place in mine)
            if not arm.trains_base:
                there = sum(not self.found[place].missing for place in mine)
            parameters = arm.shape.parameters if arm.trains_base else 0
            seconds = sum(found.get(place, 0.0) for place in mine)
            one, behind = _base_seconds(arm, rates), of_arm[arm.label]
            plan = ArmPlan(arm, parameters, arm.tokens, there, seconds, one, behind, len(mine))
            plans.append(plan)
        of_signal = plans.pop() if signal else None
        return _Timed(plans, of_signal, tuple(found.values()))


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
    shares: dict[str, Measurement] = {}
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
                if figure.unit == SHARE:
                    shares[name] = figure
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
        share = shares.get(metric)
        if not deviation and share is not None:  # as stats/seeds.py takes it
            deviation = share_error([share.value] * 2, share.n)
        seen = visible_difference(deviation, len(ablation.seeds), tests=tests)
        # Seeds that agree to the last bit tell of no other value how far they lie apart.
        if deviation and (share is None or seen <= 1):
            found[metric] = seen
    return found
