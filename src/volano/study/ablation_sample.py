"""What a trial costs beside its training, measured on a part of the outside world.

Where the data of an ablation are not made yet no bill tells how long they take. So the stages of
every arm are made of two samples of the files, in a store that is thrown away, and their seconds
are drawn out in a straight line. On the larger one a model is trained for a step and measured: what
beginning, keeping and measuring take. A plan makes nothing that stays.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from volano.core.artifact import Artifact
from volano.core.errors import DataError, RecipeError, VolanoError
from volano.core.files import json_digest
from volano.core.progress import Bar, progress
from volano.core.step import Inputs, Listing, Step
from volano.core.store import Order, S, Store
from volano.evaluate.domains import chosen_documents
from volano.evaluate.step import DOMAINS
from volano.pretrain.section import PretrainSection
from volano.study.ablation import of_first
from volano.study.ablation_behind import billed_per_epoch, stages_behind
from volano.study.axes import Arm, with_tokens
from volano.study.common_held_out import HELD_OUT
from volano.study.held_out_overlap import counted_for, overlap_of
from volano.study.section import AblateSection
from volano.study.trial import (
    BASE,
    REFERENCE,
    REPORT,
    data_of,
    found_of,
    trial_of,
    try_out,
)
from volano.train.interruption import Stopped

FRACTIONS = (1 / 16, 1 / 4)  # of the bytes
MOST_BYTES = 2e8  # of a sample: more would take as long as the run
LEAST_HELD_OUT = 4  # functions
SHORT_STEPS = (1, 2)  # of a trial's base model
NAME = "sample"


class TooLarge(DataError):
    """There is too much to be timed for a plan."""


class Beside(NamedTuple):
    """Seconds of all data together, and of a trial beside the steps of its base model: until that
    has begun and until it is kept, of its measurements, and of one epoch of each stage `behind`."""

    data: float = 0.0
    keeping: float = 0.0
    measuring: float = 0.0
    behind: Mapping[str, float] = {}


class SampledStore(Store):
    """A store in which steps see a fraction of the files that there are."""

    def __init__(self, folder: Path, fraction: float) -> None:
        super().__init__(folder)
        self.fraction = fraction

    def order(
        self, step: Step[S], section: S, inputs: Inputs, *, name: str, seed: int = 0
    ) -> Order:
        """As of the whole, with fewer files, of which fewer functions are held out."""
        held_out = getattr(section, "held_out_functions", 0)
        if held_out:
            fewer = max(LEAST_HELD_OUT, int(held_out * self.fraction))
            section = section.model_copy(update={"held_out_functions": fewer})
        whole = super().order(step, section, inputs, name=name, seed=seed)
        if whole.listing is None or not whole.listing.entries:
            return whole
        return replace(whole, listing=_thinned(whole.listing, self.fraction))


def _thinned(listing: Listing, fraction: float) -> Listing:
    """Files in the order of their keys' digests until they have that fraction of the bytes."""
    budget = fraction * sum(each.bytes for each in listing.entries)
    chosen: set[str] = set()
    taken = 0
    for entry in sorted(listing.entries, key=lambda each: json_digest(each.key)):
        if not chosen or taken + entry.bytes <= budget:
            chosen.add(entry.key)
            taken += entry.bytes
    if taken > MOST_BYTES:
        raise TooLarge(
            f"a part that can be timed has {taken / 1e6:,.0f} MB, and is too large for a plan",
            "ablate --plan",
            "See what the run takes.",
        )
    return replace(listing, entries=tuple(each for each in listing.entries if each.key in chosen))


def measure_beside(
    arms: Sequence[Arm],
    asked: AblateSection,
    told: Callable[[str], None] = lambda line: None,
    *,
    silent: bool = False,
) -> Beside:
    """The cost of data and measurements, by samples; by all files where a sample lacks what a stage
    asks for, such as a kind of text that one file has. Raises TooLarge where the files are, and any
    other VolanoError where not even all of them do: the ablation would end so too."""
    small, large = FRACTIONS
    try:
        told("Timing the data of every arm on a sixteenth and a quarter of the files …")
        # The first time libraries are loaded, as at the beginning of a run.
        (first, again, more), trials = _timed(arms, asked, (small, small, large), silent)
        data = _drawn_out((small, again), (large, more)) + max(0.0, first - again)
    except TooLarge:
        raise
    except (DataError, RecipeError):  # the latter of more functions held out than so few files have
        told("So few lack what a stage asks for. Timing the data of every arm on all files …")
        (data,), trials = _timed(arms, asked, (1.0,), silent)
    last = trials[-1]
    seconds = dict(last.seconds)
    if len(trials) > 1:
        for name in {REPORT, *last.behind} & seconds.keys():
            points = ((each.fraction, each.seconds[name]) for each in trials[-2:])
            seconds[name] = _drawn_out(*points)
    keeping = seconds.pop(BASE)
    behind = {name: seconds.pop(name) for name in last.behind}
    return Beside(data, keeping, sum(seconds.values()), behind)


def _drawn_out(less: tuple[float, float], more: tuple[float, float]) -> float:
    """Seconds of the whole, by those of two fractions."""
    slope = max(0.0, more[1] - less[1]) / (more[0] - less[0])
    return more[1] + slope * (1 - more[0])


class _Sampled(NamedTuple):
    """A trial on a fraction of the files: seconds by stage, of those `behind` the base model for
    one epoch, and of the base model beside its steps."""

    fraction: float
    seconds: dict[str, float]
    behind: list[str]


def _timed(
    arms: Sequence[Arm], asked: AblateSection, fractions: Sequence[float], silent: bool
) -> tuple[list[float], list[_Sampled]]:
    """Seconds of all data at each fraction, and of a trial at the last; where more of it than the
    base model reads the data, at the last two."""
    taken, trials = [], []
    tried = min(len(fractions), 2 if asked.tasks else 1)
    parts = len(fractions) * len(arms) + tried * len(SHORT_STEPS)
    with TemporaryDirectory() as scratch, progress("plan", parts, "parts", silent=silent) as bar:
        for place, fraction in enumerate(fractions):
            store = SampledStore(Path(scratch) / f"{place}", fraction)
            begun = time.monotonic()
            passed_over = DataError if fraction < 1 else VolanoError
            made = _data_of_all(arms, store, asked, bar, passed_over)
            taken.append(time.monotonic() - begun)
            if place >= len(fractions) - tried:
                arm, data = max(made, key=lambda each: len(stages_behind(each[0].recipe, asked)))
                trials.append(_short_trial(arm, data, store, asked, bar))
    return taken, trials


def _data_of_all(
    arms: Sequence[Arm],
    store: Store,
    asked: AblateSection,
    bar: Bar,
    passed_over: type[VolanoError],
) -> list[tuple[Arm, dict[str, Artifact]]]:
    """Of every arm that can be made: one that cannot, of so little or at all, the run will tell."""
    found: list[tuple[Arm, dict[str, Artifact]]] = []
    for arm in arms:
        bar.note(f"data of {arm.label}")
        try:
            made = data_of(trial_of(arm, arm.recipe.seed, NAME, asked), store, asked, True)
            if counted_for(arm, asked):
                overlap_of(arm, made, store, NAME, silent=True)
        except passed_over as problem:
            first = arm.name == arms[0].name  # without which nothing is compared
            if isinstance(problem, TooLarge | Stopped):
                raise
            if first:
                raise of_first(problem, arm) from None
            continue
        finally:
            bar.advance()
        found.append((arm, made))
    return found


def _short_trial(
    arm: Arm, data: dict[str, Artifact], store: SampledStore, asked: AblateSection, bar: Bar
) -> _Sampled:
    """Seconds of a trial whose base model is trained for a step. Made twice: what is loaded at the
    first is loaded once in the run."""
    bar.note(f"a trial of {arm.label}")
    arm = replace(arm, recipe=arm.recipe.model_copy(update={"pretrain": _unstaged(arm.section)}))
    for steps in SHORT_STEPS:
        short = with_tokens(arm, steps * arm.section.batch_rows * arm.shape.context)
        trial = trial_of(short, arm.recipe.seed, NAME, asked)
        tried = try_out(trial, store, asked, data)
        assert tried.base is not None
        if tried.failure and store.fraction < 1:  # of more text it may be measured
            raise DataError(tried.failure, trial.label, "See what the run takes.")
        # Its two steps are hardly anything; what is evaluated and said meanwhile is a part of it.
        seconds = {BASE: float(tried.base.bill()["seconds"])}
        for name, artifact in tried.measured.items():
            seconds[name] = float(artifact.bill()["seconds"])
            if artifact.meta["identity"]["step"] == DOMAINS.name:
                seconds[name] *= _more_documents(data, asked, store.fraction)
        made = found_of(trial, store, asked, data).present
        behind = billed_per_epoch([(trial, made)], asked)
        bar.advance()
    return _Sampled(store.fraction, seconds | behind, list(behind))


def _unstaged(section: PretrainSection) -> PretrainSection:
    """With the mixture of the last stage in the place of all stages, for which so few steps are too
    few."""
    if section.curriculum is None or not section.curriculum.stages:
        return section
    mixture = section.curriculum.stages[-1].mixture
    curriculum = section.curriculum.model_copy(update={"stages": []})
    return section.model_copy(update={"curriculum": curriculum, "mixture": mixture})


def _more_documents(data: dict[str, Artifact], asked: AblateSection, fraction: float) -> float:
    """How many times as many documents the whole has measured as the sample."""
    corpora = {
        name: list(data[name].corpus().records()) for name in (HELD_OUT, REFERENCE) if name in data
    }
    here = chosen_documents(corpora, asked.bits_per_byte)
    every = asked.bits_per_byte.model_copy(update={"documents": 10**9})
    most = asked.bits_per_byte.documents
    there = sum(
        min(most, len(each) / fraction) for each in chosen_documents(corpora, every).values()
    )
    measured = sum(map(len, here.values()))
    return max(1.0, there / measured) if measured else 1.0
