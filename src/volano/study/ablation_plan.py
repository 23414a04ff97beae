"""What an ablation would take, and what it could show, before anything is made.

Minutes are of training, by some steps of each size now. What differences so many seeds can show
follows from how far seeds lie apart, as trials in the store tell.
"""

from collections import defaultdict
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from volano.core.store import Store
from volano.stats.seeds import visible_difference
from volano.study.ablation import Ablation
from volano.study.ablation_step import measured_in
from volano.study.axes import Arm
from volano.study.trial import BASE, found_of, stages_of_trial


@dataclass(frozen=True)
class ArmPlan:
    """One arm: how many of its trials are there, and the seconds that training the others takes."""

    arm: Arm
    parameters: int
    tokens: int
    reused: int
    seconds: float
    seconds_a_trial: float  # were it made


@dataclass(frozen=True)
class Reckoned:
    """All arms, and the smallest difference to be seen per metric, where noise is known."""

    arms: list[ArmPlan]
    visible: dict[str, float]

    @property
    def seconds(self) -> float:
        """Of all training that is left."""
        return sum(each.seconds for each in self.arms)

    def said_of_noise(self) -> str:
        """What so many seeds can show."""
        if not self.visible:
            return (
                "How small a difference these seeds can show is known once trials are in the store."
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
            "training_seconds": self.seconds,
            "visible": self.visible,
        }


def reckon(ablation: Ablation, store: Store) -> Reckoned:
    """The plan. Nothing is made."""
    from volano.study.measured_rate import measure_rate

    rates: dict[Any, float] = {}
    arms = []
    for arm in ablation.arms:
        there = [found_of(each, store, ablation.asked) for each in ablation.trials([arm])]
        reused = sum(BASE in each.present for each in there)
        key = (arm.shape, arm.section.model_copy(update={"tokens": 1}).model_dump_json())
        if key not in rates:
            rates[key] = measure_rate(
                arm.shape,
                arm.section,
                row_tokens=arm.shape.context,
                workers=arm.recipe.workers,
            ).tokens_per_second
        one = arm.tokens / rates[key]
        left = (len(there) - reused) * one
        arms.append(ArmPlan(arm, arm.shape.parameters, arm.tokens, reused, left, one))
    return Reckoned(arms, _visible(ablation, store))


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
