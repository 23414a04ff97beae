import json
from pydoc_data.topics import topics

import pyarrow.compute as pc
import pytest

from volano.core.errors import DataError, RecipeError, StoreError
from volano.core.lineage import trace_document
from volano.core.mixture import Mixture
from volano.core.store import Store
from volano.curate import run as curation
from volano.study.recipe import read_recipe
from volano.study.recut import recut
from volano.study.run import run
from volano.study.single import run_phase
from volano.study.wheel import stages_of
from volano.text.tokenizer import Tokenizer


def lines() -> list[str]:
    """The language reference, a page a document; some pages twice, some with an address."""
    found = []
    for number, (name, text) in enumerate(sorted(topics.items())):
        more = "\nWrite to ann.lee@mail.uni.de." * (number % 5 == 0)
        found.append(json.dumps({"id": name, "text": text + more}))
        if number % 11 == 0:
            code = "def wheel(turns):\n    return turns * 3  # of iron\n" * 20
            found.append(json.dumps({"id": f"code{number}", "text": code + text, "kind": "code"}))
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
    ["language.exempt_kinds=[nothing]"],
    ["toxicity.exempt_kinds=[nothing]", "pii.kinds=[phone]"],
    ["toxicity.per=line", "toxicity.min_probability={toxic: 0.4}"],
    ["toxicity.per=line", "toxicity.min_probability={toxic: 0.2}"],
    ["quality.gopher_repetition.top_gram_occurrences=30"],
    ["quality.rules=[fineweb]", "quality.fineweb.short_line_characters=60"],
    ["dedup.lines.min_words=4", "dedup.keep=longest"],
    ["mix.by=language", "mix.temperature=3", "quality.gopher_quality.min_words=60"],
    ["boilerplate.min_documents=5", "boilerplate.max_document_fraction=0.02"],
]

WITHOUT_GOPHER = {"quality.rules=[c4,fineweb]", "quality.rules=[fineweb]"}


@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: changes[0])
def test_a_recut_corpus_is_to_the_byte_the_one_that_was_curated_so(corpus, tmp_path, changes):
    store, path = corpus
    before = store.find("mine/curated")
    made = recut(store, before, changes, silent=True)
    fresh = Store(tmp_path / "other")
    # Bounds of a rule that judges no longer are no setting any more: curation would refuse them.
    base = [] if changes[0] in WITHOUT_GOPHER else BASE
    outcomes = run_phase("curate", fresh, data=[str(path)], settings=[*base, *changes], silent=True)
    assert made.artifact.digest == outcomes[-1].artifact.digest != before.digest
    assert made.artifact.fingerprint == outcomes[-1].artifact.fingerprint
    assert store.find("mine/curated").digest == before.digest
    assert store.find("mine/curated-recut").digest == made.artifact.digest


def test_other_bounds_measure_nothing_again(corpus, monkeypatch):
    store, _ = corpus

    def fail(*arguments, **named):
        raise AssertionError("measured again")

    for name in ("measure_language", "measure_toxicity", "_count_pii"):
        monkeypatch.setattr(f"volano.curate.measure.{name}", fail)
    monkeypatch.setattr("volano.curate.compare.document_hashes", fail)
    monkeypatch.setattr("volano.curate.quality.measure", fail)
    changes = ["quality.gopher_quality.min_words=70", "language.min_score=0.4"]
    assert not recut(store, store.find("mine/curated"), changes, silent=True).reused
    with pytest.raises(AssertionError, match="measured again"):
        recut(
            store, store.find("mine/curated"), ["language.characters=77", changes[0]], silent=True
        )


def test_another_mixture_curates_nothing_again(corpus, monkeypatch):
    store, _ = corpus

    def fail(*arguments, **named):
        raise AssertionError("curated again")

    monkeypatch.setattr(curation, "_filter", fail)
    settings = ["mix.by=kind", "mix.shares.code=0.3"]
    made = recut(store, store.find("mine/curated"), settings, name="mine/mixed", silent=True)
    again = recut(store, made.artifact, ["mix.shares.code=0.2"], name="mine/less", silent=True)
    portions = {name: Mixture.of(store.find(name).corpus()).portions for name in
                ("mine/mixed", "mine/less")}  # fmt: skip
    assert [each.wanted_share for each in portions["mine/mixed"]] == [0.3, 0.7]
    assert [each.wanted_share for each in portions["mine/less"]] == [0.2, 0.8]
    unmixed = recut(store, again.artifact, ["mix=off"], name="mine/plain", silent=True)
    assert unmixed.artifact.digest == store.find("mine/curated").digest
    with pytest.raises(AssertionError, match="curated again"):
        recut(store, made.artifact, ["pii.action=redact"], silent=True)


def test_a_document_that_is_read_twice_is_traced_once(corpus):
    store, _ = corpus
    settings = ["mix.by=dedup.cluster", "mix.shares.calls=1", "mix.size_epochs=2"]
    mixed = recut(store, store.find("mine/curated"), settings, name="mine/twice", silent=True)
    values = {"name": "twice", "tokenizer": {"vocabulary": 300}}
    recipe = read_recipe(values, {}, (), where="test")
    given = {"curated": mixed.artifact, "collected": mixed.artifact}
    run(recipe, store, given=given, targets=["tokens"], silent=True)
    told = [each for each in trace_document(store, "calls") if each.kind == "tokens"]
    assert [each.role for each in told] == ["holds"]
    tokenizer = Tokenizer.load(store.find("twice/tokenizer").folder)
    text = mixed.artifact.corpus().to_arrow(["id", "text"]).filter(pc.field("id") == "calls")
    tokens = 2 * (len(tokenizer.encode(text["text"][0].as_py())) + 1)
    assert told[0].detail == f"{tokens:,} tokens in 2 passes"
    assert not any(each.kind == "tokens" for each in trace_document(store, "try"))


def test_shares_of_kinds_are_given_once_in_a_recipe():
    values = {"name": "r", "curate": {"mix": {"by": "kind"}}, "pretrain": {"mixture": {"code": 1}}}
    staged = {"stages": [{"until": 1, "mixture": {"web": 1}}]}
    by_source = {"mixture_by": "source", "curriculum": staged}
    twice = {"name": "r", "curate": {"mix": {"by": "source"}}, "pretrain": by_source}
    with pytest.raises(RecipeError, match=r"curriculum.stages: shares of sources are given here"):
        stages_of(read_recipe(twice, {}, [], where="r.yaml"))
    with pytest.raises(RecipeError, match=r"shares of kinds are given here and in curate\.mix"):
        stages_of(read_recipe(values, {}, (), where="test"))
    stages_of(read_recipe(values, {}, ["curate.mix.by=source"], where="test"))


def test_a_mixture_of_a_damaged_sibling_is_made_from_the_texts(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(lines()[:20]))
    mixture = ["mix.by=kind", "mix.weights.code=2"]
    store, whole = Store(tmp_path / "store"), Store(tmp_path / "whole")
    run_phase("curate", store, data=[str(path)], settings=BASE, silent=True)
    curated = store.find("mine/curated")
    shard = next(curated.folder.glob("data/*.parquet"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 3] ^= 0xFF
    shard.write_bytes(content)
    made = recut(store, curated, mixture, silent=True)
    fresh = run_phase("curate", whole, data=[str(path)], settings=BASE + mixture, silent=True)
    assert made.artifact.digest == fresh[-1].artifact.digest


def test_another_bound_finds_boilerplate_anew_and_measures_nothing_of_the_rest(corpus, monkeypatch):
    store, _ = corpus
    cut = recut(
        store, store.find("mine/curated"), ["boilerplate=on"], name="mine/cut", silent=True
    ).artifact
    assert (cut.folder / "cut").is_dir()
    monkeypatch.setattr("volano.curate.quality.measure", None)  # a call would fail
    changes = ["quality.gopher_quality.min_words=70", "boilerplate.min_words_left=5"]
    assert not recut(store, cut, changes, name="mine/again", silent=True).reused
    with pytest.raises(TypeError):
        recut(store, cut, ["boilerplate.min_documents=7"], name="mine/again", silent=True)


def test_a_damaged_sibling_is_measured_past(corpus, tmp_path):
    _, path = corpus
    fresh = Store(tmp_path / "fresh")
    run_phase("curate", fresh, data=[str(path)], settings=BASE, silent=True)
    curated = fresh.find("mine/curated")
    for shard in curated.folder.glob("attributes/*/*.parquet"):
        content = bytearray(shard.read_bytes())
        content[len(content) // 3] ^= 0xFF
        shard.write_bytes(content)
    made = recut(fresh, curated, ["quality.gopher_quality.min_words=75"], silent=True)
    whole = Store(tmp_path / "whole")
    changes = [*BASE, "quality.gopher_quality.min_words=75"]
    outcomes = run_phase("curate", whole, data=[str(path)], settings=changes, silent=True)
    assert made.artifact.digest == outcomes[-1].artifact.digest


def test_labels_that_no_weights_know_are_refused_though_nothing_is_measured(corpus):
    store, _ = corpus
    with pytest.raises(DataError, match="no label 'bogus'"):
        recut(
            store,
            store.find("mine/curated"),
            ["toxicity.min_probability={bogus: 0.5}"],
            silent=True,
        )


def test_a_corpus_of_keyed_hashes_is_recut_with_its_key(corpus, tmp_path, monkeypatch):
    _, path = corpus
    monkeypatch.setenv("VOLANO_PII_KEY", "k" * 32)
    store = Store(tmp_path / "keyed")
    run_phase("curate", store, data=[str(path)], settings=[*BASE, "pii.action=hash"], silent=True)
    curated = store.find("mine/curated")
    made = recut(store, curated, ["quality.gopher_quality.min_words=75"], silent=True)
    assert made.artifact.digest != curated.digest
    monkeypatch.setenv("VOLANO_PII_KEY", "j" * 32)
    with pytest.raises(StoreError, match="another secret key"):
        recut(store, curated, ["quality.gopher_quality.min_words=76"], silent=True)


def test_mistakes_are_told_in_one_line(corpus):
    store, _ = corpus
    curated = store.find("mine/curated")
    with pytest.raises(StoreError, match="no curated corpus but made by 'collect'"):
        recut(store, store.find("mine/collected"), [], silent=True)
    with pytest.raises(RecipeError, match="unknown key 'min_word'"):
        recut(store, curated, ["quality.gopher_quality.min_word=3"], silent=True)
    with pytest.raises(RecipeError, match="no effect, as fineweb is not among"):
        recut(store, curated, ["quality.fineweb.max_newline_word_ratio=1"], silent=True)
    store.delete(store.find("mine/collected").folder)
    with pytest.raises(StoreError, match="no longer in the store: mine/collected"):
        recut(store, curated, ["pii.action=off"], silent=True)


def test_decontamination_is_measured_once_whatever_text_rules_cut(tmp_path, monkeypatch):
    (tmp_path / "in.jsonl").write_text("\n".join(lines()))

    def curated(store, rules):
        settings = [
            f"collect={{source: files, paths: ['{tmp_path}/in.jsonl'], held_out_fraction: 0.2}}",
            "curate={toxicity: off, decontaminate: {against: [held_out]}}",
            f"curate.quality.rules=[{rules}]",
            "workers=1",
        ]
        recipe = read_recipe({"name": "mine"}, {}, settings, where="test")
        return run(recipe, store, targets=["curated"], silent=True)[-1].artifact

    store = Store(tmp_path / "one")
    curated(store, "gopher_quality")
    whole = curated(Store(tmp_path / "other"), "c4")
    monkeypatch.setattr("volano.curate.measure.measure_overlap", None)
    again = curated(store, "c4")
    assert again.digest == whole.digest
    rows = again.corpus().attributes("decision").to_pylist()
    assert "decontaminate" in {each["dropped_by"] for each in rows}
