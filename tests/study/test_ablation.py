"""Ablations of a tiny recipe: what is made once, what is judged, what becomes of a failed trial."""

import json
import re
import sys

import pytest

import volano
from volano.cli.main import run_command
from volano.core.errors import DataError, RecipeError, RunFailed, StoreError
from volano.core.store import Store
from volano.evaluate.section import DomainsSection
from volano.study import ablation_run
from volano.study.ablation import ablate, plan_ablation
from volano.study.ablation_plan import reckon
from volano.study.axes import arms_of
from volano.study.compare import compare
from volano.study.run import run
from volano.train.interruption import Stopped

pytest.importorskip("torch")
pytestmark = pytest.mark.xdist_group("ablation")
SMALL = [
    "collect.held_out_functions=60",
    "tokenizer.vocabulary=512",
    "pretrain.model.parameters=0.05M",
    "pretrain.tokens=12k",
]
DOMAINS = DomainsSection(documents=60)


def planned(*axes, seeds=2, recipe="tiny/python-docs", small=SMALL):
    asked = ["ablate.bits_per_byte.documents=60", "ablate.signal=off", f"ablate.seeds={seeds}"]
    return plan_ablation(arms_of(recipe, [*small, *asked, *axes]))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("ablation") / "runs")


@pytest.fixture(scope="module")
def done(store):
    """Text as it is, and with the words of each document shuffled."""
    return ablate(planned("curate.dedup.minhash=on,off", seeds=3), store, silent=True)


def test_arms_share_what_they_have_in_common(done, store):
    kinds = [each.name for each in store.artifacts()]
    assert kinds.count("tiny-python-docs-ablation/collected") == 1
    assert kinds.count("tiny-python-docs-ablation/curated") == 2
    assert kinds.count("tiny-python-docs-ablation/base") == 6


def test_every_metric_is_compared_with_the_first_arm(done):
    report = done.report.report()
    metrics = {each.name for each in report.measurements}
    assert metrics == {"bits_per_byte.function"}
    (found,) = report.comparisons
    assert found["arm"] == "minhash=off"
    assert found["n"] == 3
    values = report.extra["values"]["bits_per_byte.function"]
    one, two = values["minhash=on"], values["minhash=off"]
    assert set(one) == set(two) == {"1", "2", "3"}
    assert found["difference"] == pytest.approx(sum(two[s] - one[s] for s in one) / 3)
    better = found["difference"] < 0
    shown = found["adjusted"] < 0.05
    told = "better" if better else "worse"
    assert found["verdict"] == (told if shown else "no difference shown")


def test_show_prints_the_verdicts(done, store, capsys):
    code = run_command(["show", done.report.name, "--store", str(store.folder)])
    said = capsys.readouterr().out
    assert code == 0
    assert "A: minhash=on, which the others are compared with" in said
    assert run_command(["show", "tiny-python-docs-ablation", "--store", str(store.folder)]) == 0
    assert capsys.readouterr().out == said
    assert "B: minhash=off" in said
    assert "bits_per_byte.function" in said
    assert run_command(["show", "tiny-python-docs-ablatoin", "--store", str(store.folder)]) == 2
    assert "Did you mean 'tiny-python-docs-ablation'?" in capsys.readouterr().err


def test_the_command_plans_ablates_and_says_it_as_json(done, store, capsys):
    asked = ["tiny/python-docs", *SMALL, "curate.dedup.minhash=on,off"]
    asked.append("ablate.signal=off")
    options = ["--seeds", "3", "--documents", "60", "--store", str(store.folder)]
    assert run_command(["ablate", *asked, *options, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["comparisons"] == list(done.report.report().comparisons)
    assert found["report"].startswith("report/tiny-python-docs-ablation/verdicts-")
    assert found["page"] == str(store.folder / "reports" / "tiny-python-docs-ablation.html")
    with_near, without = found["funnels"].values()
    assert "near" in {each["filter"] for each in with_near}
    assert "near" not in {each["filter"] for each in without}
    assert run_command(["ablate", *asked, *options, "--plan", "--json"]) == 0
    assert [each["reused"] for each in json.loads(capsys.readouterr().out)["arms"]] == [3, 3]
    assert run_command(["ablate", "tiny/python-docs", "curate.dedup.minhsh=on,off"]) == 2
    assert "Did you mean 'minhash'" in capsys.readouterr().err
    assert run_command(["ablate", *asked, *options, "--match", "token"]) == 2
    assert "ablate.match: Input should be 'tokens', 'compute'" in capsys.readouterr().err


def test_the_page_is_written_at_the_end_and_again_by_each_of_its_names(done, store, capsys):
    pytest.importorskip("jinja2")
    asked = ["tiny/python-docs", *SMALL, "curate.dedup.minhash=on,off", "ablate.signal=off"]
    options = ["--seeds", "3", "--documents", "60", "--store", str(store.folder)]
    page = store.folder / "reports" / "tiny-python-docs-ablation.html"
    assert run_command(["ablate", *asked, *options]) == 0
    assert f"Page: {page}" in capsys.readouterr().out
    written = page.read_text("utf-8")
    for name in ("tiny-python-docs-ablation", done.report.name, store.path_of(done.report)):
        page.unlink()
        assert run_command(["report", name, "--store", str(store.folder)]) == 0
        assert page.read_text("utf-8") == written
    capsys.readouterr()
    assert run_command(["report", done.report.name, "--store", str(store.folder), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["arms"][1]["differs"][0].startswith("curated: dedup.minhash: ")
    assert figures["data"]["beside"][0]["sides"][1]["documents"] > 0


def test_without_the_extra_the_verdicts_are_told_and_the_page_is_not(
    done, store, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    asked = ["tiny/python-docs", *SMALL, "curate.dedup.minhash=on,off", "ablate.signal=off"]
    options = ["--seeds", "3", "--documents", "60", "--store", str(store.folder)]
    assert run_command(["ablate", *asked, *options]) == 0
    said = capsys.readouterr().out
    assert "B: minhash=off" in said
    assert (
        "No page: report: jinja2 is not installed. Install it: pip install 'volano[serve]'" in said
    )
    assert run_command(["ablate", *asked, *options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["page"] is None


def test_compare_prints_both_and_what_differs(done, store, capsys):
    names = [store.path_of(base_of(done, each, 1)) for each in ("minhash=on", "minhash=off")]
    options = ["--documents", "60", "--store", str(store.folder)]
    assert run_command(["compare", *names, *options]) == 0
    said = capsys.readouterr().out
    assert "by the second alone (stdlib " in said
    assert "curate: dedup.minhash: " in said
    assert run_command(["compare", *names, *options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["second"] == names[1]
    assert run_command(["compare", names[0], "tiny-python-docs-ablation/curated", *options]) == 2


def test_a_second_ablation_trains_nothing_and_says_the_same(done, store, monkeypatch):
    again = ablate(planned("curate.dedup.minhash=on,off", seeds=3), store, silent=True)
    assert all(each.reused for each in again.tried)
    assert again.report.digest == done.report.digest


def test_another_seed_adds_its_trials_alone(done, store):
    more = ablate(planned("curate.dedup.minhash=on,off", seeds=4), store, silent=True)
    assert [each.trial.seed for each in more.tried if not each.reused] == [4, 4]


def test_the_plan_knows_what_is_there_and_what_can_be_seen(done, store, tmp_path):
    known = reckon(planned("curate.dedup.minhash=on,off", seeds=3), store)
    assert [each.reused for each in known.arms] == [3, 3]
    assert known.seconds == 0
    assert 0 < known.visible["bits_per_byte.function"] < 1
    new = reckon(planned("curate.dedup.minhash=on,off", seeds=3), Store(tmp_path / "runs"))
    assert [each.reused for each in new.arms] == [0, 0]
    assert new.seconds > 0
    assert new.visible == {}
    assert not (tmp_path / "runs").exists()
    fewer = reckon(planned("curate.dedup.minhash=on,off", seeds=2), store)
    assert fewer.visible["bits_per_byte.function"] > known.visible["bits_per_byte.function"]


def test_an_arm_that_is_the_same_is_said_and_not_trained(store, done):
    said = []
    same = planned("curate.language.min_score=0.3,0.300001")  # nothing lies between
    with pytest.raises(DataError, match=r"differ\. min_score=0\.300001 has the content of min_sc"):
        ablate(same, store, silent=True, told=said.append)
    assert said == [
        "min_score=0.300001 has the same content as min_score=0.3: it is not trained again."
    ]


def test_the_report_says_whose_content_an_arm_has(store, done):
    found = ablate(planned("curate.language.min_score=0.3,0.300001,0.9"), store, silent=True)
    report = found.report.report()
    assert report.extra["alike"] == {"min_score=0.300001": "min_score=0.3"}
    assert [each["arm"] for each in report.comparisons] == ["min_score=0.9"]


def test_python_asks_as_the_command_does(done, store):
    settings = ["ablate.bits_per_byte.documents=60", "ablate.signal=off"]
    asked = ["tiny/python-docs", *SMALL, *settings, "curate.dedup.minhash=on,off"]
    assert volano.ablate(*asked, store=store.folder).digest == done.report.digest


def test_an_option_that_changes_nothing_shows_no_difference(store, done):
    found = ablate(planned("pretrain.evaluate_documents=10,11", seeds=3), store, silent=True)
    (comparison,) = found.report.report().comparisons
    assert comparison["verdict"] == "no difference shown"
    assert comparison["difference"] == 0


@pytest.fixture
def rivers(tmp_path):
    """A recipe of a user's own texts."""
    path, texts = tmp_path / "mine.yaml", tmp_path / "texts.jsonl"
    said = "The river {} carries the mountain rainwater towards all of the northern oceans. "
    names = ["".join(chr(ord("k") + int(digit)) for digit in str(n)) for n in range(100, 140)]
    records = [
        {"id": each, "text": said.format(each) * (9 + 9 * (place % 2))}
        for place, each in enumerate(names)
    ]
    texts.write_text("".join(f"{json.dumps(each)}\n" for each in records))
    path.write_text(
        f"name: mine\ncollect: {{source: files, paths: ['{texts}']}}\n"
        "curate: {quality: {rules: [gopher_quality]}, dedup: off, decontaminate: off}\n"
        "tokenizer: {vocabulary: 300}\npretrain: {model: {parameters: 0.02M}, tokens: 5k}\n"
        "finetune: off\nalign: off\nevaluate: off\n"
    )
    return str(path)


def test_an_arm_left_empty_by_its_filter_does_not_lose_the_others(rivers, tmp_path):
    said = []
    axes = [
        "curate.quality.gopher_quality.min_words=70,71,150,1000",
        "collect.held_out_fraction=0.3",
    ]
    asked = planned(*axes, "pretrain.tokens=5k", recipe=rivers, small=[])
    found = ablate(asked, Store(tmp_path / "runs"), silent=True, told=said.append)
    empty = [line for line in said if "were dropped" in line]
    assert [line.partition(":")[0] for line in empty] == ["min_words=1000"]
    report = found.report.report()
    assert {(each["arm"], each["seed"]) for each in report.extra["failures"]} == {
        ("min_words=1000", seed) for seed in (1, 2)
    }
    assert [each["arm"] for each in report.comparisons] == ["min_words=150"]


def test_why_no_arm_is_left_is_told_where_nothing_else_is(rivers, tmp_path, capsys):
    axes = ["curate.quality.gopher_quality.min_words=70,1000", "collect.held_out_fraction=0.3"]
    options = ["--seeds", "2", "--store", str(tmp_path / "runs"), "--json"]
    assert run_command(["ablate", rivers, *axes, *options]) == 2
    assert "min_words=1000: " in capsys.readouterr().err


@pytest.fixture
def one_diverges(monkeypatch):
    """The second seed of the second arm."""
    tried = ablation_run.try_out

    def diverging(trial, *about):
        if (trial.arm.name, trial.seed) == ("minhash=off", 2):
            raise RunFailed("the loss has diverged", "training", "Lower learning_rate.")
        return tried(trial, *about)

    monkeypatch.setattr(ablation_run, "try_out", diverging)


@pytest.mark.usefixtures("one_diverges")
def test_one_seed_that_is_left_is_shown_though_nothing_can_be_compared(store, done, capsys):
    asked = ["tiny/python-docs", *SMALL, "curate.dedup.minhash=on,off", "ablate.signal=off"]
    options = ["--seeds", "2", "--documents", "60", "--store", str(store.folder)]
    assert run_command(["ablate", *asked, *options]) == 2
    said = capsys.readouterr()
    assert "Not measured, or not all of it: minhash=off, seed 2: training: the loss" in said.out
    assert "1 of 4 trials failed: no arm has 2 seeds in common with the first" in said.err
    page = (store.folder / "reports" / "tiny-python-docs-ablation.html").read_text("utf-8")
    assert "Nothing is compared: no arm has two seeds in common" in page


@pytest.mark.usefixtures("one_diverges")
def test_a_seed_that_diverged_stays_in_the_table(store, done):
    found = ablate(planned("curate.dedup.minhash=on,off", seeds=3), store, silent=True)
    report = found.report.report()
    assert [(each["arm"], each["seed"]) for each in report.extra["failures"]] == [
        ("minhash=off", 2)
    ]
    assert report.comparisons[0]["n"] == 2


def test_a_signal_stops_all_of_it_and_not_a_trial_alone(store, done, monkeypatch):
    tried = []

    def stopping(trial, *about):
        tried.append(trial)
        raise Stopped("SIGTERM", "after step 8")

    monkeypatch.setattr(ablation_run, "try_out", stopping)
    with pytest.raises(Stopped):
        ablate(planned("curate.dedup.minhash=on,off"), store, silent=True)
    assert len(tried) == 1


def test_sizes_are_compared_apart(store, done):
    axes = ["curate.dedup.minhash=on,off", "pretrain.model.parameters=0.05M,0.06M"]
    report = ablate(planned(*axes), store, silent=True).report.report()
    assert [each["metric"] for each in report.comparisons] == [
        "bits_per_byte.function @ 0.05M parameters",
        "bits_per_byte.function @ 0.06M parameters",
    ]


def base_of(done, name, seed):
    return next(
        each.base for each in done.tried if (each.trial.arm.name, each.trial.seed) == (name, seed)
    )


def test_two_models_are_compared_document_by_document_and_by_their_data(done, store):
    one, two = base_of(done, "minhash=on", 1), base_of(done, "minhash=off", 1)
    found = compare(store, one, two, section=DOMAINS, silent=True)
    (domain,) = found.domains
    report = done.report.report()
    values = report.extra["values"]["bits_per_byte.function"]
    assert domain.first == pytest.approx(values["minhash=on"]["1"])
    assert domain.difference == pytest.approx(values["minhash=off"]["1"] - domain.first)
    assert domain.low <= domain.difference <= domain.high
    lines = {each.step: each.lines for each in found.apart}
    assert any(line.startswith("dedup.minhash: ") for line in lines["curate"])
    assert any(line.startswith("records: 0 only in the first") for line in lines["curate"])
    assert found.seen.only_second > 0
    assert sum(found.seen.only_second_by_source.values()) == found.seen.only_second
    assert set(found.seen.only_second_by_source) == {"stdlib"}
    assert found.seen.only_second_because["dropped by near"] > 0
    assert sum(found.seen.only_second_because.values()) == found.seen.only_second


def test_a_model_compared_with_itself_differs_in_nothing(done, store):
    one = base_of(done, "minhash=on", 1)
    found = compare(store, one, one, section=DOMAINS, silent=True)
    assert (found.domains[0].difference, found.domains[0].p_value) == (0, 1)
    assert found.apart == []
    assert (found.seen.only_first, found.seen.only_second) == (0, 0)


def test_what_cannot_be_compared_is_refused(done, store, rivers, tmp_path):
    one = base_of(done, "minhash=on", 1)
    with pytest.raises(StoreError, match="this is a corpus, not a checkpoint"):
        compare(store, one, store["tiny-python-docs-ablation/curated"], section=DOMAINS)
    recipe = arms_of(rivers, ["pretrain.tokens=5k,13k", "collect.held_out_fraction=0.3"])[0].recipe
    other = run(recipe, store, targets=("base",), silent=True)[-1].artifact
    with pytest.raises(StoreError, match="not kept from the same held-out documents"):
        compare(store, one, other, section=DOMAINS)
    found = compare(store, one, other, section=DOMAINS, on=[store["mine/held_out"]], silent=True)
    assert found.domains[0].n > 2


@pytest.mark.parametrize(
    ("axes", "seeds", "said"),
    [
        (["pretrain.tokens=12k,13k"], 1, "fewer than 2 seeds show no spread"),
        (["pretrain=off", "curate.dedup.minhash=on,off"], 2, "trains none"),
    ],
)
def test_what_can_show_nothing_is_refused(axes, seeds, said):
    with pytest.raises(RecipeError, match=said):
        planned("finetune=off", "align=off", *axes, seeds=seeds, small=[])


@pytest.mark.whole
def test_documents_held_equal_are_read_equally_often(rivers, tmp_path):
    # The second arm has fewer texts, so it is trained on fewer tokens.
    axes = ["curate.quality.gopher_quality.min_words=70,150", "pretrain.tokens=20k"]
    axes.append("pretrain.batch_rows=1")
    axes += ["collect.held_out_fraction=0.3", "ablate.match=documents"]
    asked = planned(*axes, recipe=rivers, small=[])
    found = ablate(asked, Store(tmp_path / "runs"), silent=True, told=print)
    epochs, tokens = {}, {}
    for each in found.tried:
        bill = each.base.bill()
        epochs.setdefault(each.trial.arm.name, bill["epochs.text"])
        tokens.setdefault(each.trial.arm.name, each.trial.arm.tokens)
    assert tokens["min_words=150"] < 0.8 * tokens["min_words=70"]
    assert epochs["min_words=150"] == pytest.approx(epochs["min_words=70"], rel=0.1)


def test_where_nothing_is_held_out_nothing_is_trained(rivers, tmp_path):
    asked = planned("pretrain.tokens=5k,13k", recipe=rivers, small=[])
    store = Store(tmp_path / "runs")
    with pytest.raises(DataError, match=r"nothing is held out of these documents.*0\.1"):
        ablate(asked, store, silent=True)
    assert not [each for each in store.artifacts() if each.kind == "checkpoint"]


def test_arms_of_the_same_settings_are_refused_before_anything_is_made(rivers):
    with pytest.raises(RecipeError, match="a, b have the same settings"):
        planned("ablate.arms={a: [], b: []}", recipe=rivers, small=[])


def test_arms_that_fail_alike_are_told_once_why(rivers, tmp_path):
    (tmp_path / "empty.jsonl").write_text("")
    paths = f"collect.paths=['{tmp_path / 'texts.jsonl'}'],['{tmp_path / 'empty.jsonl'}']"
    held = "collect.held_out_fraction=0.3"
    asked = planned(paths, held, "curate.dedup=off,on", recipe=rivers, small=[])
    said = []
    with pytest.raises(DataError, match="fewer than two arms"):  # the first two are the same
        ablate(asked, Store(tmp_path / "runs"), silent=True, told=said.append)
    assert "empty. Name files" in said[1]
    assert re.search(r"empty.jsonl'\], dedup=on: as .*empty.jsonl'\], dedup=off", said[2])


def test_nothing_is_trained_without_the_arm_that_others_are_compared_with(tmp_path):
    (tmp_path / "empty.jsonl").write_text("")
    collect = f"collect={{source: files, paths: ['{tmp_path / 'empty.jsonl'}']}}"
    asked = planned(collect, "curate.decontaminate=off", "curate.dedup=on,off", small=[])
    with pytest.raises(DataError, match=r"others are compared with, dedup=on: .*empty"):
        ablate(asked, Store(tmp_path / "runs"), silent=True)


def test_more_at_once_than_can_be_is_refused_before_anything_is_made(tmp_path):
    asked = planned("curate.dedup=on,off", "ablate.at_once=99")
    with pytest.raises(RecipeError, match="no more than"):
        ablate(asked, Store(tmp_path / "runs"), silent=True)
    assert not (tmp_path / "runs").exists()


def test_what_a_run_would_say_of_the_data_is_said_of_the_arm_that_has_them(
    rivers, tmp_path, capsys
):
    with (tmp_path / "texts.jsonl").open("a") as texts:
        texts.writelines(f'{{"id": "short {n}", "text": "Rain."}}\n' for n in range(4))
        texts.write('{"id": "broken", "text": \n')
    axis = "curate.quality.gopher_quality.min_words=150,151"  # of 117 or 234
    store = str(tmp_path / "runs")
    held = "collect.held_out_fraction=0.3"
    assert run_command(["ablate", rivers, axis, held, "--store", store]) == 2
    lines = capsys.readouterr().out.replace("\n", " ")
    assert lines.count("min_words=150, collected: 1 record in quarantine, first") == 1
    assert re.search(r"min_words=150, curated: keeps \d+ of \d+ documents \(", lines)
    assert "min_words=151 has the same content as min_words=150" in lines
