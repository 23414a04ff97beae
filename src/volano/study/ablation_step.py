"""The verdicts of an ablation, from the measurements of its trials alone.

Every metric of every arm is compared with that of the first arm by the seeds that both have; at
each size apart, and all comparisons are one family (stats/seeds.py).
"""

from collections import defaultdict

from pydantic import Field

from volano.core.errors import DataError
from volano.core.recipe import Section
from volano.core.report import Measurement, Report
from volano.core.step import Context, Inputs, Step
from volano.stats.intervals import mean_interval
from volano.stats.seeds import LEAST, Comparison, judge

LOWER_IS_BETTER = "bits_per_byte"  # as metrics begin
Values = dict[str, dict[str, dict[int, float]]]  # metric → arm → seed


class TrialSection(Section):
    """One trial: whose measurements an input holds, or why there are none."""

    arm: str = Field(description="Name of the arm; the first in `arms` is compared with.")
    size: str = Field(default="", description="Size of the model, where there are several.")
    seed: int = Field(description="Of initialisation and order.")
    failure: str = Field(default="", description="Why nothing was measured.")


class AblationSection(Section):
    """What is judged."""

    arms: list[str] = Field(min_length=2, description="Names, in the order asked for.")
    trials: dict[str, TrialSection] = Field(description="Input → its trial.")


def run_judge(section: AblationSection, inputs: Inputs, context: Context) -> None:
    """Write means, comparisons and failures. Raises DataError where nothing can be compared."""
    order = {name: place for place, name in enumerate(dict.fromkeys(section.arms))}
    values: Values = defaultdict(lambda: defaultdict(dict))
    for key, trial in sorted(section.trials.items(), key=lambda each: order[each[1].arm]):
        if key in inputs:
            for each in inputs[key].report().measurements:
                metric = f"{each.name} @ {trial.size}" if trial.size else each.name
                values[metric][trial.arm][trial.seed] = each.value
    lower = [each for each in values if each.startswith(LOWER_IS_BETTER)]
    first = section.arms[0]
    complete = {metric: arms for metric, arms in values.items() if next(iter(arms)) == first}
    comparisons = judge(complete, lower_is_better=lower)
    if not comparisons:
        raise DataError(
            "no two arms have two seeds in common",
            f"{len(section.trials) - len(inputs)} of {len(section.trials)} trials failed",
            "See what ended them, or ask about other arms.",
        )
    failures = [each.model_dump() for each in section.trials.values() if each.failure]
    Report(
        tuple(_means(values)),
        tuple(_plain(each) for each in comparisons),
        {"arms": section.arms, "failures": failures, "values": _seeds_as_text(values)},
    ).save(context.folder / "report.json")


def _means(values: Values) -> list[Measurement]:
    found = []
    for metric, arms in values.items():
        for arm, by_seed in arms.items():
            numbers = list(by_seed.values())
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


JUDGE = Step(name="ablation", kind="report", version=1, section=AblationSection, run=run_judge)
