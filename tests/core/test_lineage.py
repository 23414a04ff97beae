import shutil

import pytest
from toy_steps import (
    FILTER,
    MEASURE,
    NUMBERS,
    PACK,
    TRAIN,
    TUNE,
    Filter,
    Nothing,
    Numbers,
)

from volano.core.errors import DataError
from volano.core.evidence import evidence
from volano.core.lineage import ancestors, descendants, sources
from volano.core.store import Store


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """corpus (d0–d5) → curated (without d1) → tokens → base → tuned, and a report on held_out."""
    store = Store(tmp_path_factory.mktemp("wheel") / "store")

    def make(step, section, name, **inputs):
        return store.make(store.order(step, section, inputs, name=f"toy/{name}")).artifact

    corpus = make(NUMBERS, Numbers(), "corpus")
    curated = make(FILTER, Filter(drop=["d1", "d5"]), "curated", documents=corpus)
    held_out = make(FILTER, Filter(drop=[f"d{n}" for n in range(5)]), "held_out", documents=corpus)
    tokens = make(PACK, Nothing(), "tokens", documents=curated)
    base = make(TRAIN, Nothing(), "base", tokens=tokens)
    tuned = make(TUNE, Nothing(), "tuned", base=base)
    make(MEASURE, Nothing(), "report", documents=held_out, base=base, tuned=tuned)
    return store


def sightings(store, document):
    return [(each.name.removeprefix("toy/"), each.role, each.detail) for each in
            store.trace(document)]  # fmt: skip


def test_a_trained_document_is_traced_to_every_checkpoint(wheel):
    assert sightings(wheel, "d0") == [
        ("corpus", "holds", "1 record"),
        ("curated", "holds", "1 record"),
        ("held_out", "dropped", "by too_short"),
        ("tokens", "holds", "10 tokens"),
        ("base", "trained on", "10 tokens"),
        ("tuned", "inherits", "from toy/base"),
        ("report", "judges", "toy/base, toy/tuned"),
    ]


def test_a_dropped_document_is_traced_to_the_rule_and_no_further(wheel):
    assert sightings(wheel, "d1") == [
        ("corpus", "holds", "1 record"),
        ("curated", "dropped", "by too_short"),
        ("held_out", "dropped", "by too_short"),
    ]


def test_a_held_out_document_is_in_a_report_and_in_no_checkpoint(wheel):
    assert sightings(wheel, "d5") == [
        ("corpus", "holds", "1 record"),
        ("curated", "dropped", "by too_short"),
        ("held_out", "holds", "1 record"),
        ("report", "measured on", ""),
    ]


def test_an_unknown_document_is_refused_with_a_near_id_if_there_is_one(wheel):
    with pytest.raises(DataError, match="no artifact has met the document 'd'") as refused:
        wheel.trace("d")
    assert refused.value.remedy.startswith("Did you mean 'd")
    with pytest.raises(DataError, match="Name a document's id"):
        wheel.trace("'; drop table artifacts; --")


def test_ancestors_go_down_to_the_sources_and_descendants_up_to_the_report(wheel):
    down = ancestors(wheel, wheel["toy/tuned"])
    assert [(each.name, each.input, each.depth) for each in down] == [
        ("toy/base", "base", 1),
        ("toy/tokens", "tokens", 2),
        ("toy/curated", "documents", 3),
        ("toy/corpus", "documents", 4),
    ]
    up = descendants(wheel, wheel["toy/curated"])
    assert {(each.name, each.depth) for each in up} == {
        ("toy/tokens", 1),
        ("toy/base", 2),
        ("toy/tuned", 3),
        ("toy/report", 3),
    }
    assert ancestors(wheel, wheel["toy/corpus"]) == descendants(wheel, wheel["toy/report"]) == []


def test_sources_are_counted_in_what_training_read(wheel):
    found = sources(wheel, wheel["toy/tuned"])
    assert found == {"sources": {"toy": 4}, "licences": {"MIT": 4}}  # six less two dropped
    assert sources(wheel, wheel["toy/corpus"])["licences"] == {"MIT": 6}


def test_a_deleted_ancestor_is_named_as_deleted(wheel, tmp_path):
    store = Store(shutil.copytree(wheel.folder, tmp_path / "copy"))
    store.delete(store["toy/tokens"].folder)
    down = ancestors(store, store["toy/base"])
    assert [(each.artifact, each.name) for each in down] == [("(deleted)", "toy/tokens")]
    assert ("base", "trained on", "10 tokens") in sightings(store, "d0")


def test_of_two_equal_contents_the_one_that_was_read_is_the_ancestor(tmp_path):
    store = Store(tmp_path)
    twins = [
        store.make(store.order(NUMBERS, Numbers(pause_seconds=pause), {}, name=name)).artifact
        for name, pause in (("toy/a", 0.001), ("toy/b", 0.002))
    ]
    assert twins[0].digest == twins[1].digest
    for twin, rule in zip(twins, (["d0"], ["d1"]), strict=True):
        order = store.order(FILTER, Filter(drop=rule), {"documents": twin}, name="toy/kept")
        (found,) = ancestors(store, store.make(order).artifact)
        assert found.artifact == store.path_of(twin)
    assert len(descendants(store, twins[0])) == 2
    assert [name for name, _, _ in sightings(store, "d2")] == ["a", "b", "kept", "kept"]


def test_evidence_is_every_attribute_of_a_document(tmp_path):
    import pyarrow as pa

    from volano.core.corpus import shard_path, write_shard

    store = Store(tmp_path)
    made = store.make(store.order(NUMBERS, Numbers(), {}, name="toy/a")).artifact
    size = pa.table({"id": ["d0", "d1"], "words": [3, 4]})
    write_shard(shard_path(made.folder, "attributes/size", 0), size)
    assert evidence(made, "d1") == {"size": {"id": "d1", "words": 4}}
    assert evidence(made, "d9") == {}
