"""Documents that say the same in other words."""

import json
import string

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from volano.core.errors import DataError
from volano.core.records import Document
from volano.curate.embeddings import Latent, load_embedder, model_files, word_counts
from volano.curate.semantic import ALONE, copies_among

pytest.importorskip("sklearn")
TOPICS = {
    "river": "river water flows valley bridge bank flood stream boat fish current shore",
    "music": "violin concert melody rhythm piano choir chord tune orchestra stage singer note",
    "cooking": "oven bread flour butter salt pepper onion garlic recipe dinner spoon kitchen",
    "court": "judge lawyer trial verdict witness appeal law jury sentence crime court clause",
}

OTHERS = dict.fromkeys(("language", "quality", "toxicity", "decontaminate", "pii"), "off")


def about(topic, seed, words=60):
    chance = np.random.default_rng(seed)
    return " ".join(chance.choice(TOPICS[topic].split(), words))


DOCUMENTS = [
    Document(id=f"{topic}-{n}", text=about(topic, 10 * place + n), source="made up", kind="prose")
    for place, topic in enumerate(TOPICS)
    for n in range(6)
]


@given(
    st.lists(st.lists(st.integers(-2, 2), min_size=3, max_size=3), max_size=12),
    st.sampled_from([0.5, 0.9, 1.0]),
)
def test_a_document_falls_to_the_first_one_that_stays_and_is_alike(rows, bound):
    vectors = np.array(rows, np.float32).reshape(len(rows), 3)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = np.where(lengths > 0, vectors / np.maximum(lengths, 1), 0)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    of, cosine = copies_among(vectors.astype(np.float32), bound)
    stays = []
    for row, vector in enumerate(vectors):
        near = [other for other in stays if round(float(vector @ vectors[other]), 4) >= bound]
        assert of[row] == (near[0] if near else ALONE)
        if near:
            assert cosine[row] == pytest.approx(vector @ vectors[near[0]], abs=1e-3)
        else:
            stays.append(row)


def test_latent_vectors_bring_topics_together():
    texts = pa.array([each.text for each in DOCUMENTS], pa.large_string())
    vectors = Latent.fit(word_counts(texts), dimensions=4, seed=1).embed(texts)
    cosines = vectors @ vectors.T
    same = np.equal.outer(*[[each.id.split("-")[0] for each in DOCUMENTS]] * 2)
    assert cosines[same].min() > 0.8
    assert abs(cosines[~same]).max() < 0.3
    assert Latent.fit(word_counts(texts), dimensions=4, seed=1).embed(texts) == pytest.approx(
        vectors
    )


def semantic(dedup, documents=DOCUMENTS, run="run", workers=2, others=OTHERS, **settings):
    settings = {"dimensions": 4, "min_similarity": 0.8, **settings}
    how = {"run": run, "workers": workers, "others": others}
    return dedup(documents, **how, minhash="off", semantic=settings)


def test_of_each_topic_the_first_document_stays_and_the_reason_is_on_record(dedup):
    corpus = semantic(dedup)
    assert corpus.to_arrow(["id"])["id"].to_pylist() == [f"{topic}-0" for topic in TOPICS]
    decisions = corpus.attributes("decision").to_pylist()
    fallen = next(each for each in decisions if each["id"] == "music-3")
    assert (fallen["dropped_by"], fallen["threshold"]) == ("semantic", 0.8)
    assert fallen["evidence"] == "says what music-0 says"
    assert 0.8 <= fallen["value"] <= 1
    rows = {each["id"]: each for each in corpus.attributes("dedup").to_pylist()}
    assert rows["music-3"]["semantic_of"] == "music-0"
    assert rows["music-0"]["semantic_of"] is None
    row = corpus.manifest["funnel"][-1]
    assert (row["filter"], row["documents"], row["documents_dropped"]) == ("semantic", 4, 20)


def test_small_clusters_lose_no_copy_of_a_topic(dedup):
    corpus = semantic(dedup, cluster_documents=10)
    left = [each.split("-")[0] for each in corpus.to_arrow(["id"])["id"].to_pylist()]
    assert set(left) == set(TOPICS)
    assert len(left) < 8


def test_the_preferred_copy_stays(dedup):
    longer = Document(id="long", text=about("music", 99, 90), source="made up", kind="prose")
    settings = {"dimensions": 4, "min_similarity": 0.8}
    corpus = dedup([*DOCUMENTS, longer], minhash="off", keep="longest", semantic=settings)
    assert "long" in corpus.to_arrow(["id"])["id"].to_pylist()


def test_few_documents_have_few_dimensions(dedup):
    assert len(semantic(dedup, dimensions=128)) < len(DOCUMENTS)
    assert len(semantic(dedup, run="two", documents=DOCUMENTS[5:7], dimensions=128)) == 2


def test_a_shard_of_which_nothing_takes_part_costs_nothing(dedup):
    code = [Document(id=f"c{n}", text=f"x = {n}", source="t", kind="code") for n in range(2)]
    corpus = semantic(dedup, documents=[*DOCUMENTS[:12], *code, *DOCUMENTS[12:]])
    assert len(corpus) == len(TOPICS) + 2


def test_training_documents_stay_before_later_ones(dedup):
    pool = Document(id="pool", text=about("music", 5), source="t", kind="prose", split="pool")
    left = semantic(dedup, documents=[pool, *DOCUMENTS]).to_arrow(["id"])["id"].to_pylist()
    assert "pool" not in left
    assert "music-0" in left


def test_all_of_them_go_where_asked_for(dedup):
    alone = Document(id="alone", text="quite another subject, with no word of the rest", source="t")
    settings = {"dimensions": 4, "min_similarity": 0.8}
    corpus = dedup([*DOCUMENTS, alone], minhash="off", drop="all", semantic=settings)
    assert corpus.to_arrow(["id"])["id"].to_pylist() == ["alone"]
    rows = {each["id"]: each for each in corpus.attributes("dedup").to_pylist()}
    assert rows["music-0"]["semantic_of"].startswith("music-")


def test_the_same_bytes_from_one_worker_and_after_a_kill(dedup, monkeypatch):
    first = semantic(dedup, run="first", workers=1)
    monkeypatch.setattr("volano.curate.semantic._alike", killed)
    with pytest.raises(KeyboardInterrupt):
        semantic(dedup, run="second")
    monkeypatch.undo()
    second = semantic(dedup, run="second")
    for one, other in zip(files_of(first), files_of(second), strict=True):
        assert one.read_bytes() == other.read_bytes()


def killed(*arguments):
    raise KeyboardInterrupt


def files_of(corpus):
    return sorted(path for path in corpus.folder.rglob("*.parquet"))


def test_what_is_embedded_is_the_text_that_earlier_filters_have_left(tmp_path, dedup):
    menu = " ".join(f"{letter}menu{letter}" for letter in string.ascii_letters) * 5
    documents = [
        Document(
            id=each.id, text=f"{menu}\n{each.text}", source="t", kind="prose", url="https://a.org/"
        )
        for each in DOCUMENTS
    ]
    boilerplate = {"min_documents": 3, "min_words_left": 0}
    others = {**OTHERS, "boilerplate": boilerplate}
    settings = {"documents": documents, "min_similarity": 0.4}
    assert len(semantic(dedup, **settings)) < len(TOPICS)  # the menu makes all alike
    assert len(semantic(dedup, **settings, run="cut", others=others)) == len(TOPICS)


def test_where_nothing_takes_part_nothing_falls(dedup):
    corpus = semantic(dedup, exempt_kinds=["prose"])
    assert len(corpus) == len(DOCUMENTS)


@pytest.fixture
def static(tmp_path):
    """A real static model, as model2vec writes one: a table, a tokenizer and a config."""
    words = sorted({word for words in TOPICS.values() for word in words.split()})
    vocabulary = {word: place for place, word in enumerate(["[UNK]", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path / "static"
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    vectors = np.zeros((len(vocabulary), len(TOPICS)), np.float32)
    for place, words in enumerate(TOPICS.values()):
        vectors[[vocabulary[word] for word in words.split()], place] = 1
    save_file({"embeddings": vectors}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"normalize": True}))
    return folder


def test_a_static_model_s_table_is_read(static):
    texts = pa.array(["river river violin", "", None, "nothing known"], pa.large_string())
    vectors = load_embedder(static).embed(texts)
    assert vectors[0] == pytest.approx(np.array([2, 1, 0, 0]) / 5**0.5)
    assert not vectors[1:].any()


def test_a_static_model_takes_topics_together(dedup, static):
    corpus = semantic(dedup, model=str(static))
    assert len(corpus) == len(TOPICS)


def test_a_folder_without_a_model_is_refused(static):
    (static / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"semantic.model.*no model of embeddings"):
        model_files(static)
    with pytest.raises(DataError, match=r"no such folder"):
        model_files(static / "absent")


def test_a_damaged_model_is_told(static):
    (static / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(DataError, match="cannot be read"):
        load_embedder(static)


def test_a_model_that_was_replaced_is_read_anew(static):
    texts = pa.array(["river"], pa.large_string())
    before = load_embedder(static).embed(texts)
    table = np.ones((len(load_embedder(static).vectors), len(TOPICS)), np.float32)
    save_file({"embeddings": table}, static / "model.safetensors")
    assert load_embedder(static).embed(texts) != pytest.approx(before)
