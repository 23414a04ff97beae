"""The report of a run that trained nothing: all sections, escaped, and nothing loaded."""

import re
from types import SimpleNamespace

import pytest
from page_reader import Reader, assert_loads_nothing
from toy_wheel import (
    ANSWER,
    NAME,
    SCRIPT,
    checkpoint,
    first_version,
    judged,
    make,
    second_version,
)

from volano.core.artifact import BILL
from volano.core.errors import StoreError
from volano.core.files import read_json, write_json
from volano.core.release import promote
from volano.core.store import Store
from volano.curate.section import CurateSection
from volano.finetune.section import FinetuneSection
from volano.study.recipe import read_recipe
from volano.train.section import LoraSection

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from volano.study import report_origin
from volano.study.found import Found, find_stages, split_version
from volano.study.report import default_path, figures_of, render, write_report
from volano.study.report_text import percent

SECTIONS = ["wheel", "data", "training", "evaluation", "prompts", "ratings", "findings", "gate"]
SECTIONS += ["cost", "lineage", "repeat"]


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Store:
    return first_version(tmp_path_factory.mktemp("first") / "runs")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    store = first_version(tmp_path_factory.mktemp("both") / "runs")
    second_version(store)
    promote(store, "production", store[f"{NAME}/released-2"], reason="better")
    return store


@pytest.fixture(scope="module")
def page(store) -> str:
    return write_report(store, NAME).read_text("utf-8")


def test_every_section_is_there_in_order_and_every_tag_closed(page):
    assert re.findall(r'<section id="([a-z]+)"', page) == SECTIONS
    assert Reader(page).open == []


def test_the_page_loads_and_runs_nothing(page):
    assert_loads_nothing(page)


def test_what_a_document_or_an_answer_says_is_escaped(page):
    assert SCRIPT not in page
    assert ANSWER not in page
    assert "&lt;script&gt;alert(" in page
    assert "&lt;img src=x onerror" in page


def test_two_renderings_are_the_same_bytes(store, page):
    assert render(find_stages(Store(store.folder), NAME)) == page
    assert not [path for path in default_path(store, NAME).parent.iterdir() if "tmp" in path.name]


def test_the_paragraph_says_what_happened_with_the_figures_of_the_artifacts(page):
    told = re.search(r'<p class="story">(.*?)</p>', page, re.S)[1]
    for words in (
        "7 documents were collected from 1 source; 4 of them",
        "Scripted users (a program, no person) put 5 questions to version 1",
        "40 % got one or two stars of five",
        "What was to be mended fell into one group",
        "12.3 points better (95 % interval 10.0 to 15.0)",
        "it was promoted",
    ):
        assert words in told


def test_six_prompts_stand_side_by_side_from_base_to_the_last_version(store, page):
    prompts = figures_of(find_stages(store, NAME))["prompts"]
    assert len(prompts) == 6
    assert [list(each["answers"]) for each in prompts[:5]] == [
        ["base", "fine-tuned", "version 1", "version 2"]
    ] * 5
    assert list(prompts[5]["answers"]) == ["version 1", "version 2"]
    assert page.count('class="prompt"') == 6


def test_baselines_are_named_beside_and_unknown_measures_are_shown(page):
    assert "Beside: chance 25.0\u00a0%." in page
    assert "Something new" in page


def test_comparisons_are_between_models_and_leave_ties_out_and_count_them(store):
    (turn,) = figures_of(find_stages(store, NAME))["ratings"]
    assert turn["comparisons"][0]["value"] == "66.7\u00a0%"  # two of three that were decided
    assert turn["comparisons"][0]["ties"] == "1"


def test_what_was_made_of_a_finding_and_what_came_of_it(store):
    ((finding,),) = [each["findings"] for each in figures_of(find_stages(store, NAME))["findings"]]
    assert finding["made"] == ["1 questions made from documents"]
    assert finding["after"]["former"]["value"] == "20.0\u00a0%"
    assert finding["after"]["candidate"]["value"] == "30.0\u00a0%"


def test_what_took_several_sittings_says_so(tmp_path):
    store = first_version(tmp_path / "runs")
    path = store[f"{NAME}/base"].folder / BILL
    bill = {**read_json(path), "seconds": 61.0, "sittings": 3, "sittings_killed": 1}
    write_json(path, bill)
    assert "61 s in 3 sittings, 1 killed and not counted" in render(find_stages(store, NAME))


def test_a_share_is_not_rounded_up_to_all():
    assert [percent(each) for each in (0.997, 1.0, 0.0, 0.002, 0.5)] == [
        "99.7 %", "100 %", "0 %", "0.2 %", "50 %",
    ]  # fmt: skip


def test_a_first_version_has_a_page_without_a_turn(first):
    page = render(find_stages(first, NAME))
    assert re.findall(r'<section id="([a-z]+)"', page) == [
        each for each in SECTIONS if each not in {"ratings", "findings", "gate"}
    ]
    assert "promoted" not in page


@pytest.mark.parametrize("stages", [["collected"], ["collected", "curated"], ["base"], ["report"]])
def test_a_run_that_stopped_early_has_a_page(first, stages):
    made = find_stages(first, NAME).stages
    page = render(Found(first, NAME, {name: made[name] for name in stages}))
    assert Reader(page).open == []
    assert "What it cost" in page


def test_a_refused_version_is_said_to_be_and_its_former_release_is_not_shown(tmp_path):
    store = first_version(tmp_path / "runs")
    second_version(store)
    promote(store, "production", store[f"{NAME}/released-2"], reason="better")
    # The same version made anew, and refused: the release that stands is of the one before it.
    sft = store[f"{NAME}/sft-2"]
    aligned = make(store, "aligned-2", "checkpoint", checkpoint(0.7), epochs=2.0, sft=sft)
    make(store, "gate-2", "report", judged(False), candidate=aligned)
    found = find_stages(store, NAME)
    assert "released-2" not in found.stages
    page = render(found)
    assert "Version 2 was not promoted." in page
    assert "a loss beyond the margin is not excluded of right answer chosen of four" in page
    assert "an earlier version 2" in page


def test_people_are_not_called_scripted(tmp_path):
    store = first_version(tmp_path / "runs")
    second_version(store, source="chat")
    page = render(find_stages(store, NAME))
    assert "People on the chat page" in page
    assert "scripted" not in page.lower()


def test_an_unknown_name_is_told_with_the_nearest(store):
    with pytest.raises(StoreError, match="Did you mean 'toy'"):
        write_report(store, "toyy")


def test_versions_are_read_off_names():
    assert split_version("sft-12") == ("sft", 12)
    assert split_version("requested-preferences") == ("requested-preferences", 1)
    assert split_version("requested-preferences-2") == ("requested-preferences", 2)


@pytest.mark.parametrize(
    ("key", "section"),
    [
        ("curate", CurateSection()),  # an identity has the bounds of rules that do not judge
        ("finetune", FinetuneSection(lora=LoraSection())),  # and the rates of the whole model
    ],
)
def test_the_settings_of_an_artifact_are_a_recipe_that_is_not_refused(key, section):
    recorded = SimpleNamespace(meta={"identity": {"settings": section.identity()}})
    recipe = read_recipe(
        {"name": "a", key: report_origin.settings_in_effect(recorded)}, {}, (), where="it"
    )
    assert getattr(recipe, key).identity() == section.identity()
