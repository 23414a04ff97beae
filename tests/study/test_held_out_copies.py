"""Copies of what a recipe holds out never reach training, in a recipe that says nothing of it."""

from pydoc_data.topics import topics

import pytest

from volano.core.store import Store
from volano.study.recipe import read_recipe
from volano.study.run import run
from volano.study.single import run_phase

PLANTED, CONTROL = "planted.txt", "control.txt"


@pytest.fixture
def texts(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for name, text in topics.items():
        if len(text) > 2000:
            (folder / f"{name}.txt").write_text(text[:3000])
    river = "The river takes the rain of the hills to the sea, and boats go up with the tide."
    (folder / CONTROL).write_text(river)
    return folder


def curated(store, texts, *overrides):
    """Id → the rule that dropped it, of what the recipe's curation read; and what is held out."""
    collect = {"source": "files", "paths": [str(texts)], "held_out_fraction": 0.3}
    values = {"name": "own", "collect": collect, "curate": {"quality": False}}
    recipe = read_recipe(values, {}, overrides, where="own.yaml")
    run(recipe, store, targets=["curated", "held_out"], silent=True)
    return decided(store["own/curated"]), list(store["own/held_out"].corpus().records())


def decided(artifact):
    corpus = artifact.corpus()
    kept = {each.id.rpartition("/")[2]: None for each in corpus.records()}
    dropped = corpus.dropped().to_pylist()
    return kept | {each["id"].rpartition("/")[2]: each["dropped_by"] for each in dropped}


def plant_copy_of_a_held_out_one(store, texts):
    """A copy with every fiftieth word changed, in a file that is itself not held out."""
    _, held_out = curated(store, texts)
    for copied in held_out:
        words = copied.text.split(" ")
        words[::50] = ["otherwise"] * len(words[::50])
        (texts / PLANTED).write_text(" ".join(words))
        if PLANTED not in {each.id.rpartition("/")[2] for each in curated(store, texts)[1]}:
            return
    pytest.fail("every copy was held out")


def test_an_edited_copy_is_dropped_unless_nothing_is_compared(tmp_path, texts):
    store = Store(tmp_path / "runs")
    plant_copy_of_a_held_out_one(store, texts)
    found, _ = curated(store, texts)
    assert found[PLANTED] == "decontaminate"
    assert found[CONTROL] is None
    found, _ = curated(store, texts, "curate.decontaminate=off")
    assert found[PLANTED] is None
    found, _ = curated(store, texts, "curate.decontaminate.against=[]")
    assert found[PLANTED] is None


def test_curation_alone_compares_with_what_it_was_told_to_hold_out(tmp_path, texts):
    store = Store(tmp_path / "runs")
    plant_copy_of_a_held_out_one(store, texts)
    plain = run_phase("curate", store, data=[str(texts)], settings=["quality=off"], silent=True)
    assert [each.stage.name for each in plain] == ["collected", "curated"], "nothing is held out"
    settings = ["quality=off", "collect.held_out_fraction=0.3"]
    run_phase("curate", store, data=[str(texts)], settings=settings, silent=True)
    found = decided(store["mine/curated"])
    assert found[PLANTED] == "decontaminate"
    assert found[CONTROL] is None
