"""Held-out documents that an arm trains on, whole or edited, are counted and told."""

from pydoc_data.topics import topics

import pytest

from volano.core.artifact import Artifact
from volano.core.corpus import finish_corpus, shard_path, write_shard
from volano.core.records import Document, table_of
from volano.core.report import Report
from volano.core.step import Context
from volano.study.axes import arms_of
from volano.study.held_out_overlap import (
    HELD_OUT,
    REFERENCE,
    OverlapSection,
    counted_for,
    is_cleared,
    run_overlap,
    said_of_overlap,
)
from volano.study.recipe import load_recipe
from volano.study.wheel import stages_of

TEXTS = [text[:1500] for _, text in sorted(topics.items()) if len(text) > 1500][:12]


def corpus(folder, texts, shards=1, kinds=("text",)):
    for shard in range(shards):
        some = [
            Document(f"{folder.name}{n}", text, "s", kind=kinds[n % len(kinds)])
            for n, text in enumerate(texts)
            if n % shards == shard
        ]
        write_shard(shard_path(folder, "data", shard), table_of(some, Document))
    finish_corpus(folder, "document")
    return Artifact(folder, {})


def overlap(folder, training, held_out, reference=None, **section):
    inputs = {
        "documents": corpus(folder / "train", training, shards=2, kinds=("prose", "code")),
        HELD_OUT: corpus(folder / "held", held_out),
    }
    if reference is not None:
        inputs[REFERENCE] = corpus(folder / "reference", reference)
    context = Context(folder, folder / "scratch", seed=0, silent=True)
    run_overlap(OverlapSection(**section), inputs, context)
    return Report.load(folder / "report.json").extra


def test_whole_and_edited_copies_are_found_and_other_texts_are_not(tmp_path):
    edited = TEXTS[1].replace(" the ", " that ", 3)
    found = overlap(tmp_path, [TEXTS[0], edited, *TEXTS[4:]], TEXTS[:4])
    assert found["counts"] == {HELD_OUT: [2, 4]}
    assert found["ids"] == {HELD_OUT: ["held0", "held1"]}
    assert overlap(tmp_path / "none", TEXTS[4:], TEXTS[:4])["counts"] == {HELD_OUT: [0, 4]}


def test_all_documents_that_one_text_holds_are_found(tmp_path):
    whole = "\n\n".join([TEXTS[5], *TEXTS[:3], TEXTS[6]])
    found = overlap(tmp_path, [whole, TEXTS[3]], TEXTS[:5], [TEXTS[0], TEXTS[7]])
    assert found["ids"] == {
        HELD_OUT: ["held0", "held1", "held2", "held3"],
        REFERENCE: ["reference0"],  # and it hides nothing that is held out
    }


def test_only_what_the_mixture_takes_is_trained_on(tmp_path):
    training = [TEXTS[0], TEXTS[1], *TEXTS[4:]]  # prose, code …
    found = overlap(tmp_path, training, TEXTS[:4], kinds=["prose"])
    assert found["ids"] == {HELD_OUT: ["held0"]}


def test_a_reference_is_looked_for_too(tmp_path):
    found = overlap(tmp_path, [TEXTS[0], *TEXTS[4:]], [TEXTS[1]], [TEXTS[0], TEXTS[2]])
    assert found["counts"] == {HELD_OUT: [0, 1], REFERENCE: [1, 2]}


def held_out(**counts):
    return {arm: {HELD_OUT: each} for arm, each in counts.items()}


def test_it_is_told_from_one_in_a_hundred_on():
    assert said_of_overlap({"overlap": held_out(a=(1, 200), b=(0, 0)) | {"c": {}}}) == []
    assert said_of_overlap({"overlap": held_out(a=(2, 200))})
    told = said_of_overlap({"overlap": held_out(a=(3, 200), b=[40, 200], c=[40, 200])})
    assert told[0].startswith("Of 200 held-out documents 3 lie in what a trains on")
    assert told[1].startswith("Of 200 held-out documents 40 lie in what b and c train on")
    assert told[2].startswith("curate.decontaminate.against=[held_out] takes")


def test_verdicts_of_before_are_read():
    told = said_of_overlap({"overlap": {"a": [40, 200]}})
    assert told[0].startswith("Of 200 held-out documents 40 lie in what a trains on")


def test_nobody_is_told_to_do_what_is_done():
    found = {"overlap": held_out(a=(3, 200), b=(4, 200))}
    assert said_of_overlap(found | {"cleared": ["a"]})[-1].startswith("curate.decontaminate")
    assert "by its own thresholds" in said_of_overlap(found | {"cleared": ["a", "b"]})[-1]
    told = said_of_overlap({"overlap": {"a": {REFERENCE: (9, 10)}}, "cleared": ["a"]})
    assert told[0].startswith("Of 10 reference documents 9 lie in what a trains on")
    assert told[1].startswith("Give ablate.reference a text")
    on, off = arms_of("laptop/ablate-duplicates", ["curate.decontaminate=on,off"])
    assert (is_cleared(on), is_cleared(off)) == (True, False)
    assert counted_for(on, on.recipe.ablate)
    asked = on.recipe.ablate.model_copy(update={"metrics": ["toxicity"], "tasks": ["safety"]})
    assert not counted_for(on, asked)
    assert counted_for(on, asked.model_copy(update={"tasks": ["bits_per_byte"]}))


@pytest.mark.parametrize("name", ["held_out", "held_out_functions"])
def test_what_is_held_out_is_called_by_its_name(name):
    recipe = load_recipe("tiny/python-docs", [f"curate.decontaminate.against=[{name}]"])
    curated = next(each for each in stages_of(recipe) if each.name == "curated")
    assert curated.inputs[name] == "held_out"
