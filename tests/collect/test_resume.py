"""A run that stops at any moment goes on within a file, and gives what it would have given."""

import bz2
import gzip
import io
import json
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from reading import ContextHere
from small_tree import file_bytes, write
from test_csv import table
from test_threads import POSTS
from test_web import html_record, packed
from test_wikipedia import dump, page

from volano.collect import document_shards
from volano.collect.files import collect_files
from volano.collect.section import CollectSection
from volano.collect.sources import list_sources
from volano.core.errors import DataError
from volano.core.files import atomic_path
from volano.core.jsonlines import json_object

LINES = [json.dumps({"text": f"{n * 7919 % 100_003}é"}).encode() for n in range(16)]
LINES[3:3] = [b"[]", b"", b"{}"]
LINES[10:10] = [b"\xff", LINES[0]]
JSONL = b"\n".join(LINES)
RECORDS = [html_record(n) for n in range(8)]
RECORDS[3:3] = [html_record(90, "Content-Type: image/png"), html_record(91, status="404 Gone")]
LIAR = RECORDS[6].replace(b"Content-Length: ", b"Content-Length: 9", 1)


def parquet() -> bytes:
    sink = io.BytesIO()
    texts = pa.table({"text": [None if n == 7 else f"{n} mills" for n in range(16)]})
    pq.write_table(texts, sink, row_group_size=7)
    return sink.getvalue()


FILES = {
    "a.jsonl": JSONL,
    "a.jsonl.gz": gzip.compress(JSONL[:200]) + gzip.compress(JSONL[200:]),
    "a.jsonl.zst": zstandard.compress(JSONL)[:-4],
    "a.jsonl.bz2": bz2.compress(JSONL),
    "a.csv": table([[str(n), "a\nb" if n % 5 else "", f"{n}"] for n in range(14)]),
    "a.parquet": parquet(),
    "a.warc.gz": packed(*RECORDS[:5], LIAR, *RECORDS[6:]),
    "a.warc": b"".join(RECORDS),
    "b.warc.gz": gzip.compress(b"".join(RECORDS[:7])) + packed(*RECORDS[7:]),
    "a.xml": dump(*(page(n + 1, f"A{n}", f"Mill {n} turns." if n % 4 else "") for n in range(9))),
    "Posts.xml": "".join(POSTS),
}


class Killed(BaseException):
    """No error that anything catches."""


def kill() -> None:
    raise Killed


class Writes:
    """Counts the files that a run writes; in the middle of number `at`, `then` is called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, self.at, self.then = 0, 0, kill
        for module in ("volano.core.corpus", "volano.core.files"):
            monkeypatch.setattr(f"{module}.atomic_path", self.atomic_path)
        monkeypatch.setattr("volano.core.files.sync", lambda path: None)

    @contextmanager
    def atomic_path(self, path: Path):
        with atomic_path(path) as unfinished:
            yield unfinished
            self.count += 1
            if self.count == self.at:
                self.then()


def run(folder: Path, source: Path, form: str = "auto") -> dict[str, bytes]:
    (folder / "artifact").mkdir(parents=True, exist_ok=True)
    context = ContextHere(folder / "artifact", folder / "scratch", seed=1, silent=True)
    collect_files(CollectSection(source="files", paths=[str(source)], format=form), context)
    return file_bytes(context.folder)


@pytest.mark.parametrize("name", FILES)
def test_stopped_at_any_write_it_gives_the_same_bytes(tmp_path, name, monkeypatch):
    monkeypatch.setattr(document_shards, "SHARD_DOCUMENTS", 3)
    write(tmp_path / "in", {name: FILES[name], "z.jsonl": '{"text": "last"}'})
    form = "stackexchange" if name == "Posts.xml" else "auto"
    writes = Writes(monkeypatch)
    whole = run(tmp_path / "whole", tmp_path / "in", form)
    total = writes.count
    assert total >= 4
    for stop in range(1, total + 1, 1 if name == "a.jsonl" else 3):
        writes.count, writes.at = 0, stop
        with pytest.raises(Killed):
            run(tmp_path / str(stop), tmp_path / "in", form)
        writes.count, writes.at = 0, 0
        assert run(tmp_path / str(stop), tmp_path / "in", form) == whole, stop
        # Anew is at most the last shard, with its problems, the quarantine and the report.
        assert writes.count <= total - stop + 5


@pytest.mark.parametrize("damage", ["shard", "progress"])
def test_what_a_killed_run_left_damaged_is_read_again(tmp_path, monkeypatch, damage):
    monkeypatch.setattr(document_shards, "SHARD_DOCUMENTS", 3)
    write(tmp_path, {"a.jsonl": JSONL})
    writes = Writes(monkeypatch)
    whole = run(tmp_path / "whole", tmp_path / "a.jsonl")
    writes.count, writes.at = 0, 10
    with pytest.raises(Killed):
        run(tmp_path / "run", tmp_path / "a.jsonl")
    writes.at = 0
    (progress,) = (tmp_path / "run").rglob("progress.json")
    if damage == "shard":
        next(progress.parent.glob("data/*.parquet")).unlink()
    else:
        progress.write_text("{")
    assert run(tmp_path / "run", tmp_path / "a.jsonl") == whole


def test_a_resumed_run_parses_no_line_before_the_last_shard(tmp_path, monkeypatch):
    monkeypatch.setattr(document_shards, "SHARD_DOCUMENTS", 3)
    write(tmp_path, {"a.jsonl": JSONL})
    writes = Writes(monkeypatch)
    writes.at = 10
    with pytest.raises(Killed):
        run(tmp_path / "run", tmp_path / "a.jsonl")
    writes.at = 0
    (progress,) = (tmp_path / "run").rglob("progress.json")
    _, (lines, offset) = json.loads(progress.read_text())["cursor"]
    assert offset == len(b"\n".join(LINES[:lines])) + 1 > 50
    parsed = []
    monkeypatch.setattr(
        "volano.collect.readers.jsonl.json_object",
        lambda line: parsed.append(line) or json_object(line),
    )
    write(tmp_path, {"a.jsonl": JSONL})  # written anew, but the same: not refused
    run(tmp_path / "run", tmp_path / "a.jsonl")
    assert parsed == [line for line in LINES[lines:] if line]


KILLABLE = """
import sys
from pathlib import Path
from test_resume import run
from volano.collect import document_shards
document_shards.SHARD_DOCUMENTS = 500
run(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_a_run_killed_at_any_moment_ends_as_if_undisturbed(tmp_path, monkeypatch):
    name = "a.jsonl.zst"
    monkeypatch.setattr(document_shards, "SHARD_DOCUMENTS", 500)
    content = b"".join(b'{"text": "%d"}\n[]\n' % (n * 7919 % 100_003) for n in range(20_000))
    write(tmp_path, {name: zstandard.compress(content)})
    whole = run(tmp_path / "whole", tmp_path / name)
    chance, killed = random.Random(1), tmp_path / "killed"
    shards = 0
    for _ in range(2):
        wanted = shards + chance.randint(3, 12)
        process = subprocess.Popen(
            [sys.executable, "-c", KILLABLE, str(killed), str(tmp_path / name)],
            env={"PATH": "", "PYTHONPATH": ":".join(filter(None, sys.path))},
        )
        while shards < wanted and process.poll() is None:
            time.sleep(0.002)
            shards = len(list(killed.rglob("read/*/data/0*.parquet")))
        time.sleep(chance.random() * 0.02)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    first = next(killed.rglob("read/00000/data/00000.parquet"))
    written = first.stat().st_mtime_ns
    assert run(killed, tmp_path / name) == whole
    assert first.stat().st_mtime_ns == written


@pytest.mark.parametrize("moment", ["before", "between shards", "at the end"])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, moment, monkeypatch):
    monkeypatch.setattr(document_shards, "SHARD_DOCUMENTS", 15)
    source = tmp_path / "a.jsonl"
    source.write_bytes(JSONL)
    listed = list_sources(CollectSection(source="files", paths=[str(source)]))
    monkeypatch.setattr("volano.collect.files.list_sources", lambda settings: listed)
    changed = JSONL.replace(b'"text"', b'"TEXT"')
    writes = Writes(monkeypatch)
    writes.at = {"before": 0, "between shards": 1, "at the end": 4}[moment]
    writes.then = lambda: source.write_bytes(changed)
    if moment == "before":
        writes.then()
    with pytest.raises(DataError, match=r"changed while it was read\. Run again"):
        run(tmp_path / "run", source)
    assert source.read_bytes() == changed
    # As it was listed, it is read on, and nothing of the change is in what was kept.
    source.write_bytes(JSONL)
    writes.at = 0
    assert run(tmp_path / "run", source) == run(tmp_path / "whole", source)
