"""Pages and web archives, written by the field's own writer and then damaged as files are."""

import gzip
import io

import pytest
from fastwarc.warc import WarcRecord, WarcRecordType
from small_tree import new_context, rows, write

from volano.collect.files import collect_files
from volano.collect.readers.html import as_utf8
from volano.collect.section import CollectSection
from volano.core.corpus import Corpus

STORY = " ".join(
    f"Sentence number {n} of a story about flywheels, which store what work was put into them."
    for n in range(12)
)
PAGE = f"<html><body><nav><a href=/>Home</a></nav><article><p>{STORY}</p></article></body></html>"


def response(body: bytes, url: str, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def record_of(content: bytes, url: str, kind: WarcRecordType, content_type: str) -> bytes:
    record = WarcRecord()
    record.init_headers(record_type=kind, content_length=len(content))
    record.headers["Content-Type"] = content_type
    record.headers["WARC-Target-URI"] = url
    record.headers["WARC-Date"] = "2024-03-01T00:00:00Z"
    record.set_bytes_content(content)
    stream = io.BytesIO()
    record.write(stream)
    return stream.getvalue()


LATIN = PAGE.replace("Sentence", "Mühle").encode("latin-1")
HTML = "Content-Type: text/html"
GZIP = "Content-Encoding: gzip"


def html_record(place: int, *headers: str, body: bytes = PAGE.encode(), status="200 OK") -> bytes:
    url = f"http://mill.test/{place}"
    content = response(body, url, *(headers or (HTML,)), status=status)
    return record_of(content, url, WarcRecordType.response, "application/http; msgtype=response")


def packed(*records: bytes) -> bytes:
    return b"".join(map(gzip.compress, records))


def collect(tmp_path, files: dict[str, bytes], **settings):
    write(tmp_path / "in", files)
    context = new_context(tmp_path / "run")
    section = CollectSection(source="files", paths=[str(tmp_path / "in")], **settings)
    collect_files(section, context)
    corpus = Corpus.open(context.folder)
    return rows(context.folder), corpus.manifest, corpus.quarantine().to_pylist()


def test_pages_of_an_archive_are_documents_and_all_else_is_counted(tmp_path):
    wet = record_of(b"Plain text.", "http://mill.test/w", WarcRecordType.conversion, "text/plain")
    archive = packed(
        html_record(1),
        html_record(2, HTML + "; charset=iso-8859-1", body=LATIN),
        html_record(3, "Content-Type: image/png"),
        html_record(4, status="404 Not Found"),
        html_record(5, body=b"<html></html>"),
        html_record(6, HTML, GZIP, body=gzip.compress(PAGE.encode())),
        html_record(7, HTML, "Transfer-Encoding: chunked"),  # long since undone
        html_record(8),
    )  # fmt: skip
    documents, manifest, quarantine = collect(
        tmp_path, {"a.warc.gz": archive, "b.warc.wet.gz": packed(wet)}
    )
    assert not quarantine
    assert [row["url"] for row in documents] == [
        *(f"http://mill.test/{n}" for n in (1, 2, 6, 7, 8)),
        "http://mill.test/w",
    ]
    assert [row["text"] for row in documents[2:]] == [STORY] * 3 + ["Plain text."]
    assert documents[1]["text"] == STORY.replace("Sentence", "Mühle")
    assert documents[0]["id"].startswith("urn:uuid:")
    assert '"crawled": "2024-03-01T00:00:00Z"' in documents[0]["metadata"]
    assert manifest["passed_over"] == {
        "records of type image/png": 1,
        "answers of status 404": 1,
        "pages without main text": 1,
    }


@pytest.mark.parametrize("suffix", ["warc.gz", "warc"])
def test_a_damaged_record_costs_itself_alone(tmp_path, suffix):
    records = [html_record(n) for n in range(5)]
    parts = [gzip.compress(each) if suffix == "warc.gz" else each for each in records]
    middle = bytearray(parts[2])
    place = 10 if suffix == "warc.gz" else 0
    middle[place : place + 4] = b"\xff\xff\xff\xff"
    documents, _, quarantine = collect(
        tmp_path, {f"a.{suffix}": b"".join([*parts[:2], bytes(middle), *parts[3:]])}
    )
    assert [row["url"][-1] for row in documents] == ["0", "1", "3", "4"]
    (problem,) = quarantine
    assert problem["reason"].startswith("damaged from here on (")


@pytest.mark.parametrize("suffix", ["warc.gz", "warc"])
@pytest.mark.parametrize("length", [b"99999", b"999999999999"])
def test_a_length_that_lies_takes_no_other_record_along(tmp_path, suffix, length):
    records = [html_record(n) for n in range(4)]
    head, _, rest = records[1].partition(b"Content-Length: ")
    records[1] = head + b"Content-Length: " + length + b"\r\n" + rest.partition(b"\r\n")[2]
    content = packed(*records) if suffix == "warc.gz" else b"".join(records)
    documents, _, quarantine = collect(tmp_path, {f"a.{suffix}": content})
    assert [row["url"][-1] for row in documents] == ["0", "2", "3"]
    assert len(quarantine) == 1


def test_records_of_one_compressed_member_are_all_read(tmp_path):
    undone = html_record(7, HTML, "Transfer-Encoding: chunked")
    records = [html_record(0), html_record(1), undone, html_record(2), html_record(3)]
    documents, _, quarantine = collect(tmp_path, {"a.warc.gz": gzip.compress(b"".join(records))})
    assert [row["url"][-1] for row in documents] == ["0", "1", "7", "2", "3"]
    assert not quarantine


def test_what_is_no_archive_is_told(tmp_path):
    files = {"a.warc": b"no archive at all\n" * 9, "b.warc": html_record(1)}
    documents, _, quarantine = collect(tmp_path, files)
    assert len(documents) == len(quarantine) == 1


def test_one_bad_byte_costs_one_character(tmp_path):
    page = PAGE.replace("Sentence", "Größe").encode() + b"\xff"
    wide = PAGE.replace("<body>", "<meta charset=utf-16><body>").encode()
    documents, _, _ = collect(tmp_path, {"a.html": page, "b.html": wide})
    assert [row["text"].partition(" ")[0] for row in documents] == ["Größe", "Sentence"]


@pytest.mark.parametrize("suffix", ["warc.gz", "warc"])
def test_an_archive_that_ends_early_says_so(tmp_path, suffix):
    records = [html_record(n) for n in range(3)]
    content = packed(*records) if suffix == "warc.gz" else b"".join(records)
    documents, _, quarantine = collect(tmp_path, {f"a.{suffix}": content[:-40]})
    assert [row["url"][-1] for row in documents] == ["0", "1"]
    assert len(quarantine) == 1


def test_what_unpacks_without_end_is_put_aside(tmp_path):
    bomb = gzip.compress(b"<p>" + b"a" * 60_000_000)
    archive = packed(
        html_record(1, HTML, GZIP, body=bomb),
        html_record(2, body=b"<p>" + b"a" * 40_000_000),
        html_record(4, HTML, body=b"<p>" + b"a" * 9_000_000),
        html_record(5, HTML, body=b"a<p>" * 200_000),
        html_record(3),
    )
    documents, _, quarantine = collect(tmp_path, {"a.warc.gz": archive})
    assert [row["url"][-1] for row in documents] == ["3"]
    assert [row["reason"] for row in quarantine] == [
        "unpacks to more than 33,554,432 bytes",
        "longer than 33,554,432 bytes",
        "longer than the 8,388,608 bytes of a page",
        "more than 100,000 pieces of text",
    ]


def test_pages_in_files_and_in_fields(tmp_path):
    utf_16 = b"\xff\xfe" + PAGE.encode("utf-16-le")
    meta = PAGE.replace("<body>", "<meta charset=windows-1252><body>").replace("Sentence", "Müh–le")
    documents, manifest, _ = collect(
        tmp_path,
        {"a.html": utf_16, "b.htm.gz": gzip.compress(meta.encode("cp1252")), "c.html": b"<p></p>"},
    )
    assert [row["text"] for row in documents] == [STORY, STORY.replace("Sentence", "Müh–le")]
    assert manifest["passed_over"] == {"pages without main text": 1}


def test_a_field_of_jsonl_may_hold_a_page(tmp_path):
    import json

    lines = json.dumps({"html": PAGE, "url": "http://a"}) + '\n{"html": 3}\n'
    documents, _, quarantine = collect(
        tmp_path, {"a.jsonl": lines.encode()}, text_field="html", text_format="html"
    )
    assert [(row["text"], row["url"]) for row in documents] == [(STORY, "http://a")]
    assert [row["reason"] for row in quarantine] == ["field 'html' is int, not text"]


@pytest.mark.parametrize("charset", ["windows-1251", "windows-1252", "shift_jis"])
def test_utf_8_that_is_claimed_wrongly_is_doubted(charset):
    words = {
        "windows-1251": "Мельница стоит у реки и мелет зерно каждый день. ",
        "windows-1252": "Die Mühle läuft für größere Höfe öfter über Nacht. ",
        "shift_jis": "水車は川のそばに立ち、毎日麦をひいている。",
    }[charset]
    page = f"<html><body><p>{words * 20}</p></body></html>"
    assert words in as_utf8(page.encode(charset), "utf-8").decode()
    claimed = page.replace("<body>", "<meta charset=utf-8><body>").encode(charset)
    assert words in as_utf8(claimed, None).decode()
    # One broken byte among others says nothing.
    broken = page.encode().replace(b"</p>", b"\xff</p>")
    assert words in as_utf8(broken, "utf-8").decode()


def test_a_last_member_that_is_cut_off_is_told(tmp_path):
    # Large enough to be unpacked in several pieces.
    whole = b"".join(gzip.compress(wet_record(n, "A text. " * 500_000)) for n in range(2))
    cut = whole + gzip.compress(wet_record(2, "A text."))[:20]
    for name, content, expected in (
        ("whole", whole, []),
        ("cut", cut, ["the file ends in the middle of a record"]),
    ):
        folder = tmp_path / name
        folder.mkdir()
        documents, _, quarantine = collect(folder, {"a.warc.wet.gz": content})
        assert len(documents) == 2
        assert [row["reason"] for row in quarantine] == expected


@pytest.mark.parametrize("length", [9, 40, 150])  # in the version, before and behind the type
def test_a_last_header_that_is_cut_off_is_told(tmp_path, length):
    content = wet_record(0, "A text.") + wet_record(1, "A text.")[:length]
    documents, manifest, quarantine = collect(tmp_path, {"a.warc.wet": content})
    assert len(documents) == 1
    assert [row["reason"] for row in quarantine] == ["the file ends in the middle of a record"]
    assert manifest["passed_over"] == {}


def wet_record(number, text):
    head = (
        f"WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Target-URI: https://a.example.org/{number}\r\n"
        f"WARC-Date: 2024-03-01T00:00:00Z\r\nWARC-Record-ID: <urn:uuid:{number}>\r\n"
        f"Content-Type: text/plain\r\nContent-Length: {len(text)}\r\n\r\n"
    )
    return f"{head}{text}\r\n\r\n".encode()
