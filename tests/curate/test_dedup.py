import random

import numpy as np
import pytest

from volano.core.errors import DataError, RecipeError
from volano.core.records import Document
from volano.curate.dedup_section import DedupSection, earlier_input
from volano.curate.preference import date_number

WORDS = [f"word{number}" for number in range(300)]
TEXT = " ".join(WORDS[:60])
NEAR = " ".join([*WORDS[:59], "changed"])
NEARER = " ".join([*WORDS[:59], "changed", "again"])
OTHER = " ".join(WORDS[100:160])


def ids(corpus):
    return corpus.to_arrow(["id"])["id"].to_pylist()


def column(corpus, name, group="dedup"):
    return dict(
        zip(*(corpus.attributes(group)[each].to_pylist() for each in ("id", name)), strict=True)
    )


def document(name, text, **more):
    return Document(id=name, text=text, source="test", **more)


COPIES = [
    document("first", TEXT, date="2020-05", licence="GPL-3.0"),
    document("longest", TEXT.replace(" ", "  "), date="2021-01-01T10:00:00"),
    document("near", NEAR, date="2021-01-01T09:30", licence="mit"),
    document("oldest", f" {TEXT}", date="1999", licence="Apache-2.0"),
    document("newest", NEARER, date="2021-01-02 x"),
    document("pool", f"{TEXT}\n", date="2024", licence="MIT", split="pool"),
    document("other", OTHER),
]


@pytest.mark.parametrize(
    ("settings", "stays"),
    [
        ({}, "first"),
        ({"keep": "longest"}, "longest"),
        ({"keep": "oldest"}, "oldest"),
        ({"keep": "newest"}, "newest"),
        ({"keep": "licence", "keep_licences": ["MIT", "Apache-2.0"]}, "near"),
        ({"keep": "best_quality", "keep_attribute": "gopher_quality.words"}, "newest"),
    ],
)
def test_the_copy_that_the_recipe_prefers_stays_and_all_others_name_it(dedup, settings, stays):
    others = dict.fromkeys(("language", "toxicity", "decontaminate", "pii"), "off")
    if "keep_attribute" in settings:
        others["quality"] = {
            "rules": ["gopher_quality"],
            "gopher_quality": {"exempt_kinds": ["text"]},
        }
    else:
        others["quality"] = "off"
    corpus = dedup(COPIES, others=others, **settings)
    assert ids(corpus) == [each.id for each in COPIES if each.id in (stays, "other")]
    clusters = column(corpus, "cluster")
    assert clusters.pop("other") is None
    assert set(clusters.values()) == {stays}
    evidence = column(corpus, "evidence", "decision")
    fallen = [name for name in clusters if name != stays]
    assert all(evidence[name].endswith(stays) for name in fallen)


def test_drop_all_leaves_no_member_of_a_cluster(dedup):
    corpus = dedup(COPIES, drop="all")
    assert ids(corpus) == ["other"]
    reasons = column(corpus, "dropped_by", "decision")
    assert (reasons["first"], reasons["oldest"], reasons["near"]) == ("exact", "exact", "near")
    told = column(corpus, "evidence", "decision")
    assert told["first"] == "copy of longest; all of them go"
    assert told["longest"] == "copy of first; all of them go"
    pair = dedup([NEAR, TEXT, OTHER], run="pair", drop="all")
    assert ids(pair) == ["d2"]
    assert column(pair, "copy_of") == {"d0": "d1", "d1": "d0", "d2": None}
    similarity = column(pair, "similarity")
    assert similarity["d0"] == similarity["d1"] > 0.7


def test_an_exact_copy_of_a_near_copy_names_the_one_that_stays(dedup):
    corpus = dedup([TEXT, NEAR, NEAR.replace(" ", "\n")])
    assert column(corpus, "copy_of") == {"d0": None, "d1": "d0", "d2": "d1"}
    assert column(corpus, "evidence", "decision")["d2"] == "copy of d1, which is near d0"


def shingles(text, length=5):
    words = text.split()
    return {tuple(words[n : n + length]) for n in range(len(words) - length + 1)}


def test_verified_similarity_is_that_of_the_shingles_themselves(dedup):
    chance = random.Random(1)
    texts = [TEXT, OTHER]
    for _ in range(30):
        words = chance.choice([TEXT, OTHER]).split()
        words[chance.randrange(60)] = "changed"
        texts.append(" ".join(words))
    corpus = dedup(texts, minhash={"verify": "on", "min_similarity": 0.75})
    similarity, copy_of = column(corpus, "similarity"), column(corpus, "copy_of")
    found = [name for name, value in similarity.items() if value is not None]
    assert len(found) > 10
    for name in found:
        one, other = (shingles(texts[int(each[1:])]) for each in (name, copy_of[name]))
        assert similarity[name] == len(one & other) / len(one | other)
    near = dedup([TEXT, NEAR], run="kept", minhash={"verify": "on", "min_similarity": 0.99})
    assert len(near) == 2


def test_copies_of_an_earlier_corpus_fall_and_name_it(dedup, tmp_path):
    contact = f"{' '.join(WORDS[200:260])} write to ann.lee@mail.uni.de"
    others = dict.fromkeys(("language", "quality", "toxicity", "decontaminate"), "off")
    before = dedup([document("old", TEXT), document("mail", contact)], run="old", others=others)
    assert "ann.lee" not in before.to_arrow()["text"][1].as_py()  # its hash is of the text before
    earlier = {earlier_input("last/year"): Source(before)}
    texts = [document("pool", NEAR, split="pool"), NEAR, OTHER, f"{OTHER} ", contact, TEXT]
    corpus = dedup(texts, earlier=earlier, against=["last/year"], keep="longest")
    assert ids(corpus) == ["d3"]
    told = column(corpus, "evidence", "decision")
    assert told["d1"] == told["d5"] == "copy of old in last/year"
    assert told["d4"] == "copy of mail in last/year"
    assert told["d2"] == "copy of d3"
    assert column(corpus, "copy_in")["d5"] == "last/year"
    assert told["pool"] == "copy of d1, which is near old in last/year"
    plain = dedup([TEXT, OTHER], run="plain", per_shard=9, exact="off", minhash="off")
    for path in (plain.folder / "attributes").rglob("*.parquet"):
        path.unlink()  # a corpus that was only collected has no hashes
    again = {earlier_input("plain"): Source(plain)}
    corpus = dedup([f"{OTHER}\n", "new"], run="again", earlier=again, against=["plain"])
    assert ids(corpus) == ["d1"]
    told = "2 of them by 'exact', 2 as copies of what is in 'plain'. Leave plain out"
    with pytest.raises(DataError, match=told):
        dedup([TEXT, OTHER], run="nothing left", earlier=again, against=["plain"])


class Source:
    def __init__(self, corpus):
        self._corpus = corpus

    def corpus(self):
        return self._corpus


def test_result_does_not_depend_on_the_shards(dedup):
    chance = random.Random(2)
    texts = [" ".join(chance.choices(WORDS[:20], k=8)) for _ in range(30)]
    texts += [f"{each} more" for each in chance.choices(texts, k=30)] + texts[:9]
    settings = {"minhash": {"permutations": 64, "bands": 32, "min_similarity": 0.4}}
    one = dedup(texts, run="one", per_shard=100, workers=1, **settings)
    many = dedup(texts, run="many", per_shard=7, **settings)
    assert 30 <= len(one) < 60
    for group in ("decision", "dedup"):
        assert one.attributes(group).to_pylist() == many.attributes(group).to_pylist()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"keep": "best_quality"}, "needs keep_attribute"),
        ({"keep": "licence"}, "needs keep_licences"),
        ({"exact": "off", "minhash": "off", "against": ["a"]}, "against needs"),
    ],
)
def test_a_setting_that_lacks_another_is_refused(settings, told):
    with pytest.raises(RecipeError, match=told):
        DedupSection.read(settings, "dedup")


def test_an_unknown_attribute_and_corpus_are_named(dedup):
    others = {"language": "off", "toxicity": "off", "decontaminate": "off"}
    attribute = {"keep": "best_quality", "keep_attribute": "gopher_quality.word"}
    with pytest.raises(DataError, match=r"Did you mean 'gopher_quality\.words'"):
        dedup([TEXT], others=others, **attribute)
    with pytest.raises(DataError, match="no earlier corpus 'lost'"):
        dedup([TEXT], run="lost", against=["lost"])


def test_dates_are_ordered_whatever_they_leave_out():
    dates = ["1999", "2020", "2020-05", "20200531", "2020-05-31T12:00", "2020-05-31 12:00:01Z"]
    numbers = [date_number(each) for each in dates]
    assert numbers == sorted(set(numbers))
    assert np.array(numbers).dtype == float
    assert date_number("in May") is date_number(None) is None
