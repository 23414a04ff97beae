"""Climbing a ladder: its runs, then the prediction, and only then the size that is predicted.

All goes through the store: a run that is there is not trained again, one that was stopped goes on,
and a rung more or less leaves the others as they are.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from volano.core.artifact import Artifact
from volano.core.errors import DataError, RecipeError
from volano.core.progress import progress
from volano.core.report import Report
from volano.core.store import Order, Store
from volano.study.ladder import SHARED, Ladder, Run
from volano.study.ladder_steps import (
    BEGUN,
    COMPARE,
    NEXT,
    PREDICT,
    PREDICTION,
    OutcomeSection,
    PredictionSection,
)
from volano.study.run import Outcome, order_of, run


@dataclass(frozen=True)
class Reckoned:
    """A run, whether the store has it, and the seconds that training it would take."""

    run: Run
    reuse: bool
    seconds: float


@dataclass(frozen=True)
class Climbed:
    """The finished ladder. `outcome` has the prediction's figures and the measured one; `epochs` is
    how often the run that reads some kind of text most often reads it."""

    prediction: Artifact
    next: Artifact
    outcome: Artifact
    reused: int  # runs that were there, the next included
    epochs: float

    @property
    def report(self) -> Report:
        """Law, prediction, baselines and measurement."""
        return self.outcome.report()

    @property
    def came_first(self) -> bool:
        """Whether the store had nothing of the next when the prediction was written."""
        return not self.prediction.bill()[BEGUN]


def reckon(
    ladder: Ladder, store: Store, told: Callable[[str], None] = lambda said: None
) -> list[Reckoned]:
    """Every run with its time on this machine, by some steps of each size that has to be made.
    `told` hears of each size before it is measured."""
    present = _present(ladder, store)
    rates: dict[Any, float] = {}
    found = []
    for each in (*ladder.runs, ladder.next):
        there = present is not None and (
            store.existing(ladder.order(each, store, present)) is not None
        )
        seconds = 0.0 if there else each.tokens / _rate(each, ladder, rates, told)
        found.append(Reckoned(each, there, seconds))
    return found


def check_minutes(reckoned: list[Reckoned], minutes: float) -> None:
    """Raise RecipeError where what is left to train takes longer."""
    whole = sum(each.seconds for each in reckoned) / 60
    if whole > minutes:
        tokens = reckoned[-1].run.section.tokens * minutes / whole
        raise RecipeError(
            f"training takes about {whole:.3g} minutes on this machine now",
            f"--minutes {minutes:g}",
            f"Set pretrain.tokens to {tokens / 1e6:.2g}M or less, or give fewer sizes.",
        )


def climb(
    ladder: Ladder,
    store: Store,
    reckoned: list[Reckoned],
    *,
    silent: bool = False,
    report: Callable[[Outcome], None] = lambda outcome: None,
    told: Callable[[Artifact], None] = lambda prediction: None,
) -> Climbed:
    """Train the rungs, predict, and train the next. `report` hears of the shared stages, `told` of
    the prediction, before training of the next begins."""
    made = run(ladder.recipe, store, targets=SHARED, silent=silent, report=report)
    present = {each.stage.name: each.artifact for each in made}
    _require_held_out(present["held_out"])
    rungs: dict[str, Artifact] = {}
    reused = 0
    left = sum(each.seconds for each in reckoned[:-1])
    with progress("ladder", left, "planned s", silent=silent or not left) as bar:
        for place, each in enumerate(reckoned[:-1], 1):
            bar.note(f"run {place} of {len(reckoned) - 1}: {each.run.label}")
            done = store.make(
                ladder.order(each.run, store, present), workers=ladder.recipe.workers, silent=True
            )
            rungs[f"run-{place:03}"] = done.artifact
            reused += done.reused
            bar.advance(each.seconds)
    above = replace(ladder.order(ladder.next, store, present), name=f"{ladder.name}/next")
    asked = PredictionSection(
        parameters=ladder.next.parameters, tokens=ladder.next.tokens, begun=_is_begun(above, store)
    )
    order = store.order(PREDICT, asked, rungs, name=f"{ladder.name}/predicted")
    prediction = store.make(order, silent=silent).artifact
    told(prediction)
    last = store.make(above, workers=ladder.recipe.workers, silent=silent)
    inputs = {PREDICTION: prediction, NEXT: last.artifact}
    order = store.order(COMPARE, OutcomeSection(), inputs, name=f"{ladder.name}/outcome")
    outcome = store.make(order, silent=silent).artifact
    epochs = max(_epochs(each) for each in (*rungs.values(), last.artifact))
    return Climbed(prediction, last.artifact, outcome, reused + last.reused, epochs)


def _epochs(checkpoint: Artifact) -> float:
    bill = checkpoint.bill()
    return max((bill[key] for key in bill if key.startswith("epochs.")), default=0.0)


def _require_held_out(held_out: Artifact) -> None:
    if not held_out.corpus().manifest["records"]:
        raise DataError(
            "nothing is held out of these documents, so no run could be measured",
            held_out.name,
            "Set collect.held_out_fraction, such as 0.1, or collect.held_out_functions.",
        )


def _is_begun(order: Order, store: Store) -> bool:
    stopped = any(order.fingerprint[:12] in each.name for each in store.unfinished())
    return stopped or store.existing(order) is not None


def _present(ladder: Ladder, store: Store) -> dict[str, Artifact] | None:
    present: dict[str, Artifact] = {}
    for stage in ladder.shared():
        found = store.existing(order_of(stage, ladder.recipe, store, present))
        if found is None:
            return None
        present[stage.name] = found
    return present


def _rate(each: Run, ladder: Ladder, rates: dict[Any, float], told: Callable[[str], None]) -> float:
    from volano.study.measured_rate import measure_rate

    if each.shape not in rates:
        told(f"{each.size}: training for some steps, to measure the rate …")
        rates[each.shape] = measure_rate(
            each.shape,
            each.section,
            row_tokens=each.shape.context,
            workers=ladder.recipe.workers,
        ).tokens_per_second
    return rates[each.shape]
