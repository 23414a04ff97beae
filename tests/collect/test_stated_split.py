import gzip
import json

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from volano.collect.section import CollectSection
from volano.collect.stated_split import holds_out

SAID = 'They split it: "split" is said here.'


def of_files(folder, **settings):
    return holds_out(CollectSection(source="files", paths=[str(folder)], **settings))


def write(folder, suffix, record):
    table = pa.Table.from_pylist([record] * 3)
    path = folder / f"pages{suffix}"
    if suffix == ".parquet":
        pq.write_table(table, path)
    elif suffix == ".arrow":
        feather.write_feather(table, path)
    elif suffix == ".csv":
        rows = [",".join(record), *[",".join(["about it"] * len(record))] * 3]
        path.write_text("\n".join(rows))
    else:
        lines = "\n".join(json.dumps(record) for _ in range(3)).encode()
        path.write_bytes(gzip.compress(lines) if suffix.endswith(".gz") else lines)


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".csv", ".parquet", ".arrow"])
def test_records_hold_out_where_they_state_a_split(tmp_path, suffix):
    write(tmp_path, suffix, {"text": "about it"})
    assert not of_files(tmp_path)
    assert of_files(tmp_path, held_out_fraction=0.1)
    write(tmp_path, suffix, {"text": "about it", "split": "test"})
    assert of_files(tmp_path)


def test_a_text_that_says_the_word_states_nothing(tmp_path):
    write(tmp_path, ".jsonl", {"text": SAID})
    write(tmp_path, ".parquet", {"text": SAID})
    (tmp_path / "page.txt").write_text(SAID)
    (tmp_path / "table.csv").write_text(f"text\n{SAID.replace(chr(34), '')}")
    assert not of_files(tmp_path)


def test_a_field_is_found_across_the_pieces_that_a_file_is_read_in(tmp_path, monkeypatch):
    (tmp_path / "pages.jsonl").write_text("{}")
    pieces = [b'{"text": "a", "spl', b'it": "test"}']
    monkeypatch.setattr("volano.collect.stated_split.read_chunks", lambda path: iter(pieces))
    assert of_files(tmp_path)


def test_what_only_collecting_can_tell_may_hold_out(tmp_path):
    assert of_files(tmp_path / "missing.jsonl")
    (tmp_path / "pages.parquet").write_bytes(b"no parquet")
    assert of_files(tmp_path)


def test_an_installation_holds_out_functions():
    assert holds_out(CollectSection())
    assert not holds_out(CollectSection(held_out_functions=0))
    assert not holds_out(CollectSection(kinds=["module"]))
