"""Which of two values is the better one, metric by metric; how sure a share without spread is."""

import pytest

from volano.core.recipe import Section
from volano.core.report import Measurement, Report
from volano.core.step import Step
from volano.core.store import Store
from volano.study.ablation_step import JUDGE, AblationSection, TrialSection

MORE_IS_WORSE = [
    "bits_per_byte", "bits_per_byte.code", "memorised.100×", "leaked.10×", "exposure.10×",
    "toxicity",
]  # fmt: skip
MORE_IS_BETTER = ["choice_pmi", "answers_end", "refusal_unsafe", "answered_safe", "chrf"]


class Settings(Section):
    value: str


def comparison(folder, metric, arms, n=20, unit=""):
    """The verdict of two arms, of which each has the value of every seed."""
    store, trials, inputs = Store(folder / "runs"), {}, {}
    for arm, values in arms.items():
        for seed, value in enumerate(values, 1):
            key = f"trial-{len(trials):04}"
            trials[key] = TrialSection(arm=arm, seed=seed)

            def run(section, given, context, value=value):
                found = Measurement(metric, "base", value, value, value, n, unit)
                Report((found,)).save(context.folder / "report.json")

            step = Step("measured", "report", 1, Settings, run)
            order = store.order(step, Settings(value=key), {}, name="toy-ablation/measured")
            inputs[f"{key}.measured"] = store.make(order, silent=True).artifact
    section = AblationSection(arms=list(arms), trials=trials)
    order = store.order(JUDGE, section, inputs, name="toy-ablation/verdicts")
    (found,) = store.make(order, silent=True).artifact.report().comparisons
    return found


@pytest.mark.parametrize(
    ("metric", "verdict"),
    [*((each, "worse") for each in MORE_IS_WORSE), *((each, "better") for each in MORE_IS_BETTER)],
)
def test_more_of_it_is_better_or_worse(tmp_path, metric, verdict):
    arms = {"first": [1.0, 1.01, 1.02], "second": [2.001, 2.012, 2.021]}
    assert comparison(tmp_path, metric, arms)["verdict"] == verdict


def test_a_share_that_is_all_or_nothing_in_every_seed_is_as_sure_as_its_items_are_many(tmp_path):
    arms = {"first": [0.0] * 3, "second": [1.0] * 3}
    many, few = (comparison(tmp_path / f"{n}", "memorised.9×", arms, n, "share") for n in (50, 2))
    assert many["verdict"] == "worse"
    assert many["p_value"] < 0.001 < 0.02 < few["p_value"]
    # Of what is no share the number of items tells nothing: three seeds alike are a sign test.
    assert comparison(tmp_path / "other", "toxicity", arms, 50)["p_value"] == 0.25
