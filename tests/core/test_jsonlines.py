import gzip
import hashlib
import json

import pytest
import zstandard

from volano.core.errors import DataError
from volano.core.jsonlines import (
    BadLine,
    list_files,
    messages_of,
    quarantine_table,
    read_lines,
    read_records,
)
from volano.core.records import Message


def text_of(line, where):
    if "text" not in line:
        raise BadLine("lacks `text`")
    return where, line["text"]


def test_good_lines_are_read_and_bad_ones_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "one"}\n\n{"text": \n{"x": 1}\n[1]\n\xff\n{"text": "two"}\n')
    records, problems = read_records([path], text_of)
    assert records == [("a.jsonl:1", "one"), ("a.jsonl:7", "two")]
    assert [problem.where for problem in problems] == [f"a.jsonl:{n}" for n in (3, 4, 5, 6)]
    assert problems[0].reason.startswith("not JSON (")
    assert [problem.reason for problem in problems[1:]] == [
        "lacks `text`",
        "a JSON list instead of an object",
        "not UTF-8 at byte 0",
    ]
    assert quarantine_table(problems)["excerpt"].to_pylist()[1] == '{"x": 1}'


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_compressed_files_read_the_same_and_a_truncated_end_is_one_problem(tmp_path, suffix):
    lines = b"".join(
        json.dumps({"text": f"{n * 7919 % 10007}"}).encode() + b"\n" for n in range(30_000)
    )
    compress = gzip.compress if suffix == "gz" else zstandard.ZstdCompressor().compress
    path = tmp_path / f"a.jsonl.{suffix}"
    path.write_bytes(compress(lines))
    records, problems = read_records([path], text_of)
    assert (len(records), problems) == (30_000, [])
    path.write_bytes(compress(lines)[:-3_000])
    records, problems = read_records([path], text_of)
    assert 0 < len(records) < 30_000
    assert "truncated" in problems[-1].reason


@pytest.mark.parametrize(("content", "reason"), [("", "empty"), ("{}\n", "no line is a record")])
def test_file_without_one_record_is_refused(tmp_path, content, reason):
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    with pytest.raises(DataError, match=f"^a.jsonl: {reason}"):
        read_records([path], text_of)


def test_globs_are_listed_in_order_and_a_missing_file_is_named(tmp_path):
    for name in ("b.jsonl", "a.jsonl"):
        (tmp_path / name).write_text("{}")
    listing = list_files([str(tmp_path / "*.jsonl")])
    assert [entry.key for entry in listing.entries] == ["a.jsonl", "b.jsonl"]
    with pytest.raises(DataError, match="no such file"):
        list_files([str(tmp_path / "c.jsonl")])


def test_messages_are_roles_with_content():
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    assert messages_of(turns) == (Message("user", "Hi"), Message("assistant", "Ho"))


@pytest.mark.parametrize(
    "value", [None, [], "x", [{"role": "robot", "content": ""}], [{"role": "user"}]]
)
def test_what_is_no_list_of_messages_is_refused(value):
    with pytest.raises(BadLine):
        messages_of(value)


def test_half_a_surrogate_pair_is_a_bad_line_before_arrow_refuses_it(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        rb'{"text": "\uD83D\uDE00"}' b"\n" rb'{"text": "\ud83d"}' b"\n" rb'{"\uDE00": 1}'
    )
    records, problems = read_records([path], text_of)
    assert records == [("a.jsonl:1", "\U0001f600")]
    assert [each.where for each in problems] == ["a.jsonl:2", "a.jsonl:3"]
    assert problems[0].reason == "an escape such as \\ud800 is half a character"


def test_the_good_lines_of_a_short_truncated_gzip_are_kept(tmp_path):
    texts = [f'{{"text": "{hashlib.sha256(bytes([place])).hexdigest()}"}}\n' for place in range(99)]
    packed = gzip.compress("".join(texts).encode())
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(packed[: len(packed) // 2])
    *good, (where, bad) = read_lines(path, path.name)
    assert [line.decode() for _, line in good] == [each.strip() for each in texts[: len(good)]]
    assert len(good) > 30  # half of the bytes hold about half of the lines
    assert where == f"cut.jsonl.gz:{len(good) + 1}"
    assert "truncated or damaged file" in str(bad)
