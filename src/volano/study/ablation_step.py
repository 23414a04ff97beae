"""The verdicts of an ablation, from the measurements of its trials alone.

Every metric of every arm is compared with that of the first arm by the seeds that both have; at
each size apart, and all comparisons are one family (stats/seeds.py). Where arms end in different
stages, as with `align=on,off`, their last models are compared, whatever stage these are of. Whether
a metric says anything is asked beside it (stats/signal.py).
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pydantic import Field

from volano.core.artifact import Artifact
from volano.core.errors import DataError
from volano.core.recipe import Section
from volano.core.report import Measurement, Report
from volano.core.step import Context, Inputs, Step
from volano.evaluate.section import IN_TRAINING, OF_ONE_DOCUMENT
from volano.evaluate.step import EVALUATE
from volano.stats.intervals import mean_interval
from volano.stats.seeds import LEAST, Comparison, judge
from volano.stats.signal import Direction, check_signal
from volano.study.ablation_items import on_common_items
from volano.study.words import measure_of

FALLS_WITH_TRAINING = ("bits_per_byte", "conversation_bits", "answers_repeat")
EITHER_WAY = ("toxicity", "refus", "answered_safe")  # alignment moves them, pre-training need not
# Learnt where it stands in the text; an arm without it has them by chance, up or down.
OF_WHAT_IS_THERE = ("memorised", "leaked", "exposure")
SHARE = "share"  # the unit of a metric that counts items
BASE = "base"
STAGES = (BASE, "sft", "aligned")  # what else a report has is beside the models
WIN_RATE = "win_rate_over"
FINAL = "final"  # the last of them that an arm has
Values = dict[str, dict[str, dict[int, float]]]  # metric → arm → seed


class TrialSection(Section):
    """One trial: whose measurements inputs hold, or why there are none."""

    arm: str = Field(description="Name of the arm; the first in `arms` is compared with.")
    size: str = Field(default="", description="Size of the model, where there are several.")
    seed: int = Field(description="Of initialisation and order.")
    share: float = Field(default=1.0, description="Of the arm's tokens; below 1 for the signal.")
    failure: str = Field(default="", description="Why nothing was measured.")


class AblationSection(Section):
    """What is judged."""

    question: str = Field(default="", description="In one sentence.")
    match: str = Field(default="tokens", description="What the arms have in common.")
    arms: list[str] = Field(min_length=2, description="Names, in the order asked for.")
    later: bool = Field(
        default=False,
        description="What is asked about lies behind the base models: they are the same in all "
        "arms, and not compared.",
    )
    alike: dict[str, str] = Field(
        default={}, description="Arm → the one whose content it has, so that it was not trained."
    )
    given_up: list[str] = Field(
        default=[], description="What it has less of than was asked for, to fit into minutes."
    )
    overlap: dict[str, dict[str, tuple[int, int]]] = Field(
        default={},
        description="Arm → corpus that it is measured on → documents that lie in what it trains "
        "on, and all of them.",
    )
    cleared: list[str] = Field(
        default=[], description="Arms that take copies of what is held out out of their text."
    )
    common: int | None = Field(
        default=None,
        description="Documents that all are measured on, where arms hold out different ones.",
    )
    trials: dict[str, TrialSection] = Field(
        description="Name → its trial. Inputs are called NAME.METRICS."
    )


def run_judge(section: AblationSection, inputs: Inputs, context: Context) -> None:
    """Write means, comparisons and failures. Raises DataError where nothing can be compared."""
    order = {name: place for place, name in enumerate(dict.fromkeys(section.arms))}
    values: Values = defaultdict(lambda: defaultdict(dict))
    half: Values = defaultdict(lambda: defaultdict(dict))
    size_of: dict[str, tuple[str, str]] = {}  # metric with its size → both apart
    items: dict[str, int] = {}  # of shares
    counted: dict[str, int] = {}  # of all
    of_trial: dict[str, list[Artifact]] = defaultdict(list)
    for name, artifact in inputs.items():
        of_trial[name.partition(".")[0]].append(artifact)
    common = on_common_items(of_trial, {name: each.size for name, each in section.trials.items()})
    fewer: dict[str, tuple[int, int]] = {}  # metric with its size → items in common, and at most
    ends = {_last_stage(each) for each in of_trial.values()} - {""}
    for key, trial in sorted(section.trials.items(), key=lambda each: order[each[1].arm]):
        measured = of_trial.get(key, [])
        for metric, found in _final(measured) if len(ends) > 1 else measured_in(measured):
            if section.later and metric == found.name:  # of a base model
                continue
            name = f"{metric} @ {trial.size}" if trial.size else metric
            size_of[name] = (metric, trial.size)
            value, n = found.value, found.n
            restated = common.get((key, (found.name, found.stage)))
            if restated is not None:
                value, n = restated.value, restated.n
                fewer[name] = (n, restated.most)
                if not n:  # nothing is compared
                    continue
            (values if trial.share == 1 else half)[name][trial.arm][trial.seed] = value
            counted[name] = n
            if found.unit == SHARE:
                items[name] = n
    first = section.arms[0]
    complete = {metric: arms for metric, arms in values.items() if next(iter(arms)) == first}
    lower = [each for each in values if measure_of(family_of(each)).fewer]
    comparisons = judge(complete, lower_is_better=lower, items=items)
    signal = _signal(complete, half, size_of, comparisons)
    if not values:
        whole = [each.failure for each in section.trials.values() if each.share == 1]
        raise not_comparable(whole)
    failures = [each.model_dump() for each in section.trials.values() if each.failure]
    Report(
        tuple(_means(values)),
        tuple(
            _plain(each) | {"greyed": bool(signal[each.metric]["fails"])} for each in comparisons
        ),
        {
            "question": section.question,
            "match": section.match,
            "later": section.later,
            "arms": section.arms,
            "alike": section.alike,
            "given_up": section.given_up,
            "overlap": section.overlap,
            "cleared": section.cleared,
            "common": section.common,
            IN_TRAINING: _in_training(section.trials, of_trial),
            "items": counted,
            "items_in_common": fewer,
            "failures": failures,
            OF_ONE_DOCUMENT: max(
                (each.report().extra.get(OF_ONE_DOCUMENT, 0) for each in inputs.values()), default=0
            ),
            "values": _seeds_as_text(values),
            "half": _seeds_as_text(half),
            "signal": signal,
            "crossings": [each._asdict() for each in crossings(comparisons, size_of)],
        },
    ).save(context.folder / "report.json")


def not_comparable(failures: Sequence[str]) -> DataError:
    """What is wrong where no arm has two seeds in common with the first. `failures` has one of each
    trial, "" where it did not fail."""
    failed = list(filter(None, failures))
    reasons = "".join(f". {each.rstrip('.')}" for each in dict.fromkeys(failed))
    return DataError(
        f"no arm has {LEAST} seeds in common with the first{reasons}",
        f"{len(failed)} of {len(failures)} trials failed",
        "See what ended them, or ask about other arms.",
    )


def _in_training(
    trials: Mapping[str, TrialSection], measured: Mapping[str, Sequence[Artifact]]
) -> dict[str, object]:
    """Arm → group of documents → how many of them it trains on, and of how many."""
    found: dict[str, object] = {}
    for key, trial in trials.items():
        for each in measured.get(key, ()):
            known = each.report().extra.get(IN_TRAINING)
            if known is not None:
                found.setdefault(trial.arm, known)
    return found


class Crossing(NamedTuple):
    """An arm that is better than the first at one size and worse at another, both shown."""

    metric: str
    arm: str
    better: list[str]  # sizes
    worse: list[str]


def crossings(
    comparisons: Sequence[Comparison], size_of: Mapping[str, tuple[str, str]]
) -> list[Crossing]:
    """Every metric and arm of which that is so; `size_of` parts a metric from its size."""
    sizes: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for each in comparisons:
        metric, size = size_of[each.metric]
        sizes[metric, each.arm][each.verdict].append(size)
    return [
        Crossing(metric, arm, found["better"], found["worse"])
        for (metric, arm), found in sizes.items()
        if found["better"] and found["worse"]
    ]


def family_of(metric: str) -> str:
    """The measure that a metric is of: bits_per_byte for `bits_per_byte.code (sft) @ 1M`."""
    return re.split(r"[. ]", metric, maxsplit=1)[0]


def measured_in(artifacts: Iterable[Artifact]) -> list[tuple[str, Measurement]]:
    """Metrics of one trial; those of a later stage than the base model are called by it."""
    return [
        (each.name if each.stage == BASE else f"{each.name} ({each.stage})", each)
        for artifact in artifacts
        for each in _models(artifact)
    ]


def _models(artifact: Artifact) -> list[Measurement]:
    """What stands alone of models of ours: a win rate is over a rival that each trial has for
    itself, and the worse that is, the better the rate."""
    return [
        each
        for each in artifact.report().measurements
        if each.stage in STAGES and not each.name.startswith(WIN_RATE)
    ]


def _last_stage(artifacts: Iterable[Artifact]) -> str:
    """Of the models that the evaluation among them measured; "" where there is none."""
    found = [
        each.stage for one in artifacts if _evaluates(one) for each in one.report().measurements
    ]
    return max(filter(STAGES.__contains__, found), key=STAGES.index, default="")


def _final(artifacts: Sequence[Artifact]) -> list[tuple[str, Measurement]]:
    """Metrics of one trial: of its base model, and what the evaluation has of its last one."""
    last = _last_stage(artifacts)
    base = [(name, each) for name, each in measured_in(artifacts) if each.stage == BASE]
    return base + [
        (f"{each.name} ({FINAL})", each)
        for artifact in artifacts
        if _evaluates(artifact)
        for each in _models(artifact)
        if each.stage == last
    ]


def _evaluates(artifact: Artifact) -> bool:
    return bool(artifact.meta["identity"]["step"] == EVALUATE.name)


def _signal(
    values: Values,
    half: Values,
    size_of: dict[str, tuple[str, str]],
    comparisons: list[Comparison],
) -> dict[str, dict[str, object]]:
    shown = {each.metric for each in comparisons if each.verdict != "no difference shown"}
    crossed = {metric for metric, *_ in crossings(comparisons, size_of)}
    by_metric: dict[str, dict[str, str]] = defaultdict(dict)  # metric → size → its name with size
    for name in values:
        metric, size = size_of[name]
        by_metric[metric][size] = name
    found: dict[str, dict[str, object]] = {}
    for metric, names in by_metric.items():
        direction: Direction = "falls" if metric.startswith(FALLS_WITH_TRAINING) else "rises"
        told_apart = bool(shown & set(names.values()))
        if metric.startswith(EITHER_WAY) or (told_apart and metric.startswith(OF_WHAT_IS_THERE)):
            direction = "either"
        signal = check_signal(
            {size: values[name] for size, name in names.items()},
            {size: next(iter(half[name].values())) for size, name in names.items() if name in half},
            direction,
            shown=told_apart,
            crossing=metric in crossed,
        )
        found |= {name: signal._asdict() for name in names.values()}
    return found


def _means(values: Values) -> list[Measurement]:
    """Of an arm that is compared, over the seeds that it has in common with the first, or its value
    could be better where the difference is worse."""
    found = []
    for metric, arms in values.items():
        first = next(iter(arms.values()))
        for arm, by_seed in arms.items():
            common = [by_seed[seed] for seed in by_seed if seed in first]
            numbers = common if len(common) >= LEAST else list(by_seed.values())
            if len(numbers) >= LEAST:
                found.append(Measurement(metric, arm, *mean_interval(numbers)))
            else:
                found.append(Measurement(metric, arm, numbers[0], numbers[0], numbers[0], 1))
    return found


def _plain(each: Comparison) -> dict[str, object]:
    rest = {name: value for name, value in each._asdict().items() if name != "pair"}
    return rest | each.pair._asdict()


def _seeds_as_text(values: Values) -> dict[str, dict[str, dict[str, float]]]:
    return {
        metric: {arm: {str(seed): v for seed, v in sorted(by.items())} for arm, by in arms.items()}
        for metric, arms in values.items()
    }


JUDGE = Step(name="ablation", kind="report", version=10, section=AblationSection, run=run_judge)
