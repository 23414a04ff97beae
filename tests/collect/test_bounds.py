"""What is too long, unpacks without end, or finds no room: put aside or told, in bounded memory."""

import contextlib
import gzip
import json
import resource
import signal
import subprocess
import sys

import pytest
import zstandard
from reading import ContextHere, collect
from small_tree import file_bytes

from volano.collect.files import collect_files
from volano.collect.readers.fields import MAX_TEXT_BYTES, TOO_LONG
from volano.collect.section import CollectSection
from volano.core.corpus import Corpus
from volano.core.errors import RunFailed

BOMB_BYTES = 300_000_000
MEGABYTE = 1 << 20


def test_a_text_beyond_the_bound_is_put_aside_and_its_neighbours_stay(tmp_path):
    longest = "é" * (MAX_TEXT_BYTES // 2)
    lines = [{"text": "one"}, {"text": longest}, {"text": longest + "x"}, {"text": "two"}]
    content = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    found = collect(tmp_path, {"a.jsonl": content, "b.txt": longest + "x"})
    assert [row["text"] for row in found.documents] == ["one", longest, "two"]
    assert found.problems == [("a.jsonl:3", TOO_LONG), ("b.txt", TOO_LONG)]


READ = """
import resource, sys
from pathlib import Path
from volano.collect.formats import read_entries
from volano.collect.readers.fields import Fields
from volano.collect.section import CollectSection
from volano.core.step import Entry
path = Path(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
settings = CollectSection(source="files", paths=["."])
for read in read_entries([Entry(path.name, path, 0, "")], settings, path.parent / "scratch"):
    print(read.values["text"] if isinstance(read, Fields) else read.reason)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize(
    ("name", "first", "last", "told"),
    [
        (
            "a.jsonl.zst",
            b'{"text": "one"}\n',
            b'\n{"text": "two"}\n',
            ["one", "longer than", "two"],
        ),
        ("a.jsonl.gz", b'{"text": "one"}\n{"text": "', b'"}', ["one", "longer than"]),
        ("a.csv.zst", b"text\none\n", b"\ntwo\n", ["one", "not CSV (a line longer than", "two"]),
        ("a.xml.zst", b"<mediawiki><page>", b"</page>", ["a page longer than"]),
    ],
)
def test_what_unpacks_to_one_endless_line_is_never_in_memory(tmp_path, name, first, last, told):
    with (tmp_path / name).open("wb") as file:
        pack = zstandard.ZstdCompressor(1).stream_writer(file) if "zst" in name else None
        with pack or gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as packed:
            packed.write(first)
            for _ in range(BOMB_BYTES // MEGABYTE):
                packed.write(b"x" * MEGABYTE)
            packed.write(last)
    assert (tmp_path / name).stat().st_size < BOMB_BYTES / 100
    command = [sys.executable, "-c", READ, tmp_path / name]
    *found, megabytes = subprocess.run(
        command, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert [line[: len(start)] for line, start in zip(found, told, strict=False)] == told
    assert len(found) == len(told)
    assert int(megabytes) < 160


@contextlib.contextmanager
def no_file_longer_than(size: int):
    # The kernel's own limit, which is as real as a full disk; one that is ignored is an OSError.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    deaf = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, deaf)


def test_where_nothing_can_be_written_one_line_says_so_and_a_rerun_finishes(tmp_path, monkeypatch):
    monkeypatch.setattr("volano.collect.document_shards.SHARD_DOCUMENTS", 5_000)
    lines = [{"text": f"{n} {n * 7919 % 100_003}"} for n in range(7_000)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))

    def run(folder):
        (folder / "artifact").mkdir(parents=True, exist_ok=True)
        context = ContextHere(folder / "artifact", folder / "scratch", seed=1, silent=True)
        section = CollectSection(source="files", paths=[str(tmp_path / "a.jsonl")])
        collect_files(section, context)
        return file_bytes(context.folder)

    with no_file_longer_than(30_000), pytest.raises(RunFailed) as failed:
        run(tmp_path / "short")
    message = str(failed.value)
    assert "File too large" in message
    assert message.endswith("Mend the cause and run again: it resumes.")
    assert "\n" not in message
    assert not list((tmp_path / "short").rglob("*.tmp"))
    assert run(tmp_path / "short") == run(tmp_path / "whole")
    assert len(Corpus.open(tmp_path / "whole/artifact")) == len(lines)
