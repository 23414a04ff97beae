"""What a plan of an ablation says: its arms, how long all of it takes, what is reused, and the
smallest difference to be seen. study/ablation_plan.py reckons it.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heapreplace
from typing import Any

from volano.study.ablation_sample import Beside
from volano.study.axes import Arm
from volano.study.spread import Spread
from volano.study.words import joined

ALONE, NOTHING = Spread(1, 1), Beside()


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
    trials: int

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "arm": self.arm.name,
            "size": self.arm.size,
            "trials": self.trials,
            "parameters": self.parameters,
            "tokens": self.tokens,
            "reused": self.reused,
            "training_seconds": self.seconds,
        }


@dataclass(frozen=True)
class Reckoned:
    """All arms, what lies beside their training, and the smallest difference to be seen per metric,
    where noise is known."""

    arms: list[ArmPlan]
    visible: dict[str, float]
    signal: ArmPlan | None = None  # what is trained on half of the tokens, for the signal check
    # Data stage → of how many arms the store has it.
    there: Mapping[str, int] = field(default_factory=dict)
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

    def said_of_data(self) -> str:
        """Which data need not be made."""
        if not self.there:
            return "No data of it are in the store yet."
        stages: dict[int, list[str]] = defaultdict(list)
        for stage, arms in self.there.items():
            stages[arms].append(stage)
        whole = len(self.arms)
        said = []
        for arms, names in sorted(stages.items(), reverse=True):
            of = "all arms" if arms == whole else f"{arms} of {whole} arms"
            said.append(f"{joined(names)} of {of}")
        return f"Data reused from the store: {'; '.join(said)}."

    def said_of_noise(self) -> str:
        """What so many seeds can show."""
        if not self.visible and sum(each.reused for each in self.arms) > 1:
            return (
                "How small a difference these seeds can show is not known: those that are there "
                "do not tell."
            )
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
            "arms": [each.plain() for each in self.arms],
            "signal": self.signal.plain() if self.signal is not None else None,
            "data_reused": dict(self.there),
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
