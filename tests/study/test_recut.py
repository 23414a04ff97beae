import json
from pydoc_data.topics import topics

import pytest

from volano.core.errors import RecipeError, StoreError
from volano.core.store import Store
from volano.curate import step as curation
from volano.study.recut import recut
from volano.study.single import run_phase


def lines() -> list[str]:
    """The language reference, a page a document; some pages twice, some with an address."""
    found = []
    for number, (name, text) in enumerate(sorted(topics.items())):
        more = "\nWrite to ann.lee@mail.uni.de." * (number % 5 == 0)
        found.append(json.dumps({"id": name, "text": text + more}))
        if number % 9 == 0:
            found.append(json.dumps({"id": f"{name}-again", "text": text}))
    return found


BASE = ["quality.gopher_quality.min_alphabetic_word_fraction=0.5"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recut")
    path = folder / "in.jsonl"
    path.write_text("\n".join(lines()))
    store = Store(folder / "store")
    run_phase("curate", store, data=[str(path)], settings=BASE, silent=True)
    return store, path


CHANGES = [
    ["quality.gopher_quality.min_words=90"],
    ["language.min_score=0.7", "language.uncertain=drop"],
    ["quality.rules=[gopher_quality,fineweb]"],
    ["quality.rules=[c4,fineweb]", "quality.c4.terminal_punctuation=off"],
    ["quality.words=spaces"],
    ["dedup.minhash.min_similarity=0.9", "pii.action=redact"],
    ["toxicity.action=drop", "toxicity.min_probability={toxic: 0.3}"],
    ["language=off", "pii=off", "decontaminate=off"],
]


@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: changes[0])
def test_a_recut_corpus_is_to_the_byte_the_one_that_was_curated_so(corpus, tmp_path, changes):
    store, path = corpus
    before = store.find("mine/curated")
    made = recut(store, before, changes, silent=True)
    fresh = Store(tmp_path / "other")
    outcomes = run_phase("curate", fresh, data=[str(path)], settings=[*BASE, *changes], silent=True)
    assert made.artifact.digest == outcomes[-1].artifact.digest != before.digest
    assert made.artifact.fingerprint == outcomes[-1].artifact.fingerprint
    assert store.find("mine/curated").digest == before.digest
    assert store.find("mine/curated-recut").digest == made.artifact.digest


def test_other_bounds_measure_nothing_again(corpus, monkeypatch):
    store, _ = corpus

    def fail(*arguments, **named):
        raise AssertionError("measured again")

    for name in ("measure_language", "measure_toxicity", "_count_pii"):
        monkeypatch.setattr(curation, name, fail)
    monkeypatch.setattr("volano.curate.compare.document_hashes", fail)
    monkeypatch.setattr("volano.curate.quality.measure", fail)
    changes = ["quality.gopher_quality.min_words=70", "language.min_score=0.4"]
    assert not recut(store, store.find("mine/curated"), changes, silent=True).reused
    with pytest.raises(AssertionError, match="measured again"):
        recut(
            store, store.find("mine/curated"), ["language.characters=77", changes[0]], silent=True
        )


def test_mistakes_are_told_in_one_line(corpus):
    store, _ = corpus
    curated = store.find("mine/curated")
    with pytest.raises(StoreError, match="no curated corpus but made by 'collect'"):
        recut(store, store.find("mine/collected"), [], silent=True)
    with pytest.raises(RecipeError, match="unknown key 'min_word'"):
        recut(store, curated, ["quality.gopher_quality.min_word=3"], silent=True)
    store.delete(store.find("mine/collected").folder)
    with pytest.raises(StoreError, match="no longer in the store: mine/collected"):
        recut(store, curated, ["pii.action=off"], silent=True)
