from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volano.core.errors import DataError
from volano.text.pack import pack_documents
from volano.text.stream import TokenShards, TokenStream
from volano.text.tokenizer import train_tokenizer


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    tokenizer = train_tokenizer(["abc abc\n"] * 10, vocabulary=261)
    folder = tmp_path_factory.mktemp("tokens")
    words = ["a" * length for length in range(1, 40)]
    kinds = {
        "function": [(f"f{place}", word) for place, word in enumerate(words)],
        "code": [(f"c{place}", word) for place, word in enumerate(words[:20])],
        "topic": [("t", "abc")],
        "licence": [],
    }
    pack_documents(folder, kinds, tokenizer, context=16)
    return TokenShards(folder)


def stream(shards, **changes):
    settings = {"steps": 10, "batch_rows": 4, "seed": 7, "mixture": {"function": 1.0}} | changes
    return TokenStream(shards, **settings)


def kind_counts(shards, made):
    return Counter(
        name[0] for step in range(made.steps) for name in _one_document_per_row(shards, made, step)
    )


def _one_document_per_row(shards, made, step):
    return [next(iter(shards.documents_in(np.array([row])))) for row in made._rows_of(step)]


@given(step=st.integers(0, 9))
def test_batch_depends_on_the_step_alone(shards, step):
    read_before = stream(shards)
    for earlier in range(step):
        read_before.batch(earlier)
    fresh = stream(shards).batch(step)
    for mine, theirs in zip(read_before.batch(step), fresh, strict=True):
        assert (mine == theirs).all()


def test_another_seed_gives_another_order(shards):
    assert (stream(shards).batch(0).tokens_BT != stream(shards, seed=8).batch(0).tokens_BT).any()


def test_each_row_comes_once_per_epoch(shards):
    rows = shards.meta["kinds"]["function"]["rows"]
    made = stream(shards, steps=2 * rows, batch_rows=1)
    assert set(Counter(made._rows.tolist()).values()) == {2}
    assert len(set(made._rows[:rows].tolist())) == rows
    assert made.epochs() == {"function": 2.0}


def test_mixture_gives_each_kind_its_share_of_rows(shards):
    made = stream(shards, steps=50, mixture={"function": 3.0, "code": 1.0, "topic": 0.0})
    assert kind_counts(shards, made) == {"f": 150, "c": 50}


def test_empty_mixture_takes_each_kind_by_its_size(shards):
    steps = sum(each["rows"] for each in shards.meta["kinds"].values())
    made = stream(shards, steps=steps, batch_rows=1, mixture={})
    assert sorted(made._rows.tolist()) == list(range(shards.rows))


def test_documents_read_are_counted_by_their_tokens(shards):
    made = stream(shards)
    counted: Counter[str] = Counter()
    for step in range(3):
        for row in made._rows_of(step):
            counted.update(shards.documents_in(np.array([row])))
    assert made.documents(3) == dict(counted)
    assert made.documents(0) == {}
    trained = sum((made.batch(step).labels_BT >= 0).sum() for step in range(3))
    assert sum(counted.values()) == trained


def test_documents_of_steps_left_out_are_not_counted(shards):
    made = stream(shards)
    whole, one = Counter(made.documents(4)), Counter(made.documents(2)) - Counter(made.documents(1))
    assert made.documents(4, without={1}) == dict(whole - one)
    assert made.documents(4, without={1, 4}) == made.documents(4, without={1})  # not read by then


def test_documents_of_one_step_are_named(shards):
    made = stream(shards)
    before, after = Counter(made.documents(4)), Counter(made.documents(5))
    assert set(made.documents_at(4)) == set(after - before)


def test_kind_without_tokens_is_refused_with_the_nearest(shards):
    with pytest.raises(DataError, match=r"no tokens of kind 'functions'\. Did you mean 'function'"):
        stream(shards, mixture={"functions": 1.0})
    with pytest.raises(DataError, match="no tokens of kind 'licence'"):
        stream(shards, mixture={"licence": 1.0})
