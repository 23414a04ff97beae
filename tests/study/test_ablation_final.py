"""Arms that end in different stages, or were asked different questions, are compared fairly."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from volano.core.errors import DataError
from volano.core.recipe import Section
from volano.core.report import Measurement, Report
from volano.core.step import Step
from volano.core.store import Store
from volano.evaluate.stage import Item
from volano.study.ablation_found import find_ablation
from volano.study.ablation_items import ITEMS_FILE
from volano.study.ablation_step import JUDGE, AblationSection, TrialSection, not_comparable
from volano.study.ablation_words import headline_of

ITEM_SCHEMA = pa.schema(
    [
        ("task", pa.string()), ("id", pa.string()), ("stage", pa.string()),
        ("answer", pa.string()), ("score", pa.float64()), ("correct", pa.bool_()),
        ("weight", pa.float64()),
    ]
)  # fmt: skip


class Settings(Section):
    value: str


def measured(store, step, arm, seed, stages, items=()):
    """A report in which every stage is better than the one before, and seeds lie apart."""

    def run(section, inputs, context):
        found = [
            Measurement(name, stage, *[0.4 + 0.1 * place + 0.01 * seed] * 3, 50, "share")
            for place, stage in enumerate(stages)
            for name in ("choice_pmi", "win_rate_over_base")
        ]
        Report(tuple(found)).save(context.folder / "report.json")
        if items:
            rows = [Item("choice_pmi", name, stages[-1], correct=right) for name, right in items]
            pq.write_table(
                pa.Table.from_pylist([each._asdict() for each in rows], schema=ITEM_SCHEMA),
                context.folder / ITEMS_FILE,
            )

    order = store.order(
        Step(step, "report", 1, Settings, run), Settings(value=f"{arm} {seed}"), {},
        name=f"toy-ablation/{step}",
    )  # fmt: skip
    return store.make(order, silent=True).artifact


def judged(store, arms, step="evaluate", items=None, **about):
    trials, inputs = {}, {}
    for seed in (1, 2, 3):
        for arm, stages in arms.items():
            key = f"trial-{len(trials):04}"
            trials[key] = TrialSection(arm=arm, seed=seed)
            inputs[f"{key}.report"] = measured(
                store, step, arm, seed, stages, (items or {}).get(arm, ())
            )
    section = AblationSection(arms=list(arms), trials=trials, **about)
    order = store.order(JUDGE, section, inputs, name="toy-ablation/verdicts")
    return store.make(order, silent=True).artifact


@pytest.mark.parametrize(
    ("off", "on", "apart"),
    [(["base", "sft"], ["base", "sft", "aligned"], 0.1), (["base"], ["base", "sft"], 0.1)],
)
def test_the_last_models_are_compared_and_no_base_that_arms_share(tmp_path, off, on, apart):
    store = Store(tmp_path / "runs")
    verdicts = judged(store, {"align=off": off, "align=on": on}, later=True)
    (found,) = verdicts.report().comparisons
    assert (found["metric"], found["arm"]) == ("choice_pmi (final)", "align=on")
    assert found["difference"] == pytest.approx(apart)
    metric = find_ablation(store, verdicts).metric(found["metric"])
    assert (metric.family, metric.stage) == ("choice_pmi", "final")


def test_base_models_that_differ_are_compared_beside(tmp_path):
    arms = {"one": ["base", "sft"], "two": ["base"]}
    report = judged(Store(tmp_path / "runs"), arms).report()
    assert [each["metric"] for each in report.comparisons] == ["choice_pmi", "choice_pmi (final)"]


def test_arms_of_the_same_stages_keep_their_names(tmp_path):
    both = ["base", "sft"]
    report = judged(Store(tmp_path / "runs"), {"a": both, "b": both}, later=True).report()
    assert [each["metric"] for each in report.comparisons] == ["choice_pmi (sft)"]
    with pytest.raises(
        DataError, match="no arm has 2 seeds"
    ):  # of a base that all share, and no more
        judged(
            Store(tmp_path / "other"), {"a": ["base"], "b": ["base"]}, step="domains", later=True
        )


def test_where_arms_were_asked_other_questions_those_in_common_count(tmp_path):
    items = {"a": [("x", True), ("y", False), ("z", True)], "b": [("y", True), ("z", True)]}
    stages = {"a": ["base"], "b": ["base"]}
    report = judged(Store(tmp_path / "runs"), stages, items=items).report()
    (found,) = report.comparisons  # and none of a rate over a rival of its own
    assert found["metric"] == "choice_pmi"
    assert found["difference"] == 0.5  # of y and z
    assert report.extra["items_in_common"] == {"choice_pmi": [2, 3]}


def test_where_no_question_is_common_nothing_is_compared(tmp_path):
    items = {"a": [("x", True)], "b": [("y", True), ("z", False)]}
    with pytest.raises(DataError, match="no arm has 2 seeds"):
        judged(Store(tmp_path / "runs"), {"a": ["base"], "b": ["base"]}, items=items)
    both = {"a": ["base", "sft"], "b": ["base", "sft"]}
    report = judged(Store(tmp_path / "other"), both, items=items).report()
    assert {each["metric"] for each in report.comparisons} == {
        "choice_pmi"
    }  # of sft they are asked
    assert report.extra["items_in_common"] == {"choice_pmi (sft)": [0, 2]}


def test_a_trial_that_is_left_alone_stays_in_the_report_though_nothing_is_compared(tmp_path):
    store = Store(tmp_path / "runs")
    trials = {
        f"trial-{n:04}": TrialSection(arm=arm, seed=seed, failure="diverged" if n == 3 else "")
        for n, (arm, seed) in enumerate([("a", 1), ("a", 2), ("b", 1), ("b", 2)])
    }
    inputs = {
        f"{key}.report": measured(store, "evaluate", each.arm, each.seed, ["base"])
        for key, each in trials.items()
        if not each.failure
    }
    section = AblationSection(arms=["a", "b"], trials=trials)
    order = store.order(JUDGE, section, inputs, name="toy-ablation/verdicts")
    verdicts = store.make(order, silent=True).artifact
    report = verdicts.report()
    assert report.comparisons == ()
    assert [(each.stage, each.n) for each in report.measurements] == [("a", 2), ("b", 1)]
    assert headline_of(find_ablation(store, verdicts)).startswith("Nothing is compared: ")
    told = not_comparable([each.failure for each in trials.values()])
    assert str(told).startswith(
        "1 of 4 trials failed: no arm has 2 seeds in common with the first."
    )
    assert "diverged" in str(told)


@pytest.mark.parametrize(
    ("metric", "fails"), [("exposure.100×", []), ("choice_pmi", ["training makes it worse"])]
)
def test_what_one_arm_has_no_text_of_is_no_worse_for_training(metric, fails, tmp_path):
    """Exposure of the first arm is chance, and falls here; that of the second is shown."""
    store = Store(tmp_path / "runs")
    trials, inputs = {}, {}
    for arm, share, value in (("on", 1.0, 1.1), ("off", 1.0, 6.5), ("on", 0.5, 1.6)):
        for seed in (1, 2, 3):
            key = f"trial-{len(trials):04}"
            trials[key] = TrialSection(arm=arm, seed=seed, share=share)

            def run(section, given, context, value=value + 0.01 * seed * value):
                found = Measurement(metric, "base", value, value, value, 20)
                Report((found,)).save(context.folder / "report.json")

            step = Step("leaks", "report", 1, Settings, run)
            order = store.order(step, Settings(value=key), {}, name="toy-ablation/leaks")
            inputs[f"{key}.leaks"] = store.make(order, silent=True).artifact
    section = AblationSection(arms=["on", "off"], trials=trials)
    order = store.order(JUDGE, section, inputs, name="toy-ablation/verdicts")
    report = store.make(order, silent=True).artifact.report()
    assert report.comparisons[0]["verdict"] != "no difference shown"
    assert report.extra["signal"][metric]["fails"] == fails
