"""The page and the card of two turns."""

import re
from pathlib import Path

import pytest
from two_turns import NAME, run, run_json

from volano.core.store import Store

pytest.importorskip("torch")
pytest.importorskip("fastapi")
pytestmark = pytest.mark.xdist_group("two turns")


@pytest.fixture
def store(folder):
    return Store(folder / "runs")


def test_a_released_checkpoint_carries_its_card(store):
    released = store.find(f"{NAME}/released")
    card = (released.folder / "README.md").read_text()
    for words in ("## Evaluation", "## Gate", "PSF-2.0", "Toxicity", "email"):
        assert words in card
    assert "language:\n- en\n" in card
    weights = (store[f"{NAME}/aligned"].folder / "model.safetensors").read_bytes()
    assert (released.folder / "model.safetensors").read_bytes() == weights


def test_the_report_is_one_page_that_loads_nothing(folder, store):
    printed = Path((folder / "printed").read_text().split("Report: ")[1].strip())
    page = (folder / "runs/reports" / printed.name).read_text()
    # A plot refers to its own parts, by "#".
    loads = r"""(?:src|href|action)\s*=\s*["'](?!#)|url\((?!#)|<script|@import"""
    assert re.findall(loads, page) == []
    for words in ("Scripted users (a program, no person)", "The gate", "PSF-2.0", "<svg"):
        assert words in page
    verdict = store[f"{NAME}/gate-2"].report().extra["verdict"]
    assert f"Version 2 was {'' if verdict['promote'] else 'not '}promoted." in page
    again = run_json(folder, "report", "tiny/python-docs")
    assert Path(again["report"]).read_text() == page
    assert again["gates"][0]["verdict"]["promote"] is verdict["promote"]


def test_the_settings_on_the_page_are_a_recipe_that_makes_nothing_anew(folder, store):
    from volano.study.found import find_stages
    from volano.study.report_origin import settings_of

    settings = settings_of(find_stages(store, NAME))
    (folder / "again.yaml").write_text(settings)
    stages = run_json(folder, "run", "again.yaml")
    assert all(each["reused"] for each in stages)
    assert "gate-2" in [each["stage"] for each in stages]


def test_a_report_of_a_first_version_alone_is_shorter_and_of_nothing_none(folder, store):
    from volano.study.found import Found, find_stages
    from volano.study.report import render

    found = find_stages(store, NAME)
    first = {name: each for name, each in found.stages.items() if not name.endswith("-2")}
    page = render(Found(store, NAME, first))
    assert "The gate" not in page
    assert "Every stage on held-out items" in page
    only = {"collected": found.stages["collected"]}
    assert "documents were collected" in render(Found(store, NAME, only))
    said = run(folder, "report", "tiny-python-dosc", code=2).stderr
    assert "Did you mean 'tiny-python-docs'?" in said


def test_what_people_and_models_write_is_escaped(store, monkeypatch):
    from volano.study import report_models
    from volano.study.found import find_stages
    from volano.study.report import render

    answer = {"text": "<img src=x>", "judged": ""}
    shown = {"prompt": "<script>alert(1)</script>", "kind": "", "wanted": ""}
    shown["answers"] = {"base": answer}
    monkeypatch.setattr(report_models, "prompts_of", lambda found: [shown])
    page = render(find_stages(store, NAME))
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page
