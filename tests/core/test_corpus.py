import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from volano.core.corpus import (
    QUARANTINE_SCHEMA,
    Corpus,
    finish_corpus,
    read_shard,
    shard_path,
    write_shard,
)
from volano.core.errors import DataError, StoreError
from volano.core.files import file_digest, read_json, write_json
from volano.core.records import (
    RECORDS,
    Conversation,
    Document,
    Message,
    Preference,
    Rating,
    records_of,
    table_of,
)

texts = st.text(max_size=20)  # arbitrary Unicode, NUL and line breaks included
maybe = st.none() | texts
messages = st.lists(st.builds(Message, texts, texts), max_size=3).map(tuple)
ids = st.lists(texts, max_size=2).map(tuple)
axes = st.none() | st.integers(1, 5)
origin = {
    "licence": maybe,
    "consent": maybe,
    "cost_usd": st.none() | st.floats(0, 9),
    "source_ids": ids,
}
records = {
    Document: st.builds(
        Document, texts, texts, texts, licence=maybe, package=maybe, source_ids=ids, date=maybe
    ),
    Conversation: st.builds(Conversation, texts, messages, texts, **origin),
    Preference: st.builds(Preference, texts, messages, messages, messages, texts, **origin),
    Rating: st.builds(
        Rating, texts, texts, texts, messages, texts, helpful=axes, honest=axes, edit=maybe,
        thumb=maybe, **origin
    ),
}  # fmt: skip
quick = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def small_corpus(folder):
    """Five documents in two shards; d1 was dropped, and the attributes come in another order."""
    kept = [Document(f"d{n}", f"text {n}", "toy", licence="MIT") for n in (4, 0, 3, 2)]
    write_shard(shard_path(folder, "data", 0), table_of(kept[:3]))
    write_shard(shard_path(folder, "data", 1), table_of(kept[3:]))
    gone = table_of([Document("d1", "text 1", "toy")])
    gone = gone.append_column("dropped_by", pa.array(["too_short"]))
    write_shard(shard_path(folder, "dropped", 0), gone)
    numbers = pa.table({"id": [f"d{n}" for n in range(4)], "words": [0, 1, 2, 3]})
    write_shard(shard_path(folder, "attributes/size", 0), numbers.slice(0, 2))
    write_shard(shard_path(folder, "attributes/size", 1), numbers.slice(2))
    problem = {"where": "a.jsonl:3", "reason": "not JSON", "excerpt": "{"}
    write_shard(
        shard_path(folder, "quarantine", 0), pa.Table.from_pylist([problem], QUARANTINE_SCHEMA)
    )
    finish_corpus(folder, "document", {"funnel": [5, 4]})
    return Corpus.open(folder)


@pytest.mark.parametrize("record", records, ids=lambda record: record.__name__)
def test_every_record_comes_back_as_it_was(tmp_path, record):
    @quick
    @given(st.lists(records[record], max_size=4))
    def check(made):
        table = table_of(made, record)
        write_shard(tmp_path / "0.parquet", table)
        back = read_shard(tmp_path / "0.parquet")
        assert records_of(back, record) == made
        assert back.schema == record.schema
        assert back.equals(table)

    check()


@pytest.mark.parametrize("name", RECORDS)
def test_a_corpus_without_records_opens_and_joins(tmp_path, name):
    write_shard(shard_path(tmp_path, "data", 0), table_of([], RECORDS[name]))
    finish_corpus(tmp_path, name)
    corpus = Corpus.open(tmp_path)
    assert len(corpus) == 0
    assert corpus.to_arrow().schema == RECORDS[name].schema
    assert list(corpus.records()) == []
    assert corpus.manifest["text_bytes"] == 0


@pytest.mark.parametrize("name", RECORDS)
def test_a_corpus_without_shards_has_the_schema_of_its_records(tmp_path, name):
    finish_corpus(tmp_path, name)
    corpus = Corpus.open(tmp_path)
    assert corpus.to_arrow(["id", "source_ids"]).num_rows == 0
    assert corpus.dropped().column_names[-1] == "dropped_by"
    assert corpus.quarantine().schema == QUARANTINE_SCHEMA


@quick
@given(st.lists(records[Preference], min_size=3, max_size=6), st.integers(0, 6))
def test_bytes_of_a_shard_depend_on_its_rows_only(tmp_path_factory, made, cut):
    folder = tmp_path_factory.mktemp("bytes")
    table = table_of(made)
    write_shard(folder / "whole", table)
    write_shard(folder / "chunks", pa.concat_tables([table.slice(0, cut), table.slice(cut)]))
    write_shard(folder / "again", read_shard(folder / "whole"))
    write_shard(folder / "labelled", table.replace_schema_metadata({"pandas": "{}"}))
    write_shard(folder / "slice", pa.concat_tables([table, table]).slice(len(made)))
    assert len({file_digest(path) for path in folder.iterdir()}) == 1


def test_bytes_of_a_long_shard_do_not_depend_on_its_chunks(tmp_path):
    table = table_of([Document(f"d{n}", f"{n} " * (n % 700), "toy") for n in range(3000)])
    write_shard(tmp_path / "whole", table)
    cuts = [table.slice(0, 777), table.slice(777, 1), table.slice(778)]
    write_shard(tmp_path / "chunks", pa.concat_tables(cuts))
    assert file_digest(tmp_path / "whole") == file_digest(tmp_path / "chunks")


def test_attributes_are_joined_by_id_in_the_order_of_rows(tmp_path):
    corpus = small_corpus(tmp_path)
    table = corpus.to_arrow(["size.words", "id"])
    assert table.to_pydict() == {"size.words": [None, 0, 3, 2], "id": ["d4", "d0", "d3", "d2"]}
    # Lists beside attributes: Arrow's own join refuses them.
    table = corpus.to_arrow(["source_ids", "text", "size.words"])
    assert table.column_names == ["source_ids", "text", "size.words"]
    assert corpus.attributes("size")["id"].to_pylist() == ["d0", "d1", "d2", "d3"]


def test_an_id_that_stands_twice_doubles_no_row(tmp_path):
    twins = [Document("same", "a", "toy"), Document("same", "b", "toy")]
    write_shard(shard_path(tmp_path, "data", 0), table_of(twins))
    write_shard(
        shard_path(tmp_path, "attributes/size", 0),
        pa.table({"id": ["same", "same"], "words": [1, 2]}),
    )
    finish_corpus(tmp_path, "document")
    table = Corpus.open(tmp_path).to_arrow(["text", "size.words"])
    assert table.to_pydict() == {"text": ["a", "b"], "size.words": [1, 1]}


def test_a_shard_whose_attribute_is_all_null_joins_the_others(tmp_path):
    corpus = small_corpus(tmp_path)
    more = pa.table({"id": ["d4"], "words": pa.nulls(1)})
    write_shard(shard_path(tmp_path, "attributes/size", 2), more)
    assert corpus.to_arrow(["size.words"])["size.words"].to_pylist() == [None, 0, 3, 2]


def test_dropped_and_quarantined_records_stay_readable(tmp_path):
    corpus = small_corpus(tmp_path)
    assert corpus.dropped().select(["id", "dropped_by"]).to_pylist() == [
        {"id": "d1", "dropped_by": "too_short"}
    ]
    assert corpus.quarantine()["reason"].to_pylist() == ["not JSON"]


def test_manifest_counts_records_bytes_sources_and_licences(tmp_path):
    manifest = small_corpus(tmp_path).manifest
    assert (manifest["records"], manifest["text_bytes"]) == (4, 4 * len("text 0"))
    assert manifest["licences"] == {"MIT": 4}
    assert manifest["sources"] == {"toy": 4}
    assert manifest["quarantined"] == 1
    assert manifest["funnel"] == [5, 4]
    assert [shard["records"] for shard in manifest["shards"]] == [3, 1]
    first = manifest["shards"][0]
    assert first["sha256"] == file_digest(tmp_path / first["path"])


def test_text_bytes_of_messages_are_utf8_bytes_of_their_contents(tmp_path):
    turns = (Message("user", "é"), Message("assistant", "語"))  # two and three bytes
    write_shard(shard_path(tmp_path, "data", 0), table_of([Conversation("c", turns, "toy")]))
    finish_corpus(tmp_path, "conversation")
    assert Corpus.open(tmp_path).manifest["text_bytes"] == 2 + 3


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("txt", "no column 'txt'. Did you mean 'text'?"),
        ("size.word", "no column 'size.word'. Did you mean 'size.words'?"),
        ("siz.words", "no attributes 'siz'. Did you mean 'size'?"),
    ],
)
def test_an_unknown_column_is_told_the_nearest_one(tmp_path, column, message):
    with pytest.raises(DataError) as refused:
        small_corpus(tmp_path).to_arrow(["id", column])
    assert str(refused.value) == f"{tmp_path}: {message}"


def test_attributes_where_there_are_none_are_refused(tmp_path):
    finish_corpus(tmp_path, "document")
    (tmp_path / "attributes" / "empty").mkdir(parents=True)
    with pytest.raises(DataError, match=r"no attributes 'size'\. There is none"):
        Corpus.open(tmp_path).attributes("size")


def test_a_truncated_shard_and_a_missing_one_are_named(tmp_path):
    corpus = small_corpus(tmp_path)
    shard = corpus.shards()[1]
    whole = shard.read_bytes()
    for length in (len(whole) - 9, len(whole) // 2, 3, 0):
        shard.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"00001\.parquet: not readable as Parquet"):
            corpus.to_arrow()
    shard.unlink()
    with pytest.raises(DataError, match=r"00001\.parquet: shard missing"):
        corpus.to_arrow()
    with pytest.raises(DataError, match="shard missing"):
        list(Corpus.open(tmp_path).records())


def test_a_folder_that_holds_no_corpus_or_a_newer_one_is_refused(tmp_path):
    with pytest.raises(DataError, match="no corpus here"):
        Corpus.open(tmp_path)
    finish_corpus(tmp_path, "document")
    manifest = read_json(tmp_path / "manifest.json")
    write_json(tmp_path / "manifest.json", {**manifest, "format": 99})
    with pytest.raises(DataError, match=r"newer Volano \(corpus format 99\).*Upgrade Volano"):
        Corpus.open(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        Corpus.open(tmp_path)


def test_records_come_one_by_one_in_order(tmp_path):
    assert [each.id for each in small_corpus(tmp_path).records()] == ["d4", "d0", "d3", "d2"]


def test_pandas_reads_the_same_rows(tmp_path):
    pytest.importorskip("pandas")
    frame = small_corpus(tmp_path).to_pandas(["id", "size.words"])
    assert frame["id"].tolist() == ["d4", "d0", "d3", "d2"]
    assert frame["size.words"].tolist()[1:] == [0, 3, 2]


@pytest.mark.parametrize("name", ["plain", "id=7", "it's [a] sto*re? ü", "order"])
def test_duckdb_has_a_view_per_group_wherever_the_folder_lies(tmp_path, name):
    folder = tmp_path / name
    corpus = small_corpus(folder)
    write_shard(shard_path(folder, "attributes/order-by", 0), pa.table({"id": ["d0"], "x": [True]}))
    connection = corpus.duckdb()
    joined = connection.execute(
        'select d.id, words, x from data d join size using (id) join "order-by" using (id)'
    ).fetchall()
    assert joined == [("d0", 0, True)]
    assert connection.execute("select id from dropped").fetchall() == [("d1",)]
    assert len(connection.execute("select * from data").description) == len(Document.schema)


def test_datasets_loads_the_folder_unconverted_and_only_its_records(tmp_path):
    pytest.importorskip("datasets")
    small_corpus(tmp_path / "corpus")
    code = (
        "import sys, datasets; d = datasets.load_dataset(sys.argv[1]);"
        "print(list(d), d['train']['id'], d['train'].column_names[:2])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "corpus")],
        env={
            **os.environ,
            "HF_HOME": str(tmp_path / "cache"),
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        },
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    listed = run.stdout.replace("Column(", "").replace(")", "")
    assert "['train'] ['d4', 'd0', 'd3', 'd2'] ['id', 'text']" in listed


def test_row_groups_are_small_enough_to_share_among_threads(tmp_path):
    table = table_of([Document(str(n), "", "toy") for n in range(20_000)])
    write_shard(tmp_path / "0.parquet", table)
    metadata = pq.read_metadata(tmp_path / "0.parquet")
    assert metadata.num_row_groups == 3  # ceil(20,000 / 8,192)
    assert metadata.row_group(0).column(1).compression == "ZSTD"
