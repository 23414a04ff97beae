"""The page of an ablation that trained nothing: true figures, escaped, and nothing loaded."""

import re
import shutil

import pytest
from page_reader import assert_loads_nothing

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

import toy_ablation
from toy_ablation import ARM, EVERY, FIRST, MAIN, METRICS, NAME, SCRIPT, ablation, trial

from volano.core.artifact import BILL
from volano.core.errors import StoreError
from volano.core.files import read_json, write_json
from volano.core.store import Store
from volano.study import ablation_read
from volano.study.ablation_data import _bars, _in_one_order, funnels_of
from volano.study.ablation_found import find_ablation, letter_of, verdicts_named
from volano.study.ablation_page import ablation_figures, render_ablation, write_ablation_page
from volano.study.ablation_read import read_by
from volano.study.words import duration

SECTIONS = ["verdicts", "signal", "training", "data", "cost", "repeat"]
FAILING = {
    "gain": 0.001, "noise": 0.05, "signal_to_noise": 0.02, "seeds_agree": 0.5, "sizes_agree": None,
    "fails": ["training hardly moves it"],
}  # fmt: skip
PASSING = FAILING | {"fails": []}
SIGNAL = {"bits_per_byte.prose": PASSING, "choice_pmi": FAILING}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("ablation") / "runs")


@pytest.fixture(scope="module")
def found(store):
    return find_ablation(store, ablation(store))


@pytest.fixture(scope="module")
def figures(found):
    return ablation_figures(found)


@pytest.fixture(scope="module")
def page(found):
    return render_ablation(found)


def story(figures):
    return " ".join(figures["paragraphs"])


def rows_of(page, section):
    """The rows of a section's tables that stand open, as text."""
    part = page[page.index(f'<section id="{section}"') :]
    part = re.sub(r"<details.*?</details>", "", part[: part.index("</section>")], flags=re.S)
    return [re.sub(r"<[^>]+>", " ", row).split() for row in re.findall(r"<tr.*?</tr>", part, re.S)]


def test_every_section_is_there_in_order_and_nothing_is_loaded(page):
    assert re.findall(r'<section id="([a-z]+)"', page) == SECTIONS
    assert_loads_nothing(page)


def test_what_documents_and_arms_are_called_and_say_is_escaped(page):
    assert SCRIPT not in page
    assert "&lt;script&gt;alert(" in page
    assert "<img" not in page
    assert "&lt;img src=x onerror" in page


def test_equal_artifacts_give_the_same_bytes_wherever_they_lie(store, page, tmp_path):
    shutil.copytree(store.folder, tmp_path / "copy")
    copy = Store(tmp_path / "copy")
    written = write_ablation_page(copy, copy[f"{NAME}/verdicts"])
    assert written == tmp_path / "copy" / "reports" / f"{NAME}.html"
    assert written.read_text("utf-8") == page


def test_the_table_has_each_figure_of_the_report(found, figures, page):
    report = found.report
    assert [each["metric"] for each in figures["metrics"]] == [m.name for m in report.measurements]
    printed = iter(rows_of(page, "verdicts")[1:])
    for row, measured in zip(figures["metrics"], report.measurements, strict=True):
        scale, digits = (100, 2) if measured.name == "choice_pmi" else (1, 4)
        said = next(printed)
        assert f"{scale * measured.value:.{digits}f}" in " ".join(said)
        assert row["n"] == measured.n == 3
        compared = [
            each
            for each in report.comparisons
            if (each["metric"], each["arm"]) == (measured.name, measured.stage)
        ]
        assert bool(compared) == (measured.stage != FIRST)
        for each in compared:
            numbers = [scale * each[name] for name in ("difference", "low", "high")]
            value, low, high = (f"{n:+.{digits}f}".replace("-", "−") for n in numbers)
            assert value in said
            assert f"{low} to {high}" in " ".join(said)
            assert row["verdict"].startswith(each["verdict"])


def test_the_verdict_is_told_in_words_with_its_figures(figures):
    assert figures["question"] == f"Does `{ARM}` do better than `{FIRST}`?"
    assert (
        figures["headline"] == f"`{ARM}` is better in 1 and worse in 1 of 3 metrics than `{FIRST}`."
    )
    for words in (
        f"`{ARM}` is better than `{FIRST}` in right answer chosen of four (+10.02 points, +",
        f"`{ARM}` is worse than `{FIRST}` in bits per byte, prose (+0.2520, +0.2",
        "no other difference is shown in bits per byte, code (+0.0100; ",
        "would have been seen). In brackets stands the difference and, of one that is shown, its ",
        "Arms are compared by 3 seeds that both have; p is adjusted for 3 comparisons.",
        "Every arm was given as many tokens: each model read 3,000 tokens.",
        f"`{FIRST}` read its text 2.5 times.",
    ):
        assert words in story(figures)
    assert "failed" not in story(figures)


def test_what_was_asked_and_held_equal_is_said_where_it_is_known(store):
    asked = {"question": "Are rules worth it?", "match": "compute"}
    told = ablation_figures(find_ablation(store, ablation(store, **asked)))
    assert told["question"] == "Are rules worth it?"
    assert "Every arm was given the same compute: each model read 3,000 tokens." in story(told)
    held = find_ablation(store, ablation(store, sizes=("1M", "2M"), **asked))
    bill = held.of(FIRST, "2M")[0].base.folder / BILL
    write_json(bill, {**read_json(bill), "parameters": 2000})
    assert "the same compute, so larger models read fewer tokens" in story(ablation_figures(held))


def test_what_a_reader_has_to_know_to_weigh_figures_is_said(store):
    extra = {
        "common": 18,
        "items": {"bits_per_byte.code": 7, "bits_per_byte.prose": 30, "choice_pmi": 1},
        "domains_of_one_document": 2,
        "in_training": {FIRST: {"1×": [3, 3], "9×": [2, 3]}, ARM: {"1×": [3, 3]}},
        "overlap": {FIRST: {"held_out": [3, 10]}},
    }
    told = story(ablation_figures(find_ablation(store, ablation(store, extra=extra))))
    for words in (
        "all are measured on the 18 that none trains on as they are.",
        "Of fewer than 30 documents or questions: bits per byte, code (7).",
        "2 domains of one held-out document have no row",
        f"Of the documents to be said by heart `{FIRST}` trains on 2 of 3 (9×).",
        f"Of 10 held-out documents 3 lie in what {FIRST} trains on",
    ):
        assert words in told
    bare = story(ablation_figures(find_ablation(store, ablation(store))))
    for words in ("none trains on", "Of fewer than", "no row", "by heart", "lie in what"):
        assert words not in bare


def test_of_a_mixture_it_is_told_how_often_each_kind_was_read(tmp_path):
    store = Store(tmp_path / "runs")
    found = find_ablation(store, ablation(store))
    assert read_by(found, FIRST) == " (read 3,000 tokens: its text of 6 documents 2.5 times)"
    assert read_by(found, ARM) == " (read 3,000 tokens: 0.5 of its text of 4 documents)"
    for each in found.of(FIRST):
        bill = each.base.folder / BILL
        kinds = {"epochs.code": 0.125, "epochs.prose": 1.5}
        rest = {key: value for key, value in read_json(bill).items() if key != "epochs.text"}
        write_json(bill, rest | kinds)
    found = find_ablation(store, found.verdicts)
    assert read_by(found, FIRST) == " (read 3,000 tokens: its text of 6 documents 1.5 times)"
    for each in found.of(FIRST):
        each.base.meta["identity"]["settings"]["mixture"] = {"code": 0.1, "prose": 0.9}
    assert read_by(found, FIRST) == (
        " (read 3,000 tokens of its text of 6 documents: code 0.12 times, prose 1.5 times)"
    )
    assert f"`{FIRST}` read code 0.12 times and prose 1.5 times." in story(ablation_figures(found))


def test_an_arm_left_with_next_to_nothing_is_named(found, monkeypatch):
    counts = {FIRST: 500, ARM: 49}
    monkeypatch.setattr(ablation_read, "documents_of", lambda found, arm: counts[arm])
    assert f"Of the 500 documents of `{FIRST}` `{ARM}` was left 49." in story(
        ablation_figures(found)
    )
    counts[ARM] = 51
    assert "was left" not in story(ablation_figures(found))


def test_a_metric_that_fails_its_signal_check_is_grey_named_and_judges_nothing(store, page):
    found = find_ablation(store, ablation(store, extra={"signal": SIGNAL}))
    told, grey = ablation_figures(found), render_ablation(found)
    assert told["headline"] == f"`{ARM}` is worse in 1 of 2 metrics than `{FIRST}`."
    assert (
        "Greyed, since the signal check failed: right answer chosen of four (training hardly moves "
        "it)."
    ) in story(told)
    assert "points" not in story(told)
    # Two arms in the metrics, two in the values by seed, one row of the check itself.
    rows = re.findall(r'<tr class="greyed">.*?</tr>', grey, re.S)
    assert len(rows) == 5
    assert all("Right answer chosen of four" in each for each in rows)
    assert [each["fails"] for each in told["signal"]] == ["", "training hardly moves it"]
    assert "greyed" not in re.sub(r"<style>.*?</style>", "", page, flags=re.S)


def test_trials_on_half_of_the_tokens_are_checked_and_paid_and_in_no_arm(store):
    found = find_ablation(store, ablation(store, half=(1, 2)))
    told = ablation_figures(found)
    assert [(each.seed, each.share) for each in found.signalling] == [(1, 0.5), (2, 0.5)]
    assert [each["measured"] for each in told["arms"]] == [3, 3]
    assert "each model read 3,000 tokens." in story(told)
    prose = next(each for each in told["signal"] if each["title"] == "Bits per byte: prose")
    assert prose["gain"] == "+0.5000"  # what halves have more
    trained = {each.base.fingerprint for each in (*found.trials, *found.signalling)}
    assert len(trained) == 8
    bill = found.signalling[0].base.folder / BILL
    write_json(bill, {**read_json(bill), "seconds": 7200.0})
    assert ablation_figures(found)["cost"]["time"].startswith("2 h ")


def test_a_later_stage_of_a_model_is_named(store, monkeypatch):
    monkeypatch.setattr(toy_ablation, "LATER", "sft")
    found = find_ablation(store, ablation(store, extra={"later": True}))
    titles = {each["title"] for each in ablation_figures(found)["metrics"]}
    assert "Right answer chosen of four (fine-tuned)" in titles
    assert "Bits per byte: prose (fine-tuned)" in titles
    (panel, *_) = ablation_figures(found)["forest"]
    assert panel["title"] == "Bits per byte"


def test_trials_that_failed_are_named_and_the_others_judged(store):
    found = find_ablation(store, ablation(store, seeds=(1, 2, 3, 4), failed=[(ARM, 2)]))
    told, page = ablation_figures(found), render_ablation(found)
    assert f"1 trial failed, in whole or in part: `{ARM}` with seed 2 (the " in story(told)
    assert [(each["label"], each["seeds"]) for each in told["failures"]] == [(ARM, "2")]
    assert {each["n"] for each in found.report.comparisons} == {3}
    assert 'id="failed"' in page
    assert SCRIPT not in page
    assert [row["cells"][1] for row in told["values_by_seed"]["rows"] if row["arm"] == "B"] == [
        "", "", "",
    ]  # fmt: skip


def test_an_arm_without_a_trial_is_said_to_be_alike(store):
    same = {"rules=same": ARM}
    found = ablation(store, arms=(FIRST, ARM, "rules=same"), alike=same)
    told = ablation_figures(find_ablation(store, found))
    assert f"`rules=same` has the content of `{ARM}`, and was not trained again" in story(told)
    assert told["alike"] == same


def test_sizes_have_panels_of_their_own_to_one_scale(store):
    found = find_ablation(store, ablation(store, sizes=("1M", "2M")))
    told, page = ablation_figures(found), render_ablation(found)
    assert [each["title"] for each in told["forest"]] == [
        "Bits per byte, 1M", "Bits per byte, 2M",
        "Right answer chosen of four, 1M", "Right answer chosen of four, 2M",
    ]  # fmt: skip
    assert [each["title"] for each in told["training"]] == [
        "Held-out text, 1M", "Text trained on, 1M", "Held-out text, 2M", "Text trained on, 2M",
    ]  # fmt: skip
    ticks = [
        re.findall(r">([−0-9.]+)</text>", page[page.index(f'aria-label="Bits per byte, {size}') :])[
            :4
        ]
        for size in ("1M", "2M")
    ]
    assert ticks[0] == ticks[1]
    assert "bits per byte, prose at 2M" in story(told)


def test_an_arm_that_diverged_leaves_the_others_room(tmp_path, monkeypatch):
    monkeypatch.setitem(METRICS, "bits_per_byte.code", ("bits per byte", 2.0, 1e14, 1e13))
    store = Store(tmp_path / "runs")
    found = find_ablation(store, ablation(store))
    told, page = ablation_figures(found), render_ablation(found)
    assert "bits per byte, code (+1.02e+14, +9.952e+13 to " in story(told)
    assert [each["said"] != "" for each in told["forest"]] == [True, False]
    plot = page[page.index('aria-label="Bits per byte: difference') :]
    ticks = re.findall(r">([−0-9.]+)</text>", plot[: plot.index("</svg>")])
    assert max(map(float, ticks)) < 0.5


def test_many_arms_are_counted_and_not_all_named_in_the_question(store):
    names = [f"rules=one of a long list of rules, number {n}" for n in range(3)]
    told = ablation_figures(find_ablation(store, ablation(store, arms=(FIRST, ARM, *names))))
    assert told["question"] == "Which of 5 arms does best?"
    assert [each["letter"] for each in told["arms"]] == ["A", "B", "C", "D", "E"]


def test_models_that_were_measured_on_other_documents_are_not_set_beside_each_other(store, found):
    told = ablation_figures(found)["training"]
    assert "Every model is measured on the same documents" in told[0]["said"]
    settings = found.of(ARM)[0].base.meta["identity"]["settings"]
    settings["evaluate_documents"] = 11
    told = ablation_figures(found)["training"]
    del settings["evaluate_documents"]
    assert "Not every model is measured on the same documents" in told[0]["said"]


def test_the_data_of_arms_stand_side_by_side(figures):
    data = figures["data"]
    assert [(each["documents"], each["tokens"]) for each in data["rows"]] == [
        (6, "1,234"), (4, "1,234"),
    ]  # fmt: skip
    assert [each["title"] for each in data["funnels"]] == ["A", "B"]
    kinds = {
        each["title"]: [cell["value"] for cell in each["cells"]] for each in data["kinds"]["rows"]
    }
    assert kinds == {"prose": ["5", "3"], "code": ["1", "1"]}
    assert data["kinds"]["rows"][1]["cells"][0]["interval"] == "33.3\u00a0%"  # one of three read
    (beside,) = data["beside"]
    only_first, only_second = beside["sides"]
    assert (only_first["documents"], only_first["read"]) == (2, 0)
    assert {each["id"] for each in only_first["samples"]} == {"toy:f4", "toy:f5"}
    assert (only_second["documents"], only_second["samples"]) == (0, [])


def test_programs_are_told_how_much_each_filter_left_of_each_arm(found):
    funnels = funnels_of(found)
    assert list(funnels) == [FIRST, ARM]
    assert [each[-1]["documents"] for each in funnels.values()] == [len(EVERY), len(MAIN)]


def test_a_filter_that_one_arm_does_without_keeps_its_place_in_the_other_ones_funnel():
    def row(name, left, dropped):
        return {"filter": name, "documents": left, "documents_dropped": dropped}

    without = [row("collected", 9, 0), row("minhash", 7, 2)]
    with_rules = [row("collected", 9, 0), row("quality", 6, 3), row("minhash", 5, 1)]
    order = _in_one_order([[each["filter"] for each in of] for of in (without, with_rules)])
    assert order == ["collected", "quality", "minhash"]
    bars = _bars(without, order)
    assert [(each.left, each.dropped) for each in bars] == [(9, 0), (9, 0), (7, 2)]
    assert [each.note for each in bars] == ["", " (off)", ""]
    assert _in_one_order([["a", "b"], ["a", "c", "b"], ["d"]]) == ["d", "a", "c", "b"]


def test_each_artifact_is_paid_for_once(found, store, figures):
    mine = {
        each.fingerprint: each
        for trial in found.trials
        for each in (*trial.measured, *trial.behind)
    }
    mine[found.verdicts.fingerprint] = found.verdicts
    # Collected once, two corpora, two packs; six models, six measurements and the verdicts.
    assert len(mine) == 1 + 2 + 2 + 6 + 6 + 1
    whole = sum(each.bill()["seconds"] for each in mine.values())
    assert figures["cost"]["time"] == duration(whole)
    columns = figures["cost"]["columns"]
    assert columns == ["shared", "A", "B", "in all"]
    collect = next(each for each in figures["cost"]["rows"] if each["title"] == "collect")
    assert [bool(cell) for cell in collect["cells"]] == [True, False, False, True]


def test_verdicts_whose_trials_were_deleted_have_a_page(tmp_path):
    store = Store(tmp_path / "runs")
    verdicts = ablation(store)
    for each in store.artifacts():
        if each.fingerprint != verdicts.fingerprint:
            store.delete(each.folder)
    found = find_ablation(store, verdicts)
    assert_loads_nothing(render_ablation(found))
    assert ablation_figures(found)["data"] is None
    assert "is worse than" in story(ablation_figures(found))


def test_what_was_deleted_is_found_in_an_artifact_of_the_same_content(tmp_path):
    store = Store(tmp_path / "runs")
    verdicts = ablation(store)
    trials = find_ablation(store, verdicts).trials
    made, twin = (trial(store, FIRST, 1, size=size) for size in ("", "twin"))
    assert made.fingerprint == twin.fingerprint  # measured once, since both models are the same
    one, two = (each for each in store.artifacts() if each.digest == trials[0].base.digest)
    assert one.fingerprint != two.fingerprint
    store.delete(trials[0].base.folder)
    again = find_ablation(store, verdicts).trials[0].base
    assert again.folder in {one.folder, two.folder} - {trials[0].base.folder}


def test_measurements_of_one_trial_may_be_several(tmp_path):
    store = Store(tmp_path / "runs")
    verdicts = ablation(store)
    parents = {}
    for key, parent in verdicts.parents.items():
        parents |= {f"{key}.domains": parent, f"{key}.memorisation": parent}
    verdicts.meta["parents"] = parents
    assert {len(each.measured) for each in find_ablation(store, verdicts).trials} == {2}


def test_an_ablation_is_found_by_each_of_its_names(store, found):
    for name in (NAME, f"{NAME}/verdicts", store.path_of(found.verdicts)):
        assert verdicts_named(store, name) is not None
    assert verdicts_named(store, f"{NAME}/base") is None
    assert verdicts_named(store, "nothing") is None
    with pytest.raises(StoreError, match="this is a checkpoint, not the verdicts"):
        find_ablation(store, store[f"{NAME}/base"])


def test_letters_go_on_after_z():
    assert [letter_of(place) for place in (0, 25, 26, 27)] == ["A", "Z", "AA", "AB"]
