"""Which of two values is the better one, metric by metric; how sure a share without spread is."""

import pytest

from volano.core.recipe import Section
from volano.core.report import Measurement, Report
from volano.core.step import Step
from volano.core.store import Store
from volano.stats.seeds import seeds_to_show
from volano.study.ablation_step import JUDGE, AblationSection, TrialSection
from volano.study.ablation_words import more_seeds, said_of_seeds, verdict_text

MORE_IS_WORSE = [
    "bits_per_byte", "bits_per_byte.code", "memorised.100×", "leaked.10×", "exposure.10×",
    "toxicity",
]  # fmt: skip
MORE_IS_BETTER = ["choice_pmi", "answers_end", "refusal_unsafe", "answered_safe", "chrf"]


class Settings(Section):
    value: str


def report_of(folder, metric, arms, n=20, unit="", lacking=()):
    """The verdicts of arms with the value of every seed, but for those `lacking`."""
    store, trials, inputs = Store(folder / "runs"), {}, {}
    for arm, values in arms.items():
        for seed, value in enumerate(values, 1):
            if (arm, seed) in lacking:
                continue
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
    return store.make(order, silent=True).artifact.report()


def comparison(*about):
    (found,) = report_of(*about).comparisons
    return found


def test_a_share_that_is_shown_is_not_said_to_be_out_of_sight(tmp_path):
    arms = {"first": [0.0, 0.0], "second": [0.87, 1.0]}
    found = comparison(tmp_path, "memorised.9×", arms, 50, "share")
    assert (found["verdict"], found["visible"]) == ("worse", None)
    assert verdict_text(found, "share") == "worse"
    hidden = found | {"verdict": "no difference shown"}
    assert verdict_text(hidden, "share") == "no difference shown (so few seeds could show none)"
    broken = hidden | {"difference": float("nan")}
    assert verdict_text(broken, "share") == "no difference shown"


def test_a_value_and_its_difference_are_of_the_same_seeds(tmp_path):
    """Over all seeds the second has the lower mean, and where both have one it is higher."""
    arms = {"first": [1.0, 2.0, 2.01, 2.02], "second": [1.0, 2.015, 2.026, 2.036]}
    report = report_of(tmp_path, "bits_per_byte.code", arms, lacking=[("first", 1)])
    first, second = report.measurements
    assert (first.n, second.n) == (3, 3)
    assert second.value - first.value == pytest.approx(report.comparisons[0]["difference"])
    assert report.comparisons[0]["verdict"] == "worse"
    assert "lack a seed" in said_of_seeds(report.extra)[0]
    whole = report_of(tmp_path / "whole", "bits_per_byte.code", arms)
    assert [each.n for each in whole.measurements] == [4, 4]
    assert said_of_seeds(whole.extra) == []


def test_how_many_seeds_would_show_what_the_intervals_see():
    hidden = {
        "verdict": "no difference shown", "difference": 1.0, "deviation": 0.1, "low": 0.1,
        "high": 1.9,
    }  # fmt: skip
    seen = hidden | {"low": -0.1}
    assert more_seeds([seen] * 3) == more_seeds([hidden | {"verdict": "better"}]) == ""
    told = more_seeds([hidden, *[seen] * 9])
    needed = seeds_to_show(1.0, 0.1, tests=10)
    assert told.startswith("1 of 10 comparisons has an interval clear of zero and is not shown")
    assert f"with {needed} seeds, or fewer metrics" in told
    grey = seen | {"greyed": True, "low": 0.1}
    assert f"with {needed} seeds" in more_seeds([hidden, *[grey] * 9])  # of the whole family
    assert "more than 20 seeds" in more_seeds([hidden | {"difference": 0.001}])


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
