"""What the plan of an ablation counts, and a pilot that tells the noise."""

import json
from math import sqrt

import pytest
from toy_recipe import write_rivers

from volano.cli.main import run_command
from volano.core.errors import VolanoError
from volano.core.report import Measurement, Report
from volano.core.step import Step
from volano.core.store import Store
from volano.stats.seeds import share_error, visible_difference
from volano.study.ablation import plan_ablation
from volano.study.ablation_budget import fit
from volano.study.ablation_plan import _visible, reckon, scaled
from volano.study.ablation_reckoned import Reckoned, makespan
from volano.study.ablation_sample import Beside, SampledStore
from volano.study.axes import arms_of
from volano.study.run import run
from volano.study.spread import Spread
from volano.study.trial import stages_of_trial

pytest.importorskip("torch")
pytestmark = pytest.mark.xdist_group("ablation plan")
ROLES = ("user", "assistant")


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A recipe whose data are there in no time, in many small files."""
    write_rivers(tmp_path, files=80)
    monkeypatch.chdir(tmp_path)
    return ["pretrain.learning_rate=0.01,0.02"]


def test_trials_that_run_at_the_same_time_end_when_the_last_does():
    assert makespan([3, 3, 3], 2) == 6
    assert makespan([3, 3, 3], 1) == 9
    assert makespan([], 2) == 0


def test_the_whole_is_data_and_what_lies_beside_training_too():
    plan = Reckoned(
        [], {}, spread=Spread(2, 1), beside=Beside(10, 1, 2), beginning=4, trials=(20.0,) * 3
    )
    assert plan.seconds == 10 + 4 + 2 * 23
    assert plan.said_of_minutes(lambda seconds: f"{seconds:g} s") == (
        "All of it: 60 s, by this machine now: data 10 s, training 40 s (2 trials at a time with 1 "
        "thread each), beginning, keeping and measuring 10 s."
    )


def test_a_sample_is_of_that_fraction_of_the_files(mine, tmp_path):
    recipe = arms_of("mine.yaml", mine)[0].recipe
    made = run(recipe, SampledStore(tmp_path / "sample", 0.25), targets=["collected"], silent=True)
    assert 15 <= made[0].artifact.corpus().manifest["records"] <= 20


def test_a_plan_of_what_is_not_made_counts_all_and_leaves_nothing(mine, tmp_path):
    ablation = plan_ablation(arms_of("mine.yaml", mine))
    plan = reckon(ablation, Store(tmp_path / "runs"))
    assert plan.unknown == ""
    assert len(plan.trials) == 6  # two of them for the signal
    assert plan.trials[4] == pytest.approx(plan.trials[0] / 2, rel=0.1)
    assert min(plan.beside[:3]) > 0
    assert plan.beside.behind == {}
    assert plan.seconds > plan.beside.data + plan.training_seconds
    assert plan.signal is not None
    assert (plan.signal.trials, plan.signal.reused) == (2, 0)
    assert plan.signal.tokens == pytest.approx(plan.arms[0].tokens / 2, rel=0.1)
    assert plan.signal.seconds == pytest.approx(sum(plan.trials[4:]))
    assert plan.said_of_data() == "No data of it are in the store yet."
    assert not (tmp_path / "runs").exists()


def test_data_that_are_in_the_store_are_named_arm_by_arm(mine, tmp_path, capsys):
    store = Store(tmp_path / "runs")
    asked = ["curate.quality.rules=[],[gopher_quality]", "ablate.signal=off"]
    ablation = plan_ablation(arms_of("mine.yaml", asked))
    recipe = ablation.trials()[0].recipe
    run(recipe, store, targets=["curated"], silent=True)
    plan = reckon(ablation, store)
    assert plan.there == {"collected": 2, "curated": 1}
    assert plan.said_of_data() == (
        "Data reused from the store: collected of all arms; curated of 1 of 2 arms."
    )
    assert plan.plain()["data_reused"] == plan.there
    assert plan.plain()["signal"] is None
    assert run_command(["ablate", "mine.yaml", *asked, "--plan", "--store", str(store.folder)]) == 0
    printed = capsys.readouterr().out
    assert plan.said_of_data() in " ".join(printed.split())
    assert "for the signal" not in printed


def test_what_is_known_of_held_out_text_is_counted_in_the_sample(mine, tmp_path, monkeypatch):
    counted = []

    def noted(arm, present, store, name, *, silent):
        counted.append(sorted(present))
        return {}

    monkeypatch.setattr("volano.study.ablation_sample.overlap_of", noted)
    reckon(plan_ablation(arms_of("mine.yaml", mine)), Store(tmp_path / "runs"))
    assert len(counted) == 6  # two arms: a sixteenth twice, and a quarter
    assert {"curated", "held_out"} <= set(counted[0])


def test_where_a_sample_lacks_a_kind_all_files_are_timed(mine, tmp_path, monkeypatch):
    fractions = []
    whole = SampledStore.__init__

    def noted(store, folder, fraction):
        fractions.append(fraction)
        whole(store, folder, fraction)

    monkeypatch.setattr(SampledStore, "__init__", noted)
    monkeypatch.setattr("volano.study.ablation_sample.FRACTIONS", (1e-6, 2e-6))  # one file
    plan = reckon(plan_ablation(arms_of("mine.yaml", mine)), Store(tmp_path / "runs"))
    assert fractions[-1] == 1.0
    assert plan.unknown == ""


def test_what_not_even_all_files_have_is_said(mine, tmp_path):
    ablation = plan_ablation(arms_of("mine.yaml", [*mine, "collect.held_out_fraction=0"]))
    with pytest.raises(VolanoError):  # and the ablation would end so too
        reckon(ablation, Store(tmp_path / "runs"))


def test_what_is_too_large_to_be_timed_is_said(mine, tmp_path, monkeypatch):
    monkeypatch.setattr("volano.study.ablation_sample.MOST_BYTES", 100)
    plan = reckon(plan_ablation(arms_of("mine.yaml", mine)), Store(tmp_path / "runs"))
    assert "data and measuring are not known: " in plan.said_of_minutes(str)


@pytest.mark.whole
def test_a_pilot_trains_two_seeds_that_the_ablation_takes_over(mine, capsys):
    asked = ["ablate", "mine.yaml", *mine, "--seeds", "3", "--json"]
    assert run_command([*asked, "--pilot"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["reused"] for each in found["arms"]] == [2, 0]
    assert found["visible"]["bits_per_byte.text"] > 0
    assert found["data_seconds"] == 0
    store = Store("runs")
    made = [each.digest for each in store.artifacts() if each.name == "mine-ablation/base"]
    # By hand: the noise of two seeds, of a difference of two arms, among two comparisons.
    domains = [each for each in store.artifacts() if each.name == "mine-ablation/domains"]
    (one,), (other,) = (each.report().measurements for each in domains)
    noise = abs(one.value - other.value) / sqrt(2)
    three = ["pretrain.learning_rate=0.01,0.02,0.03", "ablate.seeds=3"]
    seen = _visible(plan_ablation(arms_of("mine.yaml", three)), store)
    expected = visible_difference(sqrt(2) * noise, 3, tests=2)
    assert seen == {"bits_per_byte.text": pytest.approx(expected)}
    # Models of other token counts have another noise, which is not known.
    longer = plan_ablation(arms_of("mine.yaml", [*three, "pretrain.tokens=9k"]))
    assert _visible(longer, store) == {}
    assert run_command(asked) == 0
    bases = {each.digest for each in store.artifacts() if each.name == "mine-ablation/base"}
    assert (len(made), len(bases)) == (2, 6)  # and two on half of the tokens
    assert bases > set(made)


def test_shares_on_which_all_seeds_agree_show_no_difference_that_cannot_be(tmp_path):
    store = Store(tmp_path / "runs")
    asked = ["curate.dedup=on,off", "plant={canaries: 2, copies: [1]}", "ablate.signal=off"]
    metrics = ["ablate.metrics=[leaks]", "pretrain.tokens=5k"]
    ablation = plan_ablation(arms_of("tiny/python-docs", [*asked, *metrics]))
    stages, _ = stages_of_trial(ablation.trials()[0].recipe, ablation.asked)
    leaks = next(each for each in stages if each.name == "leaks")

    def pack(section, inputs, context):
        (context.folder / "tokens").write_text("of both seeds")

    packing = ablation.arms[0].section.packing()
    order = store.order(Step("pack", "tokens", 1, type(packing), pack), packing, {}, name="tokens")
    tokens = store.make(order, silent=True).artifact
    for seed in (1, 2):

        def train(section, inputs, context):
            (context.folder / "weights").write_text(str(context.seed))

        def measure(section, inputs, context, seed=seed):
            found = [Measurement("exposure.1×", "base", *[1.4 + seed / 100] * 3, 4)]
            for name, n in (("leaked.1×", 4), ("leaked.9×", 4_000)):
                found.append(Measurement(name, "base", 0.0, 0.0, 0.0, n, "share"))
            Report(tuple(found)).save(context.folder / "report.json")

        section = ablation.arms[0].section
        base = Step("base", "checkpoint", 1, type(section), train, seeded=True)
        inputs = {"tokens": tokens}
        order = store.order(base, section, inputs, name=f"{ablation.name}/base", seed=seed)
        inputs = {"base": store.make(order, silent=True).artifact}
        step = Step("leaks", "report", 1, type(leaks.section), measure)
        order = store.order(step, leaks.section, inputs, name=f"{ablation.name}/leaks")
        store.make(order, silent=True)
    seen = _visible(ablation, store)
    error = share_error([0.0, 0.0], 4_000)
    assert seen["leaked.9×"] == pytest.approx(visible_difference(error, 3, tests=3))
    assert seen["exposure.1×"] > 0
    assert "leaked.1×" not in seen  # of four canaries three seeds could show none
    sizes = ["pretrain.tokens=5k,9k", metrics[0]]
    of_both = _visible(plan_ablation(arms_of("tiny/python-docs", [*asked, *sizes])), store)
    assert of_both["leaked.9×"] == pytest.approx(visible_difference(error, 3, tests=6))


def test_the_signal_is_looked_for_in_the_last_size(mine):
    sizes = "pretrain.model.parameters=0.02M,0.03M"
    ablation = plan_ablation(arms_of("mine.yaml", [*mine, sizes]))
    first = [(each.arm.name, each.arm.size) for each in ablation.signal_trials()]
    assert first == [("learning_rate=0.01", "0.03M parameters")] * 2


def test_a_smaller_ablation_is_planned_by_the_rates_of_the_larger(mine, tmp_path, monkeypatch):
    store = Store(tmp_path / "runs")
    whole = plan_ablation(arms_of("mine.yaml", [*mine, "pretrain.tokens=50k"]))
    plan = reckon(whole, store)
    monkeypatch.setattr("volano.study.ablation_plan.choose", None)  # measures nothing again
    fewer = plan_ablation(arms_of("mine.yaml", [*mine, "pretrain.tokens=25k"]))
    half = scaled(plan, fewer, store)
    assert half.training_seconds == pytest.approx(plan.training_seconds / 2, rel=0.05)
    assert half.beside == plan.beside


def test_arms_that_differ_behind_their_base_share_it_and_count_what_is_behind(mine, tmp_path):
    lines = [
        {"messages": [{"role": role, "content": f"{role} {n} of the river"} for role in ROLES]}
        for n in range(60)
    ]
    (tmp_path / "chats.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in lines))
    tuned = "finetune={data: chats.jsonl, held_out: 0.3, epochs: 1, context: 64}"
    measured = "evaluate={tasks: [conversations], conversations: 5, conversation_tokens: 4}"
    asked = [tuned, measured, "pretrain.tokens=50k", "finetune.epochs=1,4"]
    ablation = plan_ablation(arms_of("mine.yaml", asked))
    plan = reckon(ablation, Store(tmp_path / "runs"))
    assert plan.unknown == ""
    short, long = plan.arms
    assert long.behind["sft"] == 4 * short.behind["sft"] > 0
    assert short.seconds == pytest.approx(2 * (short.base_seconds + short.behind["sft"]))
    assert long.seconds == pytest.approx(2 * long.behind["sft"])
    smaller = fit(ablation, plan, plan.seconds / 60 - 1e-3)
    assert smaller.arms[0].tokens < ablation.arms[0].tokens
