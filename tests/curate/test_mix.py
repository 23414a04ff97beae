"""A mixture of a corpus, and of what is packed: what is read, against the plan."""

import json
from collections import Counter
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from volano.cli.notes import notes
from volano.core.artifact import Artifact
from volano.core.corpus import Corpus, finish_corpus, read_shard, shard_path, write_shard
from volano.core.errors import DataError, RecipeError
from volano.core.mixture import Mixture, origins_read
from volano.core.records import Document, table_of
from volano.core.step import Context
from volano.curate.mix import mix
from volano.curate.mix_section import MixSection
from volano.curate.section import CurateSection
from volano.pretrain.curriculum import TierSection
from volano.pretrain.section import PackSection, TokenizerSection
from volano.pretrain.step import PACK, TOKENIZER
from volano.pretrain.training_texts import bill_of_run
from volano.text.stream import TokenShards, TokenStream

STANDARD_DEVIATIONS = 4


def section(**settings):
    return MixSection.read(settings, "curate.mix")


# ---- of a corpus


def write_curated(folder, documents, *, per_shard=50, dropped=()):
    """What curation leaves, with a decision on each document."""
    for place, start in enumerate(range(0, len(documents), per_shard)):
        part = documents[start : start + per_shard]
        kept = [each for each in part if each.id not in dropped]
        gone = [each for each in part if each.id in dropped]
        write_shard(shard_path(folder, "data", place), table_of(kept, Document))
        if gone:
            write_shard(shard_path(folder, "dropped", place), table_of(gone, Document))
        names = pa.array([each.id for each in part])
        reasons = pa.array(["near" if each.id in dropped else None for each in part], pa.string())
        decisions = pa.table({"id": names, "dropped_by": reasons})
        write_shard(shard_path(folder, "attributes/decision", place), decisions)
        lengths = pa.table({"id": names, "length": [len(each.text) for each in part],
                            "long": [len(each.text) > 30 for each in part]})  # fmt: skip
        write_shard(shard_path(folder, "attributes/form", place), lengths)
    finish_corpus(folder, "document")


def mixed(folder, documents, *, run="run", **settings):
    write_curated(folder / run, documents, dropped=settings.pop("dropped", ()))
    context = Context(folder / run, folder / f"{run}-scratch", 1, 2, silent=True)
    return mix(section(**settings), context), Corpus.open(folder / run)


def corpus_documents(count=400):
    generator = np.random.default_rng(0)
    kinds = generator.choice(["code", "prose", "web"], count, p=[0.1, 0.5, 0.4])
    lengths = generator.integers(5, 60, count)
    return [
        Document(f"{kind}{place}", "x" * length, "test", kind, url=f"https://{kind}.org/{place}")
        for place, (kind, length) in enumerate(zip(kinds, lengths.tolist(), strict=True))
    ]


def passes(corpus):
    table = corpus.attributes("mix")
    return dict(zip(table["id"].to_pylist(), table["passes"].to_pylist(), strict=True))


def test_documents_are_drawn_as_planned_within_what_their_sizes_allow(tmp_path):
    documents = [*corpus_documents(), Document("pool", "x" * 50, "test", "code", split="pool")]
    gone = {documents[3].id, documents[60].id}
    found, corpus = mixed(tmp_path, documents, by="kind", weights={"code": 3}, dropped=gone)
    drawn = passes(corpus)
    assert {name for name, times in drawn.items() if times is None} == gone
    assert drawn["pool"] == 0
    for portion in found.portions:
        mine = [each for each in documents if each.kind == portion.group and each.id not in gone]
        sizes = {each.id: len(each.text) for each in mine if each.split == "train"}
        assert (portion.documents, portion.bytes) == (len(sizes), sum(sizes.values()))
        assert portion.bytes_read == sum(drawn[name] * size for name, size in sizes.items())
        assert portion.documents_read == sum(drawn[name] > 0 for name in sizes)
        whole, fraction = divmod(portion.planned_epochs, 1)
        assert {drawn[name] for name in sizes} <= {whole, whole + 1}
        deviation = (fraction * (1 - fraction) * sum(size**2 for size in sizes.values())) ** 0.5
        off = portion.bytes_read - portion.planned_epochs * portion.bytes
        assert abs(off) <= STANDARD_DEVIATIONS * deviation
    assert sum(each.got_share for each in found.portions) == pytest.approx(1, abs=1e-5)
    assert Mixture.of(corpus) == found


def test_passes_depend_on_id_group_and_seed_alone(tmp_path):
    documents = corpus_documents()
    settings = {"by": "kind", "size_epochs": 1.5}
    first = passes(mixed(tmp_path, documents, run="first", **settings)[1])
    turned = passes(mixed(tmp_path, documents[::-1], run="turned", **settings)[1])
    assert first == turned
    other = passes(mixed(tmp_path, documents, run="other", seed=1, **settings)[1])
    assert first != other
    more = passes(mixed(tmp_path, documents, run="more", by="kind", size_epochs=2.25)[1])
    assert all(more[name] >= times for name, times in first.items())


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("domain", {"code.org", "prose.org", "web.org", "no address"}),
        ("licence", {"MIT", "not stated"}),
        ("form.long", {"true", "false"}),
    ],
)
def test_groups_are_told_from_columns_addresses_and_attributes(tmp_path, by, groups):
    documents = corpus_documents(80)
    documents += [Document("a", "abc", "test", licence="MIT"), Document("b", "abc", "test",
                  url="https://[broken")]  # fmt: skip
    gone = {each.id for each in documents[:3]}
    _, corpus = mixed(tmp_path, documents, by=by, dropped=gone)
    table = corpus.attributes("mix")
    found = dict(zip(table["id"].to_pylist(), table["group"].to_pylist(), strict=True))
    assert set(found.values()) == groups
    assert list(found) == [each.id for each in documents]
    if by == "domain":
        assert all(found[each.id] == f"{each.kind}.org" for each in documents[:80])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"by": "kind", "weights": {"cod": 2}}, "no documents of kind 'cod'.*mean 'code'"),
        ({"by": "form.length"}, "'form.length' is a number, not a group"),
        ({"by": "form.lang"}, "'form.lang' was not measured.*Did you mean 'form.long'"),
        ({"by": "kind", "size_bytes": 1}, "no document was drawn"),
    ],
)
def test_what_a_corpus_cannot_give_is_refused(tmp_path, settings, told):
    with pytest.raises(DataError, match=told):
        mixed(tmp_path, corpus_documents(30), **settings)


def test_what_a_mixture_leaves_out_is_no_source_of_a_model(tmp_path):
    documents = [
        Document(f"{source}{place}", "some text", source, licence=licence)
        for source, licence in (("one", "MIT"), ("two", "GPL"), ("three", None))
        for place in range(4)
    ]
    _, corpus = mixed(tmp_path, documents, weights={"two": 0}, size_epochs=2)
    assert origins_read(corpus) == {
        "sources": {"one": 4, "three": 4},
        "licences": {"MIT": 4, "not stated": 4},
    }
    assert corpus.manifest["sources"] == {"one": 4, "three": 4, "two": 4}


def test_without_a_mixture_a_corpus_keeps_its_identity():
    assert "mix" not in CurateSection().identity()
    assert CurateSection.read({"mix": "on"}, "curate").identity()["mix"]["max_epochs"] == 4
    with pytest.raises(RecipeError, match=r"mix.by: bucket needs curate.perplexity, which is off"):
        CurateSection.read({"mix": {"by": "bucket"}}, "curate")


# ---- packing


def run(step, settings, inputs, folder):
    (folder / "artifact").mkdir(parents=True)
    context = Context(folder / "artifact", folder / "scratch", 1, workers=1, silent=True)
    step.run(settings, inputs, context)
    return Artifact(context.folder, {"kind": step.kind, "name": step.name}), context.bill


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Packed by a tokenizer of single bytes, so that tokens can be counted by hand."""
    folder = tmp_path_factory.mktemp("packed")
    found, corpus = mixed(folder, corpus_documents(), by="domain",
                          shares={"code.org": 0.3}, size_epochs=1.5)  # fmt: skip
    documents = SimpleNamespace(corpus=lambda: corpus, folder=corpus.folder)
    tokenizer, _ = run(TOKENIZER, TokenizerSection(vocabulary=261), {"documents": documents},
                       folder / "tokenizer")  # fmt: skip
    inputs = {"documents": documents, "tokenizer": tokenizer}
    tokens, bill = run(PACK, PackSection(context=32), inputs, folder / "tokens")
    return SimpleNamespace(corpus=corpus, mixture=found, inputs=inputs, tokens=tokens, bill=bill)


def test_packed_tokens_are_those_of_the_passes(packed):
    shards = TokenShards(packed.tokens.folder)
    drawn = passes(packed.corpus)
    size = {each.id: len(each.text) + 1 for each in corpus_documents()}  # and the end of text
    expected = {name: times * size[name] for name, times in drawn.items() if times}
    assert shards.documents_in(np.arange(shards.rows)) == expected
    written = json.loads((packed.tokens.folder / "mixture.json").read_text())
    for told, portion in zip(written["groups"], packed.mixture.portions, strict=True):
        mine = [name for name in expected if name.startswith(told["group"].removesuffix(".org"))]
        assert told["tokens"] == sum(expected[name] for name in mine)
        assert told["documents"] == portion.documents_read == len(mine)
        assert told["epochs"] == pytest.approx(portion.epochs, abs=1e-6)
        # A token a document more than bytes: 5 to 59 of them, so shares are off by some percent.
        assert told["share"] == pytest.approx(portion.got_share, rel=0.05)
        assert packed.bill[f"tokens.{told['group']}"] == told["tokens"]


def test_passes_and_their_account_are_the_same_in_tiers(packed, tmp_path):
    tiers = [TierSection(by="length", shares=[0.7, 0.3])]
    tokens, _ = run(PACK, PackSection(context=32, tiers=tiers), packed.inputs, tmp_path)
    plain, tiered = TokenShards(packed.tokens.folder), TokenShards(tokens.folder)
    expected = plain.documents_in(np.arange(plain.rows))
    assert tiered.documents_in(np.arange(tiered.rows)) == expected
    written = [
        (each / "mixture.json").read_bytes() for each in (packed.tokens.folder, tokens.folder)
    ]
    assert written[0] == written[1]
    documents = {each.id: each for each in corpus_documents()}
    length = {name: len(each.text) for name, each in documents.items()}
    cuts = {(each["kind"], each["share"]): each["value"] for each in tiered.meta["cuts"]}

    def tier(name):
        return sum(length[name] >= cuts[documents[name].kind, share] for share in (0.7, 0.3))

    for row in range(tiered.rows):
        assert len({tier(name) for name in tiered.documents_in(np.array([row]))}) == 1
    # The best 30 % of what is read of a kind, passes counted, is at and above its upper cut.
    drawn = {name: times for name, times in passes(packed.corpus).items() if times}
    for (kind, share), cut in cuts.items():
        mine = [name for name in drawn if documents[name].kind == kind]
        read = {name: length[name] * drawn[name] for name in mine}
        above = sum(size for name, size in read.items() if length[name] >= cut)
        beyond = sum(size for name, size in read.items() if length[name] > cut)
        assert beyond < share * sum(read.values()) <= above


def test_a_document_never_meets_itself_in_a_row_nor_more_than_by_chance_in_a_run(packed):
    shards = TokenShards(packed.tokens.folder)
    rows = [set() for _ in range(shards.rows)]
    for row, document in zip(shards.row, shards.document, strict=True):
        assert document not in rows[row]
        rows[row].add(document)

    def meetings(order):
        return sum(bool(rows[one] & rows[other]) for one, other in pairwise(order))

    copies = Counter(document for row in rows for document in row)
    assert max(copies.values()) > 1
    generator = np.random.default_rng(0)
    by_chance = sorted(meetings(generator.permutation(shards.rows)) for _ in range(500))
    made = [TokenStream(shards, steps=shards.rows, batch_rows=1, seed=seed) for seed in range(20)]
    found = [meetings(each._rows.tolist()) for each in made]
    spread = np.std(by_chance) / len(found) ** 0.5
    assert abs(np.mean(found) - np.mean(by_chance)) <= STANDARD_DEVIATIONS * spread


def test_a_run_that_reads_more_than_the_mixture_allows_is_told(packed):
    most = max(each.epochs for each in packed.mixture.portions)
    assert most > 2
    for rounds, count in ((1.0, 0), (4 / most - 0.01, 0), (4 / most + 0.01, 1)):
        bill = bill_of_run(packed.tokens.folder, rounds)
        told = notes(SimpleNamespace(kind="checkpoint", bill=lambda bill=bill: bill))
        assert len(told) == count
    assert "over some of its text 4.0 times, where curate.mix.max_epochs is 4" in told[0]
    assert bill_of_run(packed.corpus.folder / "data", 9) == {}


def test_shares_of_kinds_are_not_given_twice(packed, tmp_path):
    _, corpus = mixed(tmp_path, corpus_documents(30), by="kind")
    inputs = {**packed.inputs, "documents": SimpleNamespace(corpus=lambda: corpus)}
    with pytest.raises(DataError, match="the corpus is mixed by kind already"):
        run(PACK, PackSection(kinds=["code"]), inputs, tmp_path / "tokens")


def test_a_mixture_of_other_documents_is_refused(packed, tmp_path):
    _, corpus = mixed(tmp_path, corpus_documents(30), by="kind")
    path = next((corpus.folder / "attributes/mix").glob("*"))
    table = read_shard(path)
    write_shard(path, table.set_column(0, "id", pc.binary_join_element_wise(table["id"], "x", "")))
    inputs = {**packed.inputs, "documents": SimpleNamespace(corpus=lambda: corpus)}
    with pytest.raises(DataError, match="the mixture is of other documents than the shard"):
        run(PACK, PackSection(context=32), inputs, tmp_path / "tokens")
