"""What is planted stands there as often as it says, in training documents alone."""

from collections import Counter

import pytest

from volano.collect.plant import PLANT
from volano.collect.plant_section import PlantSection
from volano.core.artifact import Artifact
from volano.core.corpus import Corpus, finish_corpus, shard_path, write_shard
from volano.core.errors import DataError, RecipeError
from volano.core.records import Document, table_of
from volano.core.step import Context
from volano.curate.section import CurateSection
from volano.curate.step import STEP as CURATE
from volano.text.canaries import draw_canaries, other_secrets
from volano.text.pii import find_spans
from volano.text.planted import planted_in


def words(n, count=30):
    return " ".join(f"word{n * 7 % 50}x{place * n % 90}" for place in range(count))


@pytest.fixture
def documents(tmp_path):
    folder = tmp_path / "documents"
    found = [
        Document(f"d{n}", words(n), "s", split="test" if n % 5 == 0 else "train")
        for n in range(1, 101)
    ]
    write_shard(shard_path(folder, "data", 0), table_of(found[:50]))
    write_shard(shard_path(folder, "data", 1), table_of(found[50:]))
    finish_corpus(folder, "document")
    return folder


def planted(collected, /, **settings):
    out = collected.parent / "planted"
    section = PlantSection(**{"min_characters": 10, "copies": [1, 3, 7], **settings})
    context = Context(out, out.parent / "scratch", seed=0, silent=True)
    PLANT.run(section, {"documents": Artifact(collected, {})}, context)
    return Corpus.open(out)


def test_documents_occur_as_often_as_their_group_says(documents):
    corpus = planted(documents, documents=4)
    texts = Counter(each.text for each in corpus.records())
    rows = planted_in(corpus, "document")
    assert Counter(row["copies"] for row in rows) == {1: 4, 3: 4, 7: 4}
    by_id = {each.id: each for each in corpus.records()}
    assert all(texts[by_id[row["id"]].text] == row["copies"] for row in rows)
    assert all(by_id[row["id"]].split == "train" for row in rows)
    assert len(corpus) == 100 + 4 * 2 + 4 * 6
    copy = next(each for each in corpus.records() if each.id.endswith("#copy-3"))
    assert copy.source_ids == (copy.id.removesuffix("#copy-3"),)
    assert len(by_id) == len(corpus)


def test_a_text_that_occurs_more_than_once_by_itself_is_not_counted_on(tmp_path):
    folder = tmp_path / "documents"
    found = [Document(f"d{n}", words(n // 2 if n < 60 else n), "s") for n in range(80)]
    write_shard(shard_path(folder, "data", 0), table_of(found))
    finish_corpus(folder, "document")
    corpus = planted(folder, documents=6)
    texts = Counter(each.text for each in corpus.records())
    by_id = {each.id: each.text for each in corpus.records()}
    rows = planted_in(corpus, "document")
    assert all(texts[by_id[row["id"]]] == row["copies"] for row in rows)


def test_each_canary_stands_in_as_many_documents_as_its_group_says(documents):
    corpus = planted(documents, canaries=2)
    rows = planted_in(corpus, "canary")
    assert Counter(row["copies"] for row in rows) == {1: 2, 3: 2, 7: 2}
    texts = [each.text for each in corpus.records()]
    for row in rows:
        sentence = f"{row['prompt']}{row['secret']}."
        assert sum(each.endswith(sentence) for each in texts) == row["copies"]
    held_out = {each.id: each.text for each in Corpus.open(documents).records()}
    assert all(each.text == held_out[each.id] for each in corpus.records() if each.split == "test")


def test_shuffled_words_are_the_same_words(documents):
    before = {each.id: each for each in Corpus.open(documents).records()}
    after = {each.id: each for each in planted(documents, shuffled=0.5).records()}
    train = [each for each in after.values() if each.split == "train"]
    changed = [each for each in train if each.text != before[each.id].text]
    assert 0.3 < len(changed) / len(train) < 0.7
    assert all(sorted(each.text.split()) == sorted(before[each.id].text.split()) for each in train)
    assert all(each == before[name] for name, each in after.items() if each.split == "test")


def test_the_same_settings_plant_the_same_and_another_seed_another(documents):
    rows = [planted_in(planted(documents, documents=4, seed=s), "document") for s in (1, 1, 2)]
    assert rows[0] == rows[1] != rows[2]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"documents": 30}, "90 documents .* are there"),
        ({"canaries": 10}, "written into 110 documents, and 80 are there"),
    ],
)
def test_more_than_there_is_room_for_is_refused(documents, settings, said):
    with pytest.raises(DataError, match=said):
        planted(documents, **settings)


@pytest.mark.parametrize("copies", [[1, 2], [1, 2, 3, 4]])
def test_both_kinds_of_canary_stand_as_often_as_each_group_says(documents, copies):
    rows = planted_in(planted(documents, canaries=4, copies=copies), "canary")
    kinds = {each["copies"]: set() for each in rows}
    for each in rows:
        kinds[each["copies"]].add(each["kind"])
    assert kinds == {number: {"email", "phone"} for number in copies}


def test_more_canaries_than_names_are_refused(tmp_path):
    many = tmp_path / "many"
    rows = [Document(f"d{n}", f"text {n}", "s") for n in range(800)]
    write_shard(shard_path(many, "data", 0), table_of(rows))
    finish_corpus(many, "document")
    with pytest.raises(RecipeError, match="there are names for 625"):
        planted(many, canaries=700, copies=[1])


def test_every_canary_is_personal_data_to_the_filter():
    for canary in draw_canaries(400, seed=3):
        text = f"{canary.prompt}{canary.secret}."
        found = [text[each.begin : each.end] for each in find_spans(text)]
        assert found == [canary.secret]


def test_other_secrets_are_others():
    canary = draw_canaries(1, seed=1)[0]
    others = other_secrets(canary, 50, seed=0)
    assert len({*others, canary.secret}) == 51


def test_the_filter_of_personal_data_takes_them_out(documents):
    corpus = planted(documents, canaries=2)
    out = corpus.folder.parent / "curated"
    section = CurateSection.read(
        {"language": False, "quality": False, "dedup": False, "decontaminate": False}, "test"
    )
    context = Context(out, out.parent / "scratch2", seed=0, silent=True)
    CURATE.run(section, {"documents": Artifact(corpus.folder, {})}, context)
    secrets = [row["secret"] for row in planted_in(corpus, "canary")]
    curated = "\n".join(each.text for each in Corpus.open(out).records())
    assert "private e-mail address is <EMAIL>" in curated
    assert not [each for each in secrets if each in curated]
