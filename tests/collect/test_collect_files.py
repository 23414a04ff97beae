import gzip
import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from small_tree import file_bytes, new_context, rows, write

from volano.collect.files import collect_files, scan_files
from volano.collect.section import CollectSection
from volano.core.corpus import Corpus
from volano.core.errors import DataError, RecipeError
from volano.core.step import Context

GOOD = b'{"text": "one"}\n{"text": "two"}\n'


def settings_for(*paths, **other) -> CollectSection:
    return CollectSection(source="files", paths=[str(path) for path in paths], **other)


def collect(context: Context, *paths, **other) -> list[dict[str, object]]:
    collect_files(settings_for(*paths, **other), context)
    return rows(context.folder)


def problems(context: Context) -> list[tuple[str, str]]:
    found = Corpus.open(context.folder).quarantine().to_pylist()
    return [(row["where"], row["reason"]) for row in found]


def many_lines(count: int) -> bytes:
    return b"".join(b'{"text": "%d"}\n' % (n * 7919 % 100_003) for n in range(count))


def test_fields_find_their_place_and_the_rest_goes_into_metadata(tmp_path, context):
    record = {
        "id": 7,
        "text": "Körper",
        "license": "MIT",
        "url": "http://x",
        "date": 2024,
        "kind": "essay",
        "split": "test",
        "likes": 3,
        "tags": ["a"],
        "score": float("nan"),
    }
    write(tmp_path, {"in/a.jsonl": json.dumps(record) + '\n{"text": "two", "split": "validation"}'})
    first, second = collect(context, tmp_path / "in")
    assert first == {
        "id": "7",
        "text": "Körper",
        "source": "a.jsonl",
        "kind": "essay",
        "split": "test",
        "licence": "MIT",
        "package": None,
        "path": "a.jsonl",
        "url": "http://x",
        "date": "2024",
        "source_ids": [],
        "metadata": '{"likes": 3, "score": null, "tags": ["a"]}',
    }
    assert (second["id"], second["split"]) == ("a.jsonl#2", "train")
    assert json.loads(second["metadata"]) == {"split": "validation"}


def test_every_format_is_read_from_one_folder(tmp_path, context):
    write(
        tmp_path / "in",
        {
            "a.jsonl": GOOD,
            "b.jsonl.gz": gzip.compress(GOOD),
            "c/d.ndjson.zst": zstandard.compress(GOOD) + zstandard.compress(b'{"text": "three"}'),
            "e.txt": "\ufeffWhole\nfile",
            "f.py.gz": gzip.compress(b"x = 1\n"),
            ".hidden/g.txt": "no",
            "h.png": "no",
        },
    )
    pq.write_table(pa.table({"text": ["four"], "n": [1]}), tmp_path / "in/i.parquet")
    found = {row["id"]: (row["text"], row["kind"]) for row in collect(context, tmp_path / "in")}
    assert found == {
        "a.jsonl#1": ("one", "text"),
        "a.jsonl#2": ("two", "text"),
        "b.jsonl.gz#1": ("one", "text"),
        "b.jsonl.gz#2": ("two", "text"),
        "c/d.ndjson.zst#1": ("one", "text"),
        "c/d.ndjson.zst#2": ("two", "text"),
        "c/d.ndjson.zst#3": ("three", "text"),
        "e.txt": ("Whole\nfile", "text"),
        "f.py.gz": ("x = 1\n", "code"),
        "i.parquet#1": ("four", "text"),
    }
    assert Corpus.open(context.folder).manifest["notes"] == ["1 files .png passed over"]


def test_only_a_line_feed_ends_a_line(tmp_path, context):
    write(tmp_path, {"a.jsonl": '{"text": "a\u2028b\u0085c"}\r\n\n{"text": "d"}'})
    found = collect(context, tmp_path / "a.jsonl")
    assert [(row["id"], row["text"]) for row in found] == [
        ("a.jsonl#1", "a\u2028b\u0085c"),
        ("a.jsonl#3", "d"),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": ', "not JSON ("),
        (b"[" * 100_000, "not JSON ("),
        (b'["text"]', "a JSON list instead of an object"),
        (b'{"txt": "x"}', "no field 'text' (Did you mean 'txt'?)"),
        (b'{"text": null}', "field 'text' is null, not text"),
        (b'{"text": 5}', "field 'text' is int, not text"),
        (b'{"text": " \\n"}', "empty text"),
        (b'{"text": "a\\u0000b"}', "NUL at character 1: binary, not text"),
        (b'{"text": "a\\ud800"}', "an escape such as \\ud800 is half a character"),
        (b'{"text": "\xff"}', "not UTF-8 at byte 10"),
    ],
)
def test_bad_line_among_good_ones_is_quarantined(tmp_path, context, line, reason):
    write(tmp_path, {"a.jsonl": b'{"text": "one"}\n' + line + b'\n{"text": "two"}\n'})
    assert [row["text"] for row in collect(context, tmp_path / "a.jsonl")] == ["one", "two"]
    [(where, found)] = problems(context)
    assert where == "a.jsonl:2"
    assert found.startswith(reason)
    assert Corpus.open(context.folder).manifest["quarantined"] == 1


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_truncated_lines_keep_what_came_before_the_cut(tmp_path, context, suffix):
    pack = gzip.compress if suffix == "gz" else zstandard.compress
    write(tmp_path, {f"a.jsonl.{suffix}": pack(many_lines(20_000))[:-1_000]})
    found = collect(context, tmp_path / f"a.jsonl.{suffix}")
    assert 1_000 < len(found) < 20_000
    [(where, reason)] = problems(context)
    assert where == f"a.jsonl.{suffix}:{len(found) + 1}"
    assert reason.startswith("truncated or damaged file (")


def test_truncated_text_keeps_what_came_before_the_cut(tmp_path, context):
    text = "".join(f"é{n * 7919 % 100_003} " for n in range(50_000))
    write(tmp_path, {"a.txt.gz": gzip.compress(text.encode())[:-500]})
    [row] = collect(context, tmp_path / "a.txt.gz")
    assert len(row["text"]) > 1_000
    assert text.startswith(row["text"])
    assert problems(context)[0][1].startswith("truncated or damaged file (")


def test_damaged_parquet_group_costs_its_own_rows_only(tmp_path, context):
    path = tmp_path / "a.parquet"
    table = pa.table({"text": [f"{n * 7919 % 100_003} {n}" for n in range(3_000)]})
    pq.write_table(table, path, row_group_size=1_000, compression="zstd", use_dictionary=False)
    start = pq.read_metadata(path).row_group(1).column(0).data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + 2_000] = b"\xff" * 2_000
    path.write_bytes(content)
    texts = [row["text"] for row in collect(context, path)]
    assert texts == table["text"].to_pylist()[:1_000] + table["text"].to_pylist()[2_000:]
    [(where, reason)] = problems(context)
    assert where == "a.parquet:1001"
    assert reason.startswith("damaged from here to the end of row group 1 (")


def test_parquet_row_that_is_not_utf8_is_quarantined_alone(tmp_path, context):
    column = pa.array([b"one", b"\xff", b"two"]).view(pa.string())
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    assert [row["text"] for row in collect(context, tmp_path / "a.parquet")] == ["one", "two"]
    assert problems(context) == [("a.parquet:2", "not UTF-8 at byte 0")]


def test_unreadable_file_among_good_ones_is_quarantined(tmp_path, context):
    write(tmp_path, {"in/a.jsonl": GOOD, "in/b.parquet": b"PAR1 truncated", "in/c.txt": b"\xff"})
    assert len(collect(context, tmp_path / "in")) == 2
    reasons = dict(problems(context))
    assert reasons["b.parquet"].startswith("not Parquet, or truncated (")
    assert reasons["c.txt"] == "not UTF-8 at byte 0"
    assert sum(Corpus.open(context.folder).manifest["problems"].values()) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.parquet", b"PAR1", "no record can be read (first: a.parquet: not Parquet"),
        ("a.jsonl.gz", b"no gzip", "no record can be read (first: a.jsonl.gz:1: truncated or"),
        ("a.jsonl.zst", b"no zst", "no record can be read (first: a.jsonl.zst:1: truncated or"),
        ("a.jsonl", b"{}\n", "no record can be read (first: a.jsonl:1: empty)"),
        ("a.jsonl", b"", "empty"),
        ("a.txt", b"", "no record can be read (first: a.txt: empty text)"),
        ("a.txt", b"\xff\xfe", "no record can be read (first: a.txt: not UTF-8 at byte 0)"),
    ],
)
def test_input_without_one_document_is_refused(tmp_path, context, name, content, message):
    write(tmp_path, {name: content})
    with pytest.raises(DataError) as refused:
        collect(context, tmp_path / name)
    assert str(refused.value).startswith(f"{name}: {message}")
    assert "\n" not in str(refused.value)
    assert not (context.folder / "manifest.json").exists()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("in/data.json", r"no such file or folder\. Did you mean 'data\.jsonl'\?"),
        ("nowhere/a.jsonl", r"no such file or folder\. There is no folder .*nowhere"),
        ("in/*.parquet", "no such file or folder"),
        ("in/picture.png", r"unknown kind of file '\.png'\. Known: \.jsonl"),
        ("in/bare", "a file without a suffix"),
        ("in/*.png", "matches no file of a known kind"),
        ("in/empty", "no file in this folder can be read"),
    ],
)
def test_path_that_means_no_file_is_refused_with_a_remedy(tmp_path, path, message):
    write(tmp_path, {"in/data.jsonl": GOOD, "in/picture.png": "", "in/bare": ""})
    (tmp_path / "in/empty").mkdir()
    with pytest.raises(DataError, match=message):
        scan_files(settings_for(tmp_path / path))


def test_files_without_paths_and_paths_without_files_are_refused():
    with pytest.raises(RecipeError, match="source is files, but paths names none"):
        CollectSection.read({"source": "files"}, "recipe")
    with pytest.raises(RecipeError, match="paths is set, but source is not files"):
        CollectSection.read({"paths": ["a.jsonl"]}, "recipe")


def test_repeated_ids_are_told_apart_across_shards(tmp_path, context, monkeypatch):
    monkeypatch.setattr("volano.collect.files.BATCH_BYTES", 10)
    line = '{"id": "x", "text": "%s"}\n'
    write(tmp_path / "in", {"a.jsonl": line % "one" + line % "two", "b.jsonl": line % "three"})
    found = collect(context, tmp_path / "in")
    assert [(row["id"], row["text"]) for row in found] == [
        ("x", "one"),
        ("x#2", "two"),
        ("x#3", "three"),
    ]
    assert Corpus.open(context.folder).manifest["repeated_ids"] == 2


def test_a_made_id_is_never_one_that_a_record_has(tmp_path, context):
    rows = [
        {"id": name, "text": f"Text {n}"} for n, name in enumerate(["a#2", "a", "a", "a", "b#2"])
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    collect_files(CollectSection(source="files", paths=[str(tmp_path / "a.jsonl")]), context)
    found = [each.id for each in Corpus.open(context.folder).records()]
    assert found == ["a#2", "a", "a#3", "a#4", "b#2"]


def test_equal_texts_share_a_split(tmp_path, context):
    lines = [{"text": f"Text {n % 100}{'.' * (n // 100)}"} for n in range(300)]
    write(tmp_path, {"a.jsonl": "\n".join(map(json.dumps, lines))})
    found = collect(context, tmp_path / "a.jsonl", held_out_fraction=0.3)
    splits: dict[str, set[object]] = {}
    for row in found:
        splits.setdefault(str(row["text"]).rstrip("."), set()).add(row["split"])
    assert all(len(each) == 1 for each in splits.values())
    test = sum(each == {"test"} for each in splits.values())
    assert 15 <= test <= 45  # 30 expected of 100, sd 4.6


@pytest.mark.parametrize("workers", [1, 3])
def test_bytes_depend_neither_on_workers_nor_on_the_folder(tmp_path, workers, monkeypatch):
    monkeypatch.setattr("volano.collect.files.BATCH_BYTES", 20_000)
    write(tmp_path / "in", {f"{n}.jsonl": many_lines(n * 100) + b"[]\n" for n in range(1, 12)})
    first = new_context(tmp_path / "first")
    collect_files(settings_for(tmp_path / "in"), first)
    shutil.move(tmp_path / "in", tmp_path / "moved")
    again = new_context(tmp_path / "again", workers)
    collect_files(settings_for(f"{tmp_path}/moved/*.jsonl"), again)
    assert file_bytes(again.folder) == file_bytes(first.folder)
    assert len(Corpus.open(again.folder)) == 6_600


def test_killed_run_reads_finished_batches_no_second_time(tmp_path, monkeypatch):
    monkeypatch.setattr("volano.collect.files.BATCH_BYTES", 100_000)
    write(tmp_path / "in", {f"{n}.jsonl": many_lines(5_000) for n in range(4)})
    context = new_context(tmp_path / "killed")
    collect_files(settings_for(tmp_path / "in"), context)
    whole = file_bytes(context.folder)
    reports = sorted((context.scratch / "read").glob("*.json"))
    assert len(reports) > 1
    kept = reports[0].stat().st_mtime_ns
    reports[-1].unlink()  # its shards are there, but not known to be all
    shutil.rmtree(context.folder)
    collect_files(settings_for(tmp_path / "in"), context)
    assert reports[0].stat().st_mtime_ns == kept
    assert file_bytes(context.folder) == whole


def test_one_changed_byte_changes_the_listing_and_a_moved_folder_does_not(tmp_path):
    write(tmp_path / "in", {"a.jsonl": GOOD, "b/c.txt": "x"})
    before = scan_files(settings_for(tmp_path / "in"))
    assert [entry.key for entry in before.entries] == ["a.jsonl", "b/c.txt"]
    shutil.copytree(tmp_path / "in", tmp_path / "copy")
    copy = settings_for(tmp_path / "copy/a.jsonl", tmp_path / "copy/b")
    assert scan_files(copy).digest() == before.digest()
    (tmp_path / "in/b/c.txt").write_text("y")
    assert scan_files(settings_for(tmp_path / "in")).digest() != before.digest()


def test_corpus_of_ours_is_read_without_what_it_dropped(tmp_path, context):
    write(tmp_path, {"a.jsonl": GOOD})
    collect(context, tmp_path / "a.jsonl")
    dropped = context.folder / "dropped/00000.parquet"
    dropped.parent.mkdir()
    shutil.copy(context.folder / "data/00000.parquet", dropped)
    again = new_context(tmp_path / "again")
    found = collect(again, context.folder)
    assert [(row["id"], row["text"]) for row in found] == [
        ("a.jsonl#1", "one"),
        ("a.jsonl#2", "two"),
    ]


def test_shards_are_rotated_by_bytes(tmp_path, context):
    text = "x" * 400_000
    write(tmp_path, {"a.jsonl": "".join(f'{{"text": "{text}{n}"}}\n' for n in range(40))})
    assert len(collect(context, tmp_path / "a.jsonl")) == 40
    assert len(Corpus.open(context.folder).shards()) == 3  # 15 texts reach 6 MB
