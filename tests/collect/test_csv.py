"""Tables written by Python's own csv module, and then damaged."""

import bz2
import csv
import gzip
import io
import lzma

import pytest
import zstandard
from reading import collect

ROWS = [["1", 'He said "no", twice', "MIT"], ["2", "Two\nlines\r\nand Mühle", ""], ["3", "x;y", ""]]


def table(rows=ROWS, **options) -> bytes:
    stream = io.StringIO()
    csv.writer(stream, **options).writerows([["id", "text", "licence"], *rows])
    return stream.getvalue().encode()


PACKED = {
    "a.csv": table(),
    "b.csv.gz": gzip.compress(table(delimiter=";")),
    "c.tsv.bz2": bz2.compress(table(delimiter="\t")),
    "d.csv.xz": lzma.compress(b"\xef\xbb\xbf" + table(quoting=csv.QUOTE_ALL, lineterminator="\n")),
    "e.csv.zst": zstandard.compress(table(delimiter="|")),
}


@pytest.mark.parametrize("name", PACKED)
def test_rows_are_documents_whatever_separates_and_packs_them(tmp_path, name):
    found = collect(tmp_path, {name: PACKED[name]})
    assert [[row["id"], row["text"], row["licence"] or ""] for row in found.documents] == ROWS
    assert found.problems == []


def test_a_bad_row_costs_itself_alone(tmp_path):
    lines = [
        b"id,text",
        b"1,one",
        b"2,two,three",
        b'3,"open "and shut"',
        b"4,\xff",
        b"",
        b'5,"a\nb"',
        b"6,",
        b"7,a\0b",
        b"8,eight",
    ]
    found = collect(tmp_path, {"a.csv": b"\n".join(lines)})
    assert [(row["id"], row["text"]) for row in found.documents] == [
        ("1", "one"),
        ("5", "a\nb"),
        ("8", "eight"),
    ]
    assert found.problems == [
        ("a.csv:3", "the header has 2 fields, the row 3"),
        ("a.csv:4", "not CSV (',' expected after '\"')"),
        ("a.csv:5", "not UTF-8"),
        ("a.csv:9", "empty text"),
        ("a.csv:10", "NUL at character 1: binary, not text"),
    ]


def test_an_endless_line_and_an_endless_quote_are_put_aside(tmp_path, monkeypatch):
    monkeypatch.setattr("volano.collect.readers.csv.MAX_FIELD_CHARACTERS", 1000)
    long = b"x" * 200_000
    open_quote = b'"' + b"word\n" * 300
    content = b"text\none\n" + long + b"\ntwo\n" + open_quote
    # one process, or the bound would be the old one in a worker
    from volano.collect.readers.csv import read_csv
    from volano.collect.readers.fields import Cursor, Fields

    (tmp_path / "a.csv").write_bytes(content)
    read = list(read_csv(tmp_path / "a.csv", "a.csv", Cursor()))
    texts = [each.values["text"] for each in read if isinstance(each, Fields)]
    assert texts[:2] == ["one", "two"]
    reasons = [each.reason for each in read if not isinstance(each, Fields)]
    assert reasons == [
        "not CSV (a line longer than 1,000 bytes)",
        "not CSV (field larger than field limit (1000))",
    ]


@pytest.mark.parametrize("cut", [5, 400])
def test_a_packed_table_that_stops_short_keeps_what_came_before(tmp_path, cut):
    rows = [[str(n), f"{n * 7919 % 100_003}", ""] for n in range(20_000)]
    packed = bz2.compress(table(rows), 1)
    found = collect(tmp_path, {"a.csv.bz2": packed[:-cut], "b.csv": "text,text\nx,y\n"})
    assert 1_000 < len(found.documents) <= 20_000
    assert found.problems[0][1].startswith("truncated or damaged file (")
    assert found.problems[1] == ("b.csv:1", "two columns are called 'text'")
