import math
from collections import Counter

import numpy as np
import pytest
from scipy.stats import spearmanr

from volano.core.errors import DataError
from volano.text.curriculum import Anneal, Curriculum, Order, Stage, _ordered, _windows
from volano.text.document_values import Cut, DocumentValues
from volano.text.pack import pack_documents
from volano.text.stream import TokenShards, TokenStream
from volano.text.tokenizer import train_tokenizer

LETTERS = 8  # a document fills half a row, with the token before it
COUNTS = {"function": 80, "code": 40}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """120 documents, two a row; their values are 0, 1, … in each kind, but for pairs of equals."""
    folder = tmp_path_factory.mktemp("tokens")
    tokenizer = train_tokenizer(["abc abc\n"] * 10, vocabulary=261)
    kinds = {k: [(f"{k}{n}", "a" * (LETTERS - 1)) for n in range(c)] for k, c in COUNTS.items()}
    values = {f"{k}{n}": float(n // 2) for k, c in COUNTS.items() for n in range(c)}
    cuts = [
        Cut("worth", lowest, 0.25, kind, value)
        for kind, count in COUNTS.items()
        for lowest, value in ((False, count / 2 * 0.75), (True, count / 2 * 0.25 - 1))
    ]
    beside = DocumentValues({"worth": values, "same": dict.fromkeys(values, 3.0)}, cuts)
    pack_documents(folder, kinds, tokenizer, context=2 * LETTERS, beside=beside)
    return TokenShards(folder)


def stream(shards, *, steps=20, rows=3, seed=7, mixture=None, **curriculum):
    asked = Curriculum(**curriculum) if curriculum else None
    return TokenStream(shards, steps=steps, batch_rows=rows, seed=seed, mixture=mixture or {},
                       curriculum=asked)  # fmt: skip


def drawn(made, begin=0, end=None):
    steps = range(begin, made.steps if end is None else end)
    return np.concatenate([made._rows_of(step) for step in steps])


def kinds_of(shards, rows):
    first = shards.meta["kinds"]["code"]["first_row"]
    return Counter("code" if row >= first else "function" for row in rows)


def test_without_a_curriculum_the_rows_are_those_of_before(shards):
    # Of the release before there was one: base models keep what they have read.
    assert drawn(stream(shards, steps=4)).tolist() == EARLIER
    empty = TokenStream(shards, steps=4, batch_rows=3, seed=7, curriculum=Curriculum())
    assert drawn(empty).tolist() == EARLIER


EARLIER = [26, 25, 24, 42, 53, 40, 27, 0, 56, 30, 12, 3]


@pytest.mark.parametrize("descending", [False, True])
def test_order_follows_the_attribute_and_reads_the_same_rows(shards, descending):
    plain = stream(shards, steps=40)  # two epochs of all
    made = stream(shards, steps=40, order=Order("worth", descending=descending, window=0.1))
    assert sorted(drawn(made)) == sorted(drawn(plain))
    assert (drawn(made) != drawn(plain)).any()
    means = shards.row_means("worth")
    for kind in COUNTS:
        each = shards.meta["kinds"][kind]
        for begin, end in ((0, 19), (21, 40)):  # an epoch of a kind ends at step 20, about
            rows = [row for row in drawn(made, begin, end)
                    if 0 <= row - each["first_row"] < each["rows"]]  # fmt: skip
            correlation = spearmanr(means[rows], np.arange(len(rows))).statistic
            assert (-1 if descending else 1) * correlation > 0.9


def test_order_within_a_window_is_random_and_depends_on_the_seed(shards):
    only = {"function": 1.0}
    means = shards.row_means("worth")
    made = [
        means[drawn(stream(shards, steps=40, rows=1, seed=seed, mixture=only,
                           order=Order("worth", window=0.25)))]
        for seed in (1, 2)
    ]  # fmt: skip
    for each in made:
        for window, part in enumerate(np.split(each, 4)):
            assert sorted(part) == list(range(10 * window, 10 * window + 10))
            assert list(part) != sorted(part)
    assert (made[0] != made[1]).any()


WINDOWS = [
    0.001,
    0.01,
    0.1,
    0.15,
    0.2,
    0.25,
    0.3,
    1 / 3,
    0.4,
    0.5,
    0.6,
    0.66,
    0.67,
    0.75,
    0.9,
    0.99,
]


def test_order_fades_evenly_as_the_window_grows_and_every_row_is_read_once():
    size = 6000
    means = np.arange(size, dtype=float)
    rows = np.random.default_rng(3).permutation(size)
    found = []
    for window in WINDOWS:
        read = _ordered(rows, means, Order("worth", window=window), [1])
        assert sorted(read) == list(range(size))
        found.append(spearmanr(read, means).statistic)
        whole = math.ceil(1 / window - 1e-9) - 1
        # What windows of these sizes leave of the variance of ranks.
        expected = 1 - whole * window**3 - (1 - whole * window) ** 3
        assert found[-1] == pytest.approx(expected, abs=0.04)
    assert found[0] > 0.9999
    assert found[-1] < 0.1
    steps = -np.diff(found)
    assert steps.min() > -0.02
    assert max(steps / np.diff(WINDOWS)) < 3


def test_windows_that_fill_the_epoch_are_those_of_before():
    for parts in range(2, 120):
        for size in (0, 1, 7, 40, 119, 120, 997, 1000, 1001):
            rows = np.arange(size)
            made = [each.tolist() for each in _windows(rows, 1 / parts)]
            earlier = [each.tolist() for each in np.array_split(rows, parts)]
            assert [each for each in made if each] == [each for each in earlier if each]


@pytest.mark.parametrize("window", [1e-9, 0.0009, 0.34, 0.999, 1 - 1e-12])
def test_no_window_loses_a_row(window):
    for size in (0, 1, 2, 17):
        made = _windows(np.arange(size), window)
        assert np.concatenate(made).tolist() == list(range(size))


def test_each_stage_has_its_shares_to_a_row_and_no_row_comes_again_early(shards):
    stages = (Stage(0.5, {"function": 0.9, "code": 0.1}), Stage(1.0, {"function": 2, "code": 3}))
    made = stream(shards, steps=20, rows=3, stages=stages)
    assert kinds_of(shards, drawn(made, 0, 10)) == {"function": 27, "code": 3}
    assert kinds_of(shards, drawn(made, 10, 20)) == {"function": 12, "code": 18}
    times = Counter(drawn(made).tolist())
    function = [times[row] for row in range(40)]
    assert set(function) == {0, 1}  # 39 of 40: across the stages none came twice
    assert made.epochs_of_parts() == {
        "stage 1": {"function": 27 / 40, "code": 3 / 20},
        "stage 2": {"function": 12 / 40, "code": 18 / 20},
    }


def test_a_kind_that_a_stage_leaves_out_is_not_read_in_it(shards):
    made = stream(shards, stages=(Stage(0.25, {"code": 1.0}), Stage(1.0, {"function": 1.0})))
    assert kinds_of(shards, drawn(made, 0, 5)) == {"code": 15}
    assert kinds_of(shards, drawn(made, 5)) == {"function": 45}


@pytest.mark.parametrize("lowest", [False, True])
def test_anneal_reads_the_best_documents_alone(shards, lowest):
    anneal = Anneal("worth", best=0.25, fraction=0.25, lowest=lowest)
    made = stream(shards, anneal=anneal)
    for kind, count in COUNTS.items():
        best = range(count // 4) if lowest else range(count * 3 // 4, count)
        names = {f"{kind}{n}" for n in best}
        read = [d for step in range(15, 20) for d in made.documents_at(step) if d.startswith(kind)]
        assert read
        assert set(read) <= names
        before = {d for step in range(15) for d in made.documents_at(step) if d.startswith(kind)}
        assert before - names
    assert made.best_share() == 0.25


def test_anneal_reads_first_what_was_read_least(shards):
    only = {"function": 1.0}
    made = stream(shards, steps=24, rows=1, mixture=only, anneal=Anneal("worth", 0.25, 0.25))
    before, last = drawn(made, 0, 18).tolist(), drawn(made, 18).tolist()
    best = set(np.flatnonzero(shards.best_rows("worth", 0.25, lowest=False)[:40]).tolist())
    unread = best - set(before)
    assert len(best) == 10
    assert 0 < len(unread) < 10
    assert len(set(last)) == 6
    assert last[: len(unread)] == [row for row in last if row in unread]


def test_anneal_over_two_stages_keeps_the_shares_of_each(shards):
    stages = (Stage(0.75, {"function": 1.0}), Stage(1.0, {"function": 1.0, "code": 1.0}))
    made = stream(shards, steps=16, rows=2, stages=stages, anneal=Anneal("worth", 0.25, 0.5))
    assert [part.name for part in made.parts] == ["stage 1", "anneal", "anneal"]
    assert kinds_of(shards, drawn(made, 8, 12)) == {"function": 8}
    assert kinds_of(shards, drawn(made, 12)) == {"function": 4, "code": 4}
    assert set(made.epochs_of_parts()["anneal"]) == {"function", "code"}


def test_too_many_epochs_of_the_best_are_refused_with_their_number_and_what_would_do(shards):
    # 20 of 60 rows are code; in the last half of 40 steps of 3 rows 20 are, of its best 5.
    with pytest.raises(DataError, match=r"best 25% of kind 'code' would be read 5 times, 1 of"
                       r" them before the anneal, and max_epochs is 4") as refused:  # fmt: skip
        stream(shards, steps=40, anneal=Anneal("worth", 0.25, 0.5))
    assert "best: 0.33 is about enough" in str(refused.value)
    stream(shards, steps=40, anneal=Anneal("worth", 0.25, 0.5, max_epochs=5))
    with pytest.raises(DataError, match=r"Allow max_epochs of"):
        stream(shards, steps=400, anneal=Anneal("worth", 0.25, 0.5))


def test_what_cannot_be_is_refused(shards):
    with pytest.raises(DataError, match=r"curriculum.stages: no tokens of kind 'cod'\. Did you m"):
        stream(shards, stages=(Stage(1.0, {"cod": 1.0}),))
    with pytest.raises(DataError, match="of 3 steps stage 1 gets none"):
        stream(shards, steps=3, stages=(Stage(0.1, {"code": 1}), Stage(1.0, {"code": 1})))
    with pytest.raises(DataError, match="packed without 'length'"):
        stream(shards, order=Order("length"))
    with pytest.raises(DataError, match="the best 50% by 'worth' were not packed apart"):
        stream(shards, anneal=Anneal("worth", 0.5, 0.25))


def test_an_attribute_that_is_the_same_for_all_has_no_best(shards):
    shards.meta["cuts"] += [Cut("same", False, 0.25, kind, 3.0)._asdict() for kind in COUNTS]
    with pytest.raises(DataError, match="every document is among the best 25% by 'same'"):
        stream(shards, anneal=Anneal("same", 0.25, 0.25))


def test_documents_read_are_those_of_the_batches(shards):
    made = stream(shards, order=Order("worth"), anneal=Anneal("worth", 0.25, 0.25))
    counted: Counter[str] = Counter()
    for step in range(made.steps):
        counted.update(made.shards.documents_in(made._rows_of(step)))
    assert made.documents(made.steps) == dict(counted)
