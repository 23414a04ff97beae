"""Addresses of fsspec and data sets of `datasets`, served from this machine: no network."""

import functools
import gzip
import http.server
import json
import sys
import threading
from pathlib import Path

import pytest
from reading import collect_paths
from small_tree import write

from volano.collect.remote import local_file
from volano.collect.section import CollectSection
from volano.collect.sources import list_sources
from volano.core.errors import DataError, MissingExtra
from volano.core.store import Store
from volano.study.single import run_phase

fsspec = pytest.importorskip("fsspec")
LINES = "".join(json.dumps({"text": f"Line {n}"}) + "\n" for n in range(3))
FILES: dict[str, str | bytes] = {
    "a.jsonl": LINES,
    "b/c.jsonl.gz": gzip.compress(LINES.encode()),
    "b/d.png": "no",
    ".hidden/e.jsonl": LINES,
}


def section(*paths: str, **other) -> CollectSection:
    return CollectSection(source="files", paths=list(paths), **other)


def test_a_folder_elsewhere_is_read_like_one_here(tmp_path):
    write(tmp_path / "in", FILES)
    found = collect_paths(tmp_path, f"file://{tmp_path}/in")
    assert [(Path(row["source"]).name, row["text"]) for row in found.documents] == [
        (name, f"Line {n}") for name in ("a.jsonl", "c.jsonl.gz") for n in range(3)
    ]
    assert found.documents[0]["id"] == f"file://{tmp_path}/in/a.jsonl#1"
    assert found.manifest["notes"] == ["1 files .png passed over"]
    assert not list((tmp_path / "run").rglob("fetched/*"))


@pytest.fixture
def server(tmp_path):
    pytest.importorskip("aiohttp")
    write(tmp_path / "www", FILES)
    handler = functools.partial(_Quiet, directory=str(tmp_path / "www"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as each:
        threading.Thread(target=each.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{each.server_port}"
        each.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None: ...


def test_a_file_is_fetched_from_a_web_server_and_deleted_again(tmp_path, server):
    found = collect_paths(tmp_path, f"{server}/b/c.jsonl.gz?raw=1")
    assert [row["text"] for row in found.documents] == ["Line 0", "Line 1", "Line 2"]
    assert found.documents[0]["source"] == f"{server}/b/c.jsonl.gz"
    with pytest.raises(DataError, match="no such file or folder"):
        list_sources(section(f"{server}/nowhere.jsonl"))


WET = (
    "WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Target-URI: https://{0}.example.org/\r\n"
    "WARC-Date: 2024-03-01T00:00:00Z\r\nWARC-Record-ID: <urn:uuid:{0}>\r\n"
    "Content-Type: text/plain\r\nContent-Length: {1}\r\n\r\n{2}\r\n\r\n"
)


@pytest.fixture
def snapshot(tmp_path, server, monkeypatch):
    """A snapshot of 30 archives of extracted text, laid out as Common Crawl does."""
    crawl = "crawl-data/CC-MAIN-2024-10"
    paths = [f"{crawl}/segments/{n % 3}/wet/{n:05d}.warc.wet.gz" for n in range(30)]
    for n, path in enumerate(paths):
        text = f"Page {n} of the crawl."
        record = WET.format(f"site-{n}", len(text), text).encode()
        write(tmp_path / "www", {path: gzip.compress(record)})
    listing = "".join(f"{path}\n" for path in paths).encode()
    write(tmp_path / "www", {f"{crawl}/wet.paths.gz": gzip.compress(listing)})
    monkeypatch.setattr("volano.collect.crawl.BASE", server)
    return f"{server}/{crawl}/wet.paths.gz"


def test_a_snapshot_is_read_in_part_and_a_larger_part_holds_the_smaller(tmp_path, snapshot):
    found = collect_paths(tmp_path, "cc:CC-MAIN-2024-10", crawl_files=2)
    assert len(found.documents) == 2
    assert all(row["text"].startswith("Page ") for row in found.documents)
    assert found.documents[0]["url"].endswith(".example.org/")
    keys = [
        {each.key for each in list_sources(section(path, crawl_files=count)).entries}
        for path, count in (("cc:CC-MAIN-2024-10/wet", 2), (snapshot, 5))
    ]
    assert len(keys[0]) == 2
    assert keys[0] < keys[1]


def test_a_whole_snapshot_is_not_read_by_mistake(snapshot):
    with pytest.raises(DataError, match=r"a listing of 30 files.*collect\.crawl_files"):
        list_sources(section("cc:CC-MAIN-2024-10"))


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("cc:CC-MAIN-2024-11", r"wet\.paths\.gz: no such file"),
        ("cc:CC-MAIN-2024-10/wat", "Did you mean 'wet'|Known: wet, warc"),
        ("cc:", "no snapshot of Common Crawl"),
    ],
)
def test_what_is_no_snapshot_is_told(snapshot, path, told):
    with pytest.raises(DataError, match=told):
        list_sources(section(path))


DAMAGED = bytearray(gzip.compress(b"crawl-data/a.warc.wet.gz\n" * 99))
DAMAGED[15:20] = b"\xff" * 5


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(b"\xff\xfe"), gzip.compress(b"\n"), bytes(DAMAGED)],
    ids=["no gzip", "no text", "no path", "damaged"],  # the bytes of gzip hold the time
)
def test_what_is_no_listing_is_told(tmp_path, server, content):
    write(tmp_path / "www", {"x.paths.gz": content})
    with pytest.raises(DataError, match="listing"):
        list_sources(section(f"{server}/x.paths.gz"))


def test_identity_is_what_the_other_side_says_and_a_change_is_noticed(tmp_path):
    memory = fsspec.filesystem("memory")
    memory.pipe("/set/a.jsonl", LINES.encode())
    (before,) = list_sources(section("memory://set/*.jsonl")).entries
    assert (before.key, before.bytes) == ("memory:///set/a.jsonl", len(LINES))
    with local_file(before, tmp_path / "fetched") as path:
        assert path.read_text() == LINES
    assert not path.exists()
    memory.pipe("/set/a.jsonl", LINES.encode() * 2)
    (after,) = list_sources(section("memory://set/*.jsonl")).entries
    assert after.sha256 != before.sha256
    with (
        pytest.raises(DataError, match="changed since it was listed"),
        local_file(before, tmp_path),
    ):
        pass


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://me:hunter2@a.test/b.jsonl", "the address holds credentials"),
        ("https://a.test/b.jsonl?X-Amz-Signature=hunter2", "the address holds credentials"),
        ("nosuch://a/b.jsonl", "Protocol not known: nosuch"),
        ("memory://empty/", "no file of a known kind|no such file"),
    ],
)
def test_an_address_that_cannot_be_read_is_refused_without_its_secrets(url, message):
    with pytest.raises(DataError, match=message) as refused:
        list_sources(section(url))
    assert "hunter2" not in str(refused.value)


def test_a_store_without_its_package_says_which(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    known = sys.modules["fsspec.registry"]._registry
    monkeypatch.delitem(known, "s3", raising=False)  # of an earlier test
    with pytest.raises(MissingExtra, match="Install s3fs to access S3"):
        list_sources(section("s3://bucket/a.jsonl"))


@pytest.fixture
def datasets(tmp_path, monkeypatch):
    module = pytest.importorskip("datasets")
    monkeypatch.setattr(module.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(module.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return module


def test_a_set_that_datasets_wrote_is_read_by_split(tmp_path, datasets):
    rows = {"text": [f"Row {n}" for n in range(3)], "label": [0, 1, 0]}
    made = datasets.Dataset.from_dict(rows)
    pair = datasets.DatasetDict({"train": made, "test": made.select([1])})
    pair.save_to_disk(tmp_path / "mills")
    made.save_to_disk(tmp_path / "alone")
    found = collect_paths(tmp_path, f"hf:{tmp_path}/mills", f"hf:{tmp_path}/alone")
    assert [row["id"] for row in found.documents] == [
        *(f"alone/train/00000.arrow#{n}" for n in (1, 2, 3)),
        *(f"mills/train/00000.arrow#{n}" for n in (1, 2, 3)),
    ]
    assert found.documents[1]["metadata"] == '{"label": 1}'
    tests = list_sources(section(f"hf:{tmp_path}/mills", dataset_split="test"))
    assert [entry.key for entry in tests.entries] == ["mills/test/00000.arrow"]
    with pytest.raises(DataError, match=r'cannot be loaded \(Unknown split "dev"'):
        list_sources(section(f"hf:{tmp_path}/mills", dataset_split="dev"))
    with pytest.raises(DataError, match="is no name of a split"):
        list_sources(section(f"hf:{tmp_path}/mills", dataset_split="train[:10%]"))


def test_a_folder_laid_out_as_on_the_hub_is_read_by_name(tmp_path, datasets):
    write(tmp_path / "mirror/owner/mills", {"data/train.jsonl": LINES})
    found = collect_paths(tmp_path, f"hf:{tmp_path}/mirror/owner/mills")
    assert [row["text"] for row in found.documents] == ["Line 0", "Line 1", "Line 2"]
    with pytest.raises(DataError, match=r"cannot be loaded \("):
        list_sources(section("hf:nobody/nothing-of-the-kind"))


def test_a_data_set_is_no_name_in_the_store(tmp_path, datasets):
    write(tmp_path, {"a.jsonl": LINES})
    datasets.Dataset.from_dict({"text": ["Row"]}).save_to_disk(tmp_path / "mills")
    store = Store(tmp_path / "runs")
    for data in (f"{tmp_path}/a.jsonl", f"hf:{tmp_path}/mills"):  # the store is empty only once
        (outcome,) = run_phase("collect", store, data=[data], silent=True)
    assert outcome.artifact.corpus().to_arrow()["text"].to_pylist() == ["Row"]


@pytest.mark.parametrize("cut", [0, 600])
def test_an_arrow_file_that_stops_short_keeps_what_came_before(tmp_path, cut):
    import pyarrow as pa

    table = pa.table({"text": [f"{n * 7919 % 100_003}" for n in range(3000)]})
    for name, form in (("a.arrow", pa.ipc.new_stream), ("b.feather", pa.ipc.new_file)):
        with (tmp_path / name).open("wb") as sink, form(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=100)
    stream, file = tmp_path / "a.arrow", tmp_path / "b.feather"
    stream.write_bytes(stream.read_bytes()[: -cut or None])
    found = collect_paths(tmp_path, str(stream), str(file))
    texts = [row["text"] for row in found.documents]
    assert texts[-3000:] == table["text"].to_pylist()
    assert texts[: len(texts) - 3000] == texts[-3000:][: len(texts) - 3000]
    assert bool(found.problems) is (cut > 0)
    assert len(texts) == (5900 if cut else 6000)
