"""Bytes changed at random: no reader raises, and what it gives can always be stored."""

import random
from pathlib import Path

import pyarrow as pa
import pytest
from test_books import BOOK, FOOTER, HEADER, PRINTED, epub, pdf
from test_csv import table
from test_threads import COMMENTS, POSTS, SUBMISSIONS
from test_wikipedia import ARTICLE, dump, page

from volano.collect.formats import read_entries
from volano.collect.readers.fields import DocumentMaker, Fields
from volano.collect.section import CollectSection
from volano.core.jsonlines import quarantine_table
from volano.core.records import Document, table_of
from volano.core.step import Entry

ROUNDS = 25


def arrow() -> bytes:
    sink = pa.BufferOutputStream()
    rows = pa.table({"text": ["one", "two"], "n": [1, 2]})
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return sink.getvalue().to_pybytes()


SOUND = {
    "a.csv": (lambda: table(), "auto"),
    "b.xml": (lambda: dump(page(1, "A", ARTICLE), page(2, "B", "Text")), "auto"),
    "Posts.xml": (lambda: "".join(POSTS).encode(), "stackexchange"),
    "c.jsonl": (lambda: (SUBMISSIONS + COMMENTS).encode(), "reddit"),
    "d.txt": (lambda: (HEADER + BOOK + FOOTER).encode(), "gutenberg"),
    "e.epub": (epub, "auto"),
    "f.pdf": (lambda: pdf(PRINTED), "auto"),
    "g.arrow": (arrow, "auto"),
}


@pytest.mark.parametrize("name", SOUND)
def test_damage_is_put_on_record_and_never_raised(tmp_path, name):
    make, form = SOUND[name]
    sound = make()
    settings = CollectSection(source="files", paths=["."], format=form)
    seen = 0
    for seed in range(ROUNDS):
        path = tmp_path / name
        path.write_bytes(damaged(sound, random.Random(seed)) if seed else sound)
        documents, problems = read(path, name, settings, tmp_path / f"scratch{seed}")
        assert documents or seed
        seen += len(documents)
        table_of(documents, Document)
        quarantine_table(problems)
    assert seen


def read(path: Path, name: str, settings: CollectSection, scratch: Path):
    entry = Entry(name, path, path.stat().st_size, "")
    maker = DocumentMaker.of(settings)
    documents, problems = [], []
    for each in read_entries([entry], settings, scratch):
        made = maker.document(each) if isinstance(each, Fields) else each
        if isinstance(made, Document):
            documents.append(made)
        elif hasattr(made, "reason"):
            problems.append(made)
    return documents, problems


def damaged(content: bytes, chance: random.Random) -> bytes:
    parts = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        place = chance.randrange(len(parts))
        kind = chance.randrange(4)
        if kind == 0:
            parts[place] = chance.randrange(256)
        elif kind == 1:
            parts[place:place] = chance.randbytes(chance.randint(1, 20))
        elif kind == 2:
            del parts[place : place + chance.randint(1, 200)]
        else:
            parts[place : place + 1] = chance.choice([b"\0", b"<", b'"', b"\n", b"\xed\xa0\x80"])
        parts = parts or bytearray(b"x")
    return bytes(parts)
