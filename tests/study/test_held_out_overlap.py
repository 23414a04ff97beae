"""Held-out documents that an arm trains on, whole or edited, are counted and told."""

from pydoc_data.topics import topics

import pytest

from volano.core.artifact import Artifact
from volano.core.corpus import finish_corpus, shard_path, write_shard
from volano.core.records import Document, table_of
from volano.core.report import Report
from volano.core.step import Context
from volano.curate.section import DecontaminateSection
from volano.study.held_out_overlap import HELD_OUT, OVERLAPPING, run_overlap, said_of_overlap
from volano.study.recipe import load_recipe
from volano.study.wheel import stages_of

TEXTS = [text[:1500] for _, text in sorted(topics.items()) if len(text) > 1500][:12]


def corpus(folder, texts, shards=1):
    for shard in range(shards):
        some = [
            Document(f"{folder.name}{n}", text, "s")
            for n, text in enumerate(texts)
            if n % shards == shard
        ]
        write_shard(shard_path(folder, "data", shard), table_of(some, Document))
    finish_corpus(folder, "document")
    return Artifact(folder, {})


def overlap(folder, training, held_out):
    inputs = {
        "documents": corpus(folder / "train", training, shards=2),
        HELD_OUT: corpus(folder / "held", held_out),
    }
    context = Context(folder, folder / "scratch", seed=0, silent=True)
    run_overlap(DecontaminateSection(), inputs, context)
    return Report.load(folder / "report.json").extra


def test_whole_and_edited_copies_are_found_and_other_texts_are_not(tmp_path):
    edited = TEXTS[1].replace(" the ", " that ", 3)
    found = overlap(tmp_path, [TEXTS[0], edited, *TEXTS[4:]], TEXTS[:4])
    assert (found["held_out_documents"], found[OVERLAPPING]) == (4, 2)
    assert found["ids"] == ["held0", "held1"]
    assert overlap(tmp_path / "none", TEXTS[4:], TEXTS[:4])[OVERLAPPING] == 0


def test_it_is_told_from_one_in_a_hundred_on():
    assert said_of_overlap({"overlap": {"a": (1, 200), "b": (0, 0)}}) == []
    assert said_of_overlap({"overlap": {"a": (2, 200)}})
    told = said_of_overlap({"overlap": {"a": (3, 200), "b": [40, 200], "c": [40, 200]}})
    assert told[0].startswith("Of 200 held-out documents 3 lie in what a trains on")
    assert told[1].startswith("Of 200 held-out documents 40 lie in what b and c train on")
    assert told[2].startswith("curate.decontaminate.against=[held_out] takes")


@pytest.mark.parametrize("name", ["held_out", "held_out_functions"])
def test_what_is_held_out_is_called_by_its_name(name):
    recipe = load_recipe("tiny/python-docs", [f"curate.decontaminate.against=[{name}]"])
    curated = next(each for each in stages_of(recipe) if each.name == "curated")
    assert curated.inputs[name] == "held_out"
