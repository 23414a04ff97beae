"""A curriculum from the recipe's section to the weights, on Python's own language reference."""

import json
from collections import Counter
from pydoc_data.topics import topics

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import spearmanr

from volano.core.artifact import Artifact, describe_files
from volano.core.corpus import finish_corpus, shard_path, write_shard
from volano.core.errors import DataError, RecipeError
from volano.core.files import file_digest
from volano.core.records import Document, table_of
from volano.core.step import Context
from volano.pretrain.section import PackSection, PretrainSection, TokenizerSection
from volano.pretrain.step import PACK, PRETRAIN, TOKENIZER
from volano.text.stream import TokenShards, TokenStream

CONTEXT = 32


@pytest.fixture(scope="module")
def curated(tmp_path_factory):
    """Topics in two shards, with attributes beside them, also of a document that was dropped."""
    folder = tmp_path_factory.mktemp("corpus") / "curated"
    folder.mkdir()
    texts = sorted((name, text[:1500]) for name, text in topics.items())
    made = [
        Document(name, text, "long" if place % 3 else "short", "topic" if place % 4 else "other",
                 "test" if place % 10 == 9 else "train")
        for place, (name, text) in enumerate(texts)
    ]  # fmt: skip
    half = len(made) // 2
    for place, part in enumerate((made[:half], made[half:])):
        write_shard(shard_path(folder, "data", place), table_of(part, Document))
        judged = [*reversed(part), Document("dropped", "", "x")]
        words = [len(each.text.split()) / max(len(each.text), 1) for each in judged]
        write_shard(
            shard_path(folder, "attributes/quality", place),
            pa.table(
                {
                    "id": [each.id for each in judged],
                    "spaced": words,
                    "lines": pa.array([each.text.count("\n") for each in judged], pa.int32()),
                    "verdict": ["good"] * len(judged),
                    "sometimes": [n if n % 5 else None for n in range(len(judged))],
                }
            ),
        )
    finish_corpus(folder, "document")
    return Artifact(folder, {"kind": "corpus", "name": "test"})


def run(step, section, inputs, folder, seed=1):
    (folder / "artifact").mkdir(parents=True, exist_ok=True)
    context = Context(folder / "artifact", folder / "scratch", seed, workers=1, silent=True)
    step.run(section, inputs, context)
    return Artifact(context.folder, {"kind": step.kind, "name": step.name}), context


@pytest.fixture(scope="module")
def tokenizer(curated, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    return run(TOKENIZER, TokenizerSection(vocabulary=400), {"documents": curated}, folder)[0]


def section(curriculum=None, **changes):
    values = {
        "model": {"parameters": 20_000, "context": CONTEXT},
        "tokens": CONTEXT * 4 * 30,
        "batch_rows": 4,
        "evaluate_documents": 0,
        "milestones": [],
        **({} if curriculum is None else {"curriculum": curriculum}),
    }
    return PretrainSection.read(values | changes, "test")


def packed(settings, curated, tokenizer, folder):
    inputs = {"documents": curated, "tokenizer": tokenizer}
    return run(PACK, settings.packing(), inputs, folder)[0]


def stream_of(tokens, settings, *, steps=None, seed=1):
    return TokenStream(
        TokenShards(tokens.folder),
        steps=steps or settings.steps,
        batch_rows=settings.batch_rows,
        seed=seed,
        mixture=settings.mixture,
        curriculum=settings.reading(),
    )


def values_beside(corpus, name):
    table = corpus.corpus().attributes("quality")
    return dict(zip(table["id"].to_pylist(), table[name].to_pylist(), strict=True))


def test_packing_without_a_curriculum_carries_nothing_more(curated, tokenizer, tmp_path):
    plain = packed(section(), curated, tokenizer, tmp_path)
    names = {"tokens.bin", "spans.parquet", "meta.json"}
    assert {path.name for path in plain.folder.iterdir()} == names
    meta = json.loads((plain.folder / "meta.json").read_text())
    assert set(meta["digests"]) == names - {"meta.json"}
    assert "cuts" not in meta
    assert section().packing() == PackSection(context=CONTEXT)


@pytest.mark.parametrize("direction", ["ascending", "descending"])
def test_what_is_read_follows_the_attribute(curated, tokenizer, tmp_path, direction):
    settings = section({"order": {"by": "quality.spaced", "direction": direction}})
    tokens = packed(settings, curated, tokenizer, tmp_path)
    shards = TokenShards(tokens.folder)
    made = stream_of(tokens, settings, steps=shards.rows // 4)  # an epoch, but for a few rows
    worth = values_beside(curated, "spaced")

    def mean(step):
        read = shards.documents_in(made._rows_of(step))
        return sum(worth[name] * count for name, count in read.items()) / sum(read.values())

    correlation = spearmanr([mean(step) for step in range(made.steps)], range(made.steps)).statistic
    assert (1 if direction == "ascending" else -1) * correlation > 0.9
    plain = stream_of(tokens, section(), steps=made.steps)
    assert plain.documents(made.steps) == made.documents(made.steps)


def test_documents_share_rows_with_their_like(curated, tokenizer, tmp_path):
    settings = section({"order": {"by": "quality.spaced"}})
    worth = values_beside(curated, "spaced")

    def spread(tokens):
        """Of documents in one row, over that of all documents: the median over shared rows."""
        shards = TokenShards(tokens.folder)
        values = np.array([worth[name] for name in shards.documents])
        rows = [values[shards.document[shards.row == row]] for row in range(shards.rows)]
        return np.median([each.std() for each in rows if len(each) > 1]) / values.std()

    assert spread(packed(settings, curated, tokenizer, tmp_path / "order")) < 0.2
    assert spread(packed(section(), curated, tokenizer, tmp_path / "plain")) > 0.3


@pytest.mark.parametrize("by", ["quality.lines", "length"])
def test_the_anneal_reads_the_best_share_of_each_kind(curated, tokenizer, tmp_path, by):
    settings = section({"anneal": {"by": by, "best": 0.3, "fraction": 0.2}})
    tokens = packed(settings, curated, tokenizer, tmp_path)
    made = stream_of(tokens, settings)
    texts = {each.id: each for each in curated.corpus().records() if each.split == "train"}
    worth = values_beside(curated, "lines")
    if by == "length":
        worth = {name: len(each.text.encode()) for name, each in texts.items()}
    last = [name for step in range(24, 30) for name in made.documents_at(step)]
    for kind in ("topic", "other"):
        mine = {name: each for name, each in texts.items() if each.kind == kind}
        total = sum(len(each.text.encode()) for each in mine.values())
        bound = min(worth[name] for name in last if name in mine)
        above = sum(len(mine[name].text.encode()) for name in mine if worth[name] >= bound)
        # The last document of the share is wholly in it, and those of its value with it.
        assert above <= 0.3 * total + 1500 + sum(
            len(each.text.encode()) for name, each in mine.items() if worth[name] == bound
        )
    assert 0.25 < made.best_share() < 0.5


def test_an_anneal_goes_with_the_decay_of_the_rates(curated, tokenizer, tmp_path):
    settings = section({"anneal": {"by": "length"}}, decay_fraction=0.3)
    made = stream_of(packed(settings, curated, tokenizer, tmp_path), settings)
    assert [(part.name, part.begin, part.end) for part in made.parts] == [
        ("run", 0, 21),
        ("anneal", 21, 30),
    ]


FULL = {
    "order": {"by": "length", "direction": "descending"},
    "stages": [
        {"until": 0.4, "mixture": {"topic": 0.8, "other": 0.2}},
        {"until": 1, "mixture": {"topic": 0.4, "other": 0.6}},
    ],
    "anneal": {"by": "quality.spaced", "prefer": "lowest"},
}


def test_a_run_with_a_curriculum_stopped_and_resumed_has_the_same_bytes(
    curated, tokenizer, tmp_path, monkeypatch
):
    settings = section(FULL, checkpoint_steps=4)
    tokens = packed(settings, curated, tokenizer, tmp_path / "tokens")
    inputs = {"tokens": tokens, "tokenizer": tokenizer}
    straight, context = run(PRETRAIN, settings, inputs, tmp_path / "straight")
    batch = TokenStream.batch

    def failing(self, step):
        if step in stops:
            stops.remove(step)
            raise ConnectionAbortedError
        return batch(self, step)

    monkeypatch.setattr(TokenStream, "batch", failing)
    stops = {6, 14, 27}  # in both stages, and in the anneal
    for _ in range(3):
        with pytest.raises(ConnectionAbortedError):
            run(PRETRAIN, settings, inputs, tmp_path / "stopped")
    resumed, _ = run(PRETRAIN, settings, inputs, tmp_path / "stopped")
    assert not stops
    assert describe_files(resumed.folder) == describe_files(straight.folder)
    assert set(context.bill) >= {"epochs.topic", "epochs.stage 1.topic", "epochs.anneal.other"}
    assert 0.2 <= context.bill["anneal_share"] < 0.35
    made = stream_of(tokens, settings)
    seen = pq.read_table(straight.folder / "seen.parquet").to_pylist()
    assert {row["id"]: row["tokens"] for row in seen} == made.documents(30)


def test_mixtures_may_name_sources(curated, tokenizer, tmp_path):
    settings = section(
        {"stages": [{"until": 0.5, "mixture": {"short": 1}}, {"until": 1, "mixture": {"long": 1}}]},
        mixture_by="source",
    )
    made = stream_of(packed(settings, curated, tokenizer, tmp_path), settings)
    source = {each.id: each.source for each in curated.corpus().records()}
    read = [{source[name] for name in made.documents_at(step)} for step in range(30)]
    assert read == [{"short"}] * 15 + [{"long"}] * 15
    with pytest.raises(DataError, match=r"no documents of source 'shot'\. Did you mean 'short'"):
        packed(section(mixture={"shot": 1.0}, mixture_by="source"), curated, tokenizer, tmp_path)


@pytest.mark.parametrize(
    ("by", "words"),
    [
        (
            "quality.space",
            r"no attribute 'quality.space' beside the documents\. Did you mean 'q",
        ),
        ("spaced", r"no attribute 'spaced'"),
        ("quality.verdict", r"'quality.verdict' holds string and no numbers"),
        ("quality.sometimes", r"\d+ of \d+ documents of '\w+' have no 'quality.sometimes'"),
    ],
)
def test_attributes_that_cannot_order_are_refused(curated, tokenizer, tmp_path, by, words):
    with pytest.raises(DataError, match=words) as refused:
        packed(section({"order": {"by": by}}), curated, tokenizer, tmp_path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("curriculum", "changes", "words"),
    [
        ({}, {}, "nothing is set in it"),
        ({"order": {}}, {}, "curriculum.order.by: value missing"),
        ({"stages": [{"until": 0.5, "mixture": {"a": 1}}]}, {}, "no stage behind 0.5"),
        (
            {"stages": [{"until": u, "mixture": {"a": 1}} for u in (0.6, 0.6, 1)]},
            {},
            r"curriculum.stages\[1\].until: a stage until 0.6 behind one until 0.6",
        ),
        ({"stages": [{"until": 1, "mixture": {"a": 0}}]}, {}, "no kind has a share above 0"),
        ({"stages": [{"until": 1, "mixture": {"a": -1}}]}, {}, "a share is 0 or more, not -1"),
        (
            {"stages": [{"until": 1, "mixture": {"a": 1}}]},
            {"mixture": {"a": 1}},
            "mixture: shares are given here and in curriculum.stages",
        ),
        (
            {"anneal": {"by": "length"}},
            {"schedule": "cosine"},
            "curriculum.anneal.fraction: value missing: only the rates of schedule: wsd",
        ),
        (None, {"mixture_by": "source"}, "mixture_by: no mixture that names a source"),
        (None, {"mixture": {"a": -0.5}}, "a share is 0 or more"),
    ],
)
def test_a_curriculum_that_cannot_be_is_refused_in_its_line(curriculum, changes, words):
    with pytest.raises(RecipeError, match=words):
        section(curriculum, **changes)


# ---- shards that are not what was packed


@pytest.mark.parametrize("name", ["tokens.bin", "spans.parquet", "attributes.parquet"])
def test_a_file_changed_since_packing_is_refused_when_training_begins(
    curated, tokenizer, tmp_path, name
):
    settings = section({"order": {"by": "length"}})
    tokens = packed(settings, curated, tokenizer, tmp_path / "tokens")
    path = tokens.folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}: changed since it was packed\. Delete its fold"):
        run(PRETRAIN, settings, {"tokens": tokens, "tokenizer": tokenizer}, tmp_path / "base")


def test_another_tokenizer_than_that_of_packing_is_refused(curated, tokenizer, tmp_path):
    tokens = packed(section(), curated, tokenizer, tmp_path / "tokens")
    for vocabulary in (399, 500):
        documents = {"documents": curated}
        folder = tmp_path / str(vocabulary)
        other, _ = run(TOKENIZER, TokenizerSection(vocabulary=vocabulary), documents, folder)
        with pytest.raises(DataError, match="packed with another tokenizer") as refused:
            run(PRETRAIN, section(), {"tokens": tokens, "tokenizer": other}, tmp_path / "base")
        assert f"it has 400 tokens, this one {vocabulary}" in str(refused.value)


def test_digests_are_those_of_the_files(curated, tokenizer, tmp_path):
    tokens = packed(section({"order": {"by": "length"}}), curated, tokenizer, tmp_path)
    meta = json.loads((tokens.folder / "meta.json").read_text())
    assert meta["digests"] == {
        name: file_digest(tokens.folder / name)
        for name in ("tokens.bin", "spans.parquet", "attributes.parquet")
    }


def test_shards_without_digests_or_of_a_newer_form_are_refused(curated, tokenizer, tmp_path):
    tokens = packed(section(), curated, tokenizer, tmp_path / "tokens")
    path = tokens.folder / "meta.json"
    meta = json.loads(path.read_text())
    older = {name: meta[name] for name in meta if name not in ("digests", "tokenizer", "by")}
    path.write_text(json.dumps(older | {"format": 1}))
    with pytest.raises(DataError, match=r"packed by an older Volano, without digests\. Pack it"):
        run(PRETRAIN, section(), {"tokens": tokens, "tokenizer": tokenizer}, tmp_path / "base")
    path.write_text(json.dumps(meta | {"format": 3}))
    with pytest.raises(DataError, match="packed by a newer Volano"):
        TokenShards(tokens.folder)


def test_every_position_maps_back_to_its_document(curated, tokenizer, tmp_path):
    shards = TokenShards(packed(section(), curated, tokenizer, tmp_path).folder)
    for row in range(0, shards.rows, 7):
        found = [shards.document_at(row, position) for position in range(CONTEXT)]
        counted = Counter(name for name in found if name is not None)
        assert counted == shards.documents_in(np.array([row]))
        for place in shards.places(row):
            assert set(found[place.begin : place.begin + place.length]) == {place.document}
    with pytest.raises(DataError, match=f"no row {shards.rows}: there are"):
        shards.document_at(shards.rows, 0)
    with pytest.raises(DataError, match=f"no position {CONTEXT}: a row has {CONTEXT}"):
        shards.document_at(0, CONTEXT)
