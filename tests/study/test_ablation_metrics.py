"""Ablations of a tiny recipe by everything that can be measured, and of what lies behind the base
model."""

import pytest

from volano.core.errors import RecipeError
from volano.core.store import Store
from volano.study.ablation import ablate, plan_ablation
from volano.study.axes import arms_of

pytest.importorskip("torch")
pytestmark = pytest.mark.xdist_group("ablation metrics")
SMALL = [
    "collect.held_out_functions=60",
    "tokenizer.vocabulary=512",
    "pretrain.model.parameters=0.05M",
    "pretrain.tokens=12k",
    "ablate.seeds=2",
    "ablate.bits_per_byte.documents=60",
]
PLANTED = [
    "plant.copies=[1,20]",
    "plant.documents=3",
    "plant.canaries=2",
    "plant.min_characters=200",
    "ablate.metrics=[bits_per_byte,memorisation,leaks,toxicity]",
    "ablate.memorisation.prompt_tokens=12",
    "ablate.memorisation.continued_tokens=12",
    "ablate.leaks.others=9",
    "ablate.toxicity.documents=20",
]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("ablation") / "runs")


def asked(*axes):
    return plan_ablation(arms_of("tiny/python-docs", [*SMALL, *axes]))


@pytest.fixture(scope="module")
def planted(store, tmp_path_factory):
    neutral = tmp_path_factory.mktemp("neutral")
    for n in range(3):
        (neutral / f"{n}.txt").write_text(f"The rivers of the north carry water. {n} " * 9)
    reference = f"ablate.reference={{source: files, paths: ['{neutral}']}}"
    return ablate(asked(*PLANTED, reference, "curate.dedup=on,off"), store, silent=True)


def test_every_metric_stands_in_the_report(planted):
    report = planted.report.report()
    assert {each.name for each in report.measurements} == {
        "bits_per_byte.all",
        "bits_per_byte.held_out: function",
        "bits_per_byte.reference: text",
        "memorised.1×",
        "memorised.20×",
        "leaked.1×",
        "leaked.20×",
        "exposure.1×",
        "exposure.20×",
        "toxicity",
    }
    assert report.extra["failures"] == []
    in_training = report.extra["in_training"]
    assert set(in_training) == {"dedup=on", "dedup=off"}
    assert [whole for _, whole in in_training["dedup=off"].values()] == [3, 3]
    assert set(report.extra["overlap"]) == {"dedup=on", "dedup=off"}
    assert report.extra["overlap"]["dedup=on"]["reference"] == [0, 3]
    assert report.extra["overlap"]["dedup=on"]["held_out"][1] > 50
    assert report.extra["cleared"] == ["dedup=on", "dedup=off"]
    assert report.extra["common"] is None


def test_duplicates_are_gone_from_the_arm_that_removes_them(planted):
    texts = {}
    for each in planted.tried:
        if each.trial.share == 1:
            texts[each.trial.arm.name] = each.base.bill()["epochs.function"]
    assert texts["dedup=on"] > texts["dedup=off"]


def test_the_signal_of_each_metric_is_judged_by_trials_on_half_of_the_tokens(planted):
    report = planted.report.report()
    halves = [each for each in planted.tried if each.trial.share < 1]
    assert [(each.trial.arm.name, each.trial.seed) for each in halves] == [
        ("dedup=on", 1), ("dedup=on", 2),
    ]  # fmt: skip
    whole, half = planted.tried[0].trial.arm, halves[0].trial.arm
    assert half.steps == pytest.approx(whole.steps / 2, abs=0.5)
    metric = "bits_per_byte.held_out: function"
    values, half = (report.extra[name][metric]["dedup=on"] for name in ("values", "half"))
    gain = sum(half[seed] - values[seed] for seed in half) / 2
    assert report.extra["signal"][metric]["gain"] == pytest.approx(gain)
    assert report.extra["signal"]["memorised.1×"]["fails"] == ["it is the same in every trial"]


@pytest.mark.whole
def test_shuffled_words_are_worse_in_every_domain(store):
    domains = ["collect.held_out_fraction=0.1", "ablate.bits_per_byte.documents=30"]
    found = ablate(asked(*domains, "plant.shuffled=0,1", "ablate.signal=off"), store, silent=True)
    report = found.report.report()
    told = {each["metric"]: each["difference"] for each in report.comparisons}
    assert {f"bits_per_byte.{each}" for each in ("all", "function", "topic")} <= told.keys()
    assert min(told.values()) > 0.02


@pytest.mark.whole
def test_an_axis_behind_the_base_model_is_judged_by_the_evaluation(store):
    axes = ["finetune.epochs=0.05,1", "align=off", "evaluate.answers=6", "evaluate.seeds=0"]
    tasks = "ablate.tasks=[bits_per_byte]"
    found = ablate(asked(*axes, tasks), store, silent=True)
    report = found.report.report()
    assert {each.name for each in report.measurements} == {"bits_per_byte (sft)"}
    (comparison,) = report.comparisons  # base models are the same, and no evidence of anything
    assert comparison["difference"] != 0
    bases = {each.base.digest for each in found.tried}
    assert len(bases) == 2  # one of each seed


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        (["finetune.epochs=1,2", "evaluate=off"], "no task of the evaluation"),
        (["pretrain.tokens=1k,2k", "ablate.tasks=[efficiency]"], "no metric of an arm"),
        (["pretrain.model.context=64,128", "ablate.metrics=[memorisation]"], "reads 64 tokens"),
        (["plant.documents=0,3", "ablate.metrics=[memorisation]"], "asked about other documents"),
    ],
)
def test_what_nothing_would_measure_is_refused(axes, said):
    with pytest.raises(RecipeError, match=said):
        asked(*axes)
