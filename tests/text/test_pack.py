import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volano.core.errors import DataError
from volano.core.files import file_digest, json_digest
from volano.pretrain.step import PACK
from volano.text.pack import best_fit, pack_documents
from volano.text.stream import IGNORED_LABEL, TokenShards, TokenStream
from volano.text.tokenizer import train_tokenizer

CONTEXT = 8
texts = st.text(alphabet="abc é\n", min_size=1, max_size=40)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["abc abc é\n"] * 10, vocabulary=270)


def rebuilt(shards):
    """Every prediction of every document, read back through batches and spans alone."""
    inputs, labels = {}, {}
    for row in range(shards.rows):
        batch = shards.read(np.array([row]))
        for span in np.flatnonzero(shards.row == row):
            begin, length = shards.begin[span], shards.length[span]
            name = shards.documents[shards.document[span]]
            assert len(set(batch.document_BT[0, begin : begin + length])) == 1
            inputs.setdefault(name, []).append(batch.tokens_BT[0, begin : begin + length])
            labels.setdefault(name, []).append(batch.labels_BT[0, begin : begin + length])
    return (
        {name: np.concatenate(parts).tolist() for name, parts in inputs.items()},
        {name: np.concatenate(parts).tolist() for name, parts in labels.items()},
    )


@settings(deadline=None)
@given(documents=st.lists(texts, min_size=1, max_size=12))
def test_every_token_is_predicted_once_and_maps_back_to_its_document(
    tokenizer, tmp_path_factory, documents
):
    folder = tmp_path_factory.mktemp("tokens")
    named = [(f"d{place}", text) for place, text in enumerate(documents)]
    packed = pack_documents(folder, {"text": named}, tokenizer, context=CONTEXT)
    shards = TokenShards(folder)
    inputs, labels = rebuilt(shards)
    end = tokenizer.end_of_text_id
    # Cuts of one document are packed in order only within whole rows, so order by offset.
    for name, text in named:
        ids = tokenizer.encode(text)
        assert sorted(inputs[name]) == sorted([end, *ids])
        assert sorted(labels[name]) == sorted([*ids, end])
    assert packed.tokens == sum(len(tokenizer.encode(text)) + 1 for text in documents)
    everything = shards.read(np.arange(shards.rows))
    assert (everything.labels_BT != IGNORED_LABEL).sum() == packed.tokens


def test_rows_hold_the_documents_in_the_layout_of_the_docstring(tokenizer, tmp_path):
    a, b, c = (tokenizer.encode(text)[0] for text in "abc")
    end = tokenizer.end_of_text_id
    documents = [("long", "aé" * 5), ("two", "bb"), ("three", "ccc")]
    pack_documents(tmp_path, {"text": documents}, tokenizer, context=6)
    shards = TokenShards(tmp_path)
    long = tokenizer.encode("aé" * 5)
    whole = [end, *long, end]
    batch = shards.read(np.arange(shards.rows))
    assert batch.tokens_BT[0].tolist() == whole[:6]
    assert batch.labels_BT[0].tolist() == whole[1:7]
    assert a in long
    short = [row.tolist() for row in batch.tokens_BT if b in row]
    assert [end, b] == short[0][short[0].index(b) - 1 : short[0].index(b) + 1]
    labels = batch.labels_BT[[c in row for row in batch.tokens_BT]][0].tolist()
    place = labels.index(c)
    assert labels[place : place + 4] == [c, c, c, end]


@given(
    lengths=st.lists(st.integers(1, 16), max_size=60),
    capacity=st.integers(16, 40),
)
def test_best_fit_holds_each_once_and_no_bin_overflows(lengths, capacity):
    bins = best_fit(lengths, capacity)
    assert sorted(place for each in bins for place in each) == list(range(len(lengths)))
    assert all(sum(lengths[place] for place in each) <= capacity for each in bins)


@given(lengths=st.lists(st.integers(1, 12), max_size=40))
def test_best_fit_equals_the_plain_algorithm(lengths):
    capacity, rooms, counts = 12, [], []
    for length in sorted(lengths, reverse=True):
        fitting = [place for place, room in enumerate(rooms) if room >= length]
        if fitting:
            chosen = min(fitting, key=lambda place: rooms[place])
        else:
            chosen = len(rooms)
            rooms.append(capacity)
            counts.append(0)
        rooms[chosen] -= length
        counts[chosen] += 1
    bins = best_fit(lengths, capacity)
    room_left = [capacity - sum(lengths[place] for place in each) for each in bins]
    assert sorted(room_left) == sorted(rooms)


def test_padding_of_realistic_lengths_is_at_most_one_percent(tokenizer, tmp_path):
    generator = np.random.default_rng(0)
    lengths = np.minimum(generator.lognormal(4.5, 1.0, 3000).astype(int) + 8, 4000)
    documents = [(str(place), "ab" * (length // 2)) for place, length in enumerate(lengths)]
    packed = pack_documents(tmp_path, {"text": documents}, tokenizer, context=128)
    assert packed.padding_fraction <= 0.01


def test_equal_documents_give_equal_bytes(tokenizer, tmp_path):
    documents = [(str(place), "abc " * place) for place in range(1, 50)]
    for name in ("first", "again"):
        pack_documents(tmp_path / name, {"text": documents}, tokenizer, context=CONTEXT)
    for name in ("tokens.bin", "spans.parquet", "meta.json"):
        again = (tmp_path / "again" / name).read_bytes()
        assert (tmp_path / "first" / name).read_bytes() == again


def test_golden_rows(tmp_path):
    # A change here means another output for equal inputs: raise the version of the step with it.
    words = ["rain", "river", "stone", "the", "carries", "sea", "to"]
    made = [" ".join(words[(n * k) % 7] for k in range(n % 23 + 1)) for n in range(60)]
    learnt = train_tokenizer(made, vocabulary=300)
    kinds = {"even": [], "odd": []}
    for place, text in enumerate(made):
        kinds["odd" if place % 2 else "even"].append((f"d{place}", text))
    pack_documents(tmp_path, kinds, learnt, context=16, again={"odd": [kinds["odd"][:9]]})
    spans = json_digest(pq.read_table(tmp_path / "spans.parquet").to_pydict())
    found = (file_digest(tmp_path / "tokens.bin")[:16], spans[:16])
    assert PACK.version == 2
    assert found == GOLDEN


GOLDEN = ("e71f71a26d9dc53b", "07e5cabec2367a93")


def test_rows_never_mix_kinds(tokenizer, tmp_path):
    kinds = {kind: [(f"{kind}{n}", "abc") for n in range(5)] for kind in ("code", "topic")}
    pack_documents(tmp_path, kinds, tokenizer, context=CONTEXT)
    shards = TokenShards(tmp_path)
    for row in range(shards.rows):
        first_letters = {name[0] for name in shards.documents_in(np.array([row]))}
        assert len(first_letters) == 1


def test_no_text_is_refused(tokenizer, tmp_path):
    with pytest.raises(DataError, match="no text to pack"):
        pack_documents(tmp_path, {"text": [("empty", "")]}, tokenizer, context=CONTEXT)
    assert not (tmp_path / "meta.json").exists()


def test_truncated_tokens_are_refused(tokenizer, tmp_path):
    pack_documents(tmp_path, {"text": [("a", "abc")]}, tokenizer, context=CONTEXT)
    (tmp_path / "tokens.bin").write_bytes(b"\0\0")
    with pytest.raises(DataError, match="2 bytes instead of 18"):
        TokenShards(tmp_path)


def test_stream_of_packed_text_begins_documents_with_end_of_text(tokenizer, tmp_path):
    documents = [(str(place), "abc") for place in range(9)]
    pack_documents(tmp_path, {"text": documents}, tokenizer, context=CONTEXT)
    batch = TokenStream(TokenShards(tmp_path), steps=1, batch_rows=2, seed=0).batch(0)
    assert (batch.tokens_BT[:, 0] == tokenizer.end_of_text_id).all()
