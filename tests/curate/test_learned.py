"""Perplexity and classifier in curation: buckets and best fractions are of the whole corpus."""

import math
import random
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow.compute as pc
import pytest

from volano.core.artifact import Artifact
from volano.core.corpus import Corpus, finish_corpus, write_shard
from volano.core.errors import DataError, RecipeError
from volano.core.records import Document, table_of
from volano.core.step import Context
from volano.curate.decision import filters_in_use
from volano.curate.earlier import earlier_measures
from volano.curate.funnel import funnel
from volano.curate.learned_section import LearnSection
from volano.curate.section import CurateSection
from volano.curate.step import LEARN, STEP, scan
from volano.text.classifier_file import load_classifier, save_classifier
from volano.text.classify import Training, column_of, train
from volano.text.word_model import NgramTraining, train_words
from volano.text.word_model_file import load_words, save_words

NOUNS, VERBS = ["the cat", "a dog", "the old man"], ["sees", "hears", "likes"]
OFF = dict.fromkeys(["language", "quality", "toxicity", "decontaminate", "dedup", "pii"], "off")


def prose(draw):
    return f"{draw.choice(NOUNS)} {draw.choice(VERBS)} {draw.choice(NOUNS)} ."


def texts_of(count, *, shuffled, seed):
    """Texts of ten lines, of which each more has more lines with their words out of order."""
    draw = random.Random(seed)
    found = []
    for place in range(count):
        lines = [prose(draw).split() for _ in range(10)]
        for line in lines[: round(10 * shuffled * place / count)]:
            draw.shuffle(line)
        found.append("\n".join(" ".join(line) for line in lines))
    return found


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    good = texts_of(150, shuffled=0, seed=1)
    bad = [" ".join(random.Random(text).sample(text.split(), 40)) + " buy" for text in good]
    save_words(train_words([column_of(good)], NgramTraining(3, 1, 1)), folder / "ngrams")
    labels = ["good"] * len(good) + ["bad"] * len(bad)
    made = train(column_of(good + bad), labels, training=Training(bucket_bits=10, epochs=3))
    save_classifier(made.classifier, folder / "weights")
    return folder


@dataclass(frozen=True)
class Folder:
    folder: Path

    def corpus(self):
        return Corpus.open(self.folder)


@pytest.fixture
def curate(tmp_path):
    def curated(texts, *, kinds=None, run="run", **settings):
        documents = [
            Document(id=f"d{place:03d}", text=text, source="test", kind=kind)
            for place, (text, kind) in enumerate(
                zip(texts, kinds or ["text"] * len(texts), strict=True)
            )
        ]
        for place, start in enumerate(range(0, len(documents), 7)):
            shard = tmp_path / f"{run}-in" / "data" / f"{place:05d}.parquet"
            write_shard(shard, table_of(documents[start : start + 7], Document))
        finish_corpus(tmp_path / f"{run}-in", "document")
        section = CurateSection.read(OFF | settings, "test")
        context = Context(tmp_path / run, tmp_path / f"{run}-scratch", 1, 2, silent=True)
        STEP.run(section, {"documents": Folder(tmp_path / f"{run}-in")}, context)
        return Corpus.open(tmp_path / run)

    return curated


def test_thirds_are_of_the_whole_corpus_and_the_tail_goes(curate, models):
    texts = texts_of(30, shuffled=1, seed=2)
    corpus = curate(texts, perplexity={"model": str(models / "ngrams")})
    rows = corpus.attributes("perplexity").to_pylist()
    expected = load_words(models / "ngrams").perplexities(column_of(texts)).to_pylist()
    assert [row["value"] for row in rows] == pytest.approx(expected, abs=1e-3)
    by_value = sorted(rows, key=lambda row: row["value"])
    assert [row["bucket"] for row in by_value] == 10 * ["head"] + 10 * ["middle"] + 10 * ["tail"]
    decisions = {row["id"]: row for row in corpus.attributes("decision").to_pylist()}
    gone = {name for name, row in decisions.items() if row["dropped_by"] == "perplexity"}
    assert gone == {row["id"] for row in by_value[20:]}
    worst = decisions[by_value[-1]["id"]]
    assert worst["evidence"] == "bucket tail"
    assert worst["value"] == by_value[-1]["value"] > worst["threshold"] == by_value[19]["value"]
    assert len(corpus) == 20


def test_fixed_bounds_need_no_other_document_and_all_three_buckets_only_measure(curate, models):
    texts = texts_of(20, shuffled=1, seed=3)
    model = {"model": str(models / "ngrams")}
    fixed = {"max_head_perplexity": 5, "max_middle_perplexity": 9, "keep": ["head"]}
    corpus = curate(texts, perplexity=model | fixed)
    for row in corpus.attributes("perplexity").to_pylist():
        place = 0 if row["value"] <= 5 else 1 if row["value"] <= 9 else 2
        assert row["bucket"] == ["head", "middle", "tail"][place]
    everything = curate(texts, run="all", perplexity=model | {"keep": ["head", "middle", "tail"]})
    assert len(everything) == 20 > len(corpus) > 0


def test_documents_beyond_the_outer_bounds_are_of_no_third(curate, models):
    texts = ["the the the the the the the", *texts_of(12, shuffled=0.5, seed=4), "zebra " * 20]
    model = {"model": str(models / "ngrams"), "keep": ["head", "middle", "tail"]}
    values = curate(texts, perplexity=model).attributes("perplexity")["value"].to_pylist()
    high = sorted(values)[-2] + 0.01
    corpus = curate(texts, run="bounded", perplexity=model | {"max_perplexity": high})
    (gone,) = [r for r in corpus.attributes("decision").to_pylist() if r["dropped_by"]]
    assert (gone["id"], gone["evidence"]) == (f"d{values.index(max(values)):03d}", "max_perplexity")


def test_the_best_fraction_is_of_what_the_perplexity_left(curate, models):
    texts = texts_of(30, shuffled=1, seed=5)
    wanted = {"model": str(models / "weights"), "label": "good", "keep_fraction": 0.5}
    corpus = curate(texts, perplexity={"model": str(models / "ngrams")}, classifier=wanted)
    left = {row.filter: row.documents for row in funnel(corpus)}
    assert (left["held_out"], left["perplexity"], left["classifier"]) == (30, 20, 10)
    assert list(left)[-1] == "classifier"  # no row for what is off
    table = corpus.to_arrow(["id", "classifier.margin"])
    rows = {row["id"]: row for row in corpus.attributes("decision").to_pylist()}
    lost = [r for r in rows.values() if r["dropped_by"] == "classifier"]
    assert all(r["evidence"] == "good: keep_fraction" for r in lost)
    kept = pc.min(table["classifier.margin"]).as_py()
    assert max(r["value"] for r in lost) < lost[0]["threshold"] == kept


def test_the_best_fraction_may_be_of_the_text(curate, models):
    texts = [
        each * (1 + 5 * (place % 3 == 0))
        for place, each in enumerate(texts_of(30, shuffled=1, seed=5))
    ]
    wanted = {"model": str(models / "weights"), "label": "good", "keep_fraction": 0.5}
    corpus = curate(texts, classifier=wanted | {"keep_of": "bytes"})
    kept = {row["id"]: len(row["text"]) for row in corpus.to_arrow(["id", "text"]).to_pylist()}
    whole, longest = sum(map(len, texts)), max(map(len, texts))
    assert whole / 2 <= sum(kept.values()) < whole / 2 + longest
    rows = corpus.attributes("classifier").to_pylist()
    worst = min(row["margin"] for row in rows if row["id"] in kept)
    assert all(row["margin"] < worst for row in rows if row["id"] not in kept)


def test_documents_that_the_classifier_is_sure_of_are_ranked_still(curate, models, tmp_path):
    sure = load_classifier(models / "weights")
    save_classifier(
        replace(sure, weights=sure.weights * 50, bias=sure.bias * 50), tmp_path / "sure"
    )
    wanted = {"model": str(tmp_path / "sure"), "label": "good"}
    rows = curate(texts_of(10, shuffled=1, seed=7), classifier=wanted).attributes("classifier")
    assert len(set(rows["probability"].to_pylist())) < 10
    assert len(set(rows["margin"].to_pylist())) == 10
    for row in rows.to_pylist():
        assert row["probability"] == pytest.approx(1 / (1 + math.exp(-row["margin"])), abs=1e-3)
    best = curate(
        texts_of(10, shuffled=1, seed=7), run="best", classifier=wanted | {"keep_fraction": 0.5}
    )
    assert best.manifest["records"] == 5  # and not all whose probability is the same


def test_a_probability_is_a_bound_too_and_without_any_nothing_goes(curate, models):
    texts = texts_of(20, shuffled=1, seed=6)
    wanted = {"model": str(models / "weights"), "label": "good"}
    free = curate(texts, classifier=wanted)
    values = free.attributes("classifier")["probability"].to_pylist()
    middle = sorted(values)[10]
    bound = curate(texts, run="bound", classifier=wanted | {"min_probability": middle})
    assert len(free) == 20
    assert len(bound) == sum(value >= middle for value in values)


def test_copies_are_told_among_what_is_left(curate, models):
    texts = texts_of(9, shuffled=1, seed=7)
    settings = {"dedup": {"minhash": "off"}, "perplexity": {"model": str(models / "ngrams")}}
    corpus = curate([*texts, texts[-1], texts[0]], **settings)
    reasons = {r["id"]: r["dropped_by"] for r in corpus.attributes("decision").to_pylist()}
    assert reasons["d008"] == reasons["d009"] == "perplexity"
    assert (reasons["d000"], reasons["d010"]) == (None, "exact")


def test_code_and_texts_without_words_are_not_measured_and_stay(curate, models):
    texts = ["x = 1\ny = 2", "\n", *texts_of(6, shuffled=1, seed=8)]
    kinds = ["code", *["text"] * 7]
    corpus = curate(
        texts,
        kinds=kinds,
        perplexity={"model": str(models / "ngrams")},
        classifier={"model": str(models / "weights"), "label": "good", "keep_fraction": 1.0},
    )
    rows = corpus.attributes("perplexity").to_pylist()
    assert [(row["value"], row["bucket"]) for row in rows[:2]] == [(None, None)] * 2
    assert corpus.attributes("classifier")["probability"].to_pylist()[0] is None
    assert {"d000", "d001"} <= set(corpus.to_arrow(["id"])["id"].to_pylist())


def test_what_the_files_hold_bears_identity_and_not_where_they_lie(models, tmp_path):
    def listed(path):
        values = OFF | {"perplexity": {"model": str(path)}}
        return scan(CurateSection.read(values, "test")).digest()

    copy = tmp_path / "elsewhere"
    copy.write_bytes((models / "ngrams").read_bytes())
    assert listed(copy) == listed(models / "ngrams")
    save_words(train_words([column_of(["another text"])]), copy)
    assert listed(copy) != listed(models / "ngrams")


def test_another_bucket_needs_no_text_read_twice(models):
    def section(**more):
        return CurateSection.read({"perplexity": {"model": str(models / "ngrams")} | more}, "test")

    made = Artifact(Path(), {"identity": {"settings": section().identity()}, "files": {}})
    assert "perplexity" in earlier_measures([made], section(keep=["head"])).groups
    assert "perplexity" not in earlier_measures([made], section(exempt_kinds=[])).groups


def test_both_are_off_by_default():
    assert not {"perplexity", "classifier"} & set(filters_in_use(CurateSection()))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"perplexity": {}}, "perplexity.model"),
        ({"perplexity": {"model": "m", "keep": ["heads"]}}, "perplexity.keep"),
        ({"perplexity": {"model": "m", "head_fraction": 0.8}}, "are more than all"),
        ({"perplexity": {"model": "m", "max_head_perplexity": 5}}, "are given together"),
        ({"classifier": {"model": "m"}}, "classifier.label"),
        ({"classifier": {"model": "m", "label": "a", "keep_fraction": 0}}, "keep_fraction"),
    ],
)
def test_a_mistake_in_the_section_is_told(settings, told):
    with pytest.raises(RecipeError, match=told):
        CurateSection.read(settings, "test")


def test_a_label_or_a_file_that_is_not_there_is_told_with_a_near_one(curate, models):
    wanted = {"model": str(models / "weights"), "label": "goood"}
    with pytest.raises(DataError, match="Did you mean 'good'"):
        curate(["a text"], classifier=wanted)
    with pytest.raises(DataError, match="this is no n-gram model"):
        curate(["a text"], run="other", perplexity={"model": str(models / "weights")})
    with pytest.raises(DataError, match="Did you mean 'ngrams'"):
        scan(CurateSection.read({"perplexity": {"model": str(models / "ngram")}}, "test"))


@pytest.fixture
def two_kinds(tmp_path):
    """Prose of kind topic, the same words in disorder of kind readme, and both of kind function."""
    good, bad = texts_of(120, shuffled=0, seed=3), texts_of(120, shuffled=0, seed=4)
    bad = [" ".join(random.Random(text).sample(text.split(), 40)) for text in bad]
    rows = [Document(f"t{n}", text, "own", "topic") for n, text in enumerate(good[:80])]
    rows += [Document(f"r{n}", text, "own", "readme") for n, text in enumerate(bad[:80])]
    rows += [Document(f"good{n}", text, "web", "function") for n, text in enumerate(good[80:])]
    rows += [Document(f"bad{n}", text, "web", "function") for n, text in enumerate(bad[80:])]
    return Folder(corpus_at(tmp_path / "kinds", rows))


def corpus_at(folder, rows):
    write_shard(folder / "data" / "00000.parquet", table_of(rows))
    finish_corpus(folder, "document")
    return folder


def learnt(corpus, out, **settings):
    section = LearnSection(**settings)
    context = Context(out, out.parent / "scratch", seed=0, silent=True)
    LEARN.run(section, {"documents": Artifact(corpus.folder, {})}, context)
    return Artifact(out, {})


def test_a_recipe_learns_what_is_wanted_from_the_documents_themselves(two_kinds, tmp_path):
    weights = learnt(two_kinds, tmp_path / "weights", kinds=["topic"])
    section = CurateSection.read(
        {**OFF, "classifier": {"learn": {"kinds": ["topic"]}, "keep_fraction": 0.5}}, "test"
    )
    assert scan(section).entries == ()
    out = tmp_path / "curated"
    inputs = {"documents": Artifact(two_kinds.folder, {}), "classifier": weights}
    STEP.run(section, inputs, Context(out, tmp_path / "scratch2", seed=0, silent=True))
    kept = {each.id for each in Corpus.open(out).records()}
    assert sum(name.startswith("good") for name in kept) > 30
    assert sum(name.startswith("bad") for name in kept) < 10


def test_fewer_documents_are_the_first_by_hash(two_kinds, tmp_path):
    few = learnt(two_kinds, tmp_path / "few", kinds=["topic"], documents=60)
    assert load_classifier(few.folder / "classifier.safetensors").about["rows_of_label"] == {
        "ordinary": 60, "wanted": 60,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kinds": ["topics"]}, "Did you mean 'topic'"),
        ({"sources": ["webs"]}, "Did you mean 'web'"),
        ({"sources": ["web", "own"]}, "0 ordinary training documents"),
    ],
)
def test_what_cannot_be_learnt_is_refused(two_kinds, tmp_path, settings, said):
    with pytest.raises(DataError, match=said):
        learnt(two_kinds, tmp_path / "weights", **settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "either model, a file of weights, or learn"),
        ({"model": "a", "learn": {"kinds": ["b"]}}, "either model, a file of weights, or learn"),
        ({"learn": {}}, "neither kinds nor sources"),
    ],
)
def test_a_classifier_has_one_origin(settings, said):
    with pytest.raises(RecipeError, match=said):
        CurateSection.read({"classifier": settings}, "test")
