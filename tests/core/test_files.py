import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volano.core.errors import RunFailed, StoreError
from volano.core.files import (
    atomic_path,
    explained,
    file_digest,
    json_digest,
    read_json,
    remove_unfinished,
    write_json,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8
)  # fmt: skip


def write_and_fail(path, error):
    with atomic_path(path) as unfinished:
        unfinished.write_text("half")
        raise error


def test_a_file_is_whole_or_absent(tmp_path):
    path = tmp_path / "new" / "file"
    with pytest.raises(ValueError, match="stop"):
        write_and_fail(path, ValueError("stop"))
    assert list(path.parent.iterdir()) == []
    with atomic_path(path) as unfinished:
        unfinished.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RunFailed, match="disk full"):
        write_and_fail(path, OSError(errno.ENOSPC, "No space left on device"))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("number", "kind", "what"),
    [
        (errno.ENOSPC, RunFailed, "disk full"),
        (errno.EDQUOT, RunFailed, "disk full"),
        (errno.EROFS, StoreError, "not writable"),
        (errno.EACCES, StoreError, "permission denied"),
        (errno.EMFILE, RunFailed, "Too many open files"),
    ],
)
def test_an_os_error_is_explained(tmp_path, number, kind, what):
    problem = explained(OSError(number, os.strerror(number)), tmp_path)
    assert type(problem) is kind
    assert (problem.what, problem.where) == (what, str(tmp_path))


def test_an_error_about_another_file_names_that_file(tmp_path):
    with pytest.raises(RunFailed) as failed, atomic_path(tmp_path / "output"):
        (tmp_path / "input").read_text()
    assert failed.value.where == str(tmp_path / "input")


def test_a_file_where_a_folder_should_be_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFailed, match="file"), atomic_path(tmp_path / "file" / "x" / "y"):
        pass


def test_only_what_atomic_writers_left_is_removed(tmp_path):
    mine = [tmp_path / "a" / ".x.tmp", tmp_path / "notes.1.2.tmp", tmp_path / ".x.json.1.tmpx"]
    for path in [*mine, tmp_path / "a" / ".00000.parquet.12.345.tmp"]:
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    remove_unfinished(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(mine)


@given(json_values)
def test_json_comes_back_and_equal_values_have_equal_digests(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert read_json(path) == value
    assert json_digest(read_json(path)) == json_digest(value)


def test_a_file_name_that_is_no_utf8_has_a_digest_and_is_written(tmp_path):
    name = b"caf\xe9".decode("utf-8", "surrogateescape")  # as os.listdir gives it
    write_json(tmp_path / "x.json", [name])
    assert read_json(tmp_path / "x.json") == [name]
    assert json_digest([name]) != json_digest(["caf\\udce9"])


def test_digests_are_sha256_and_do_not_depend_on_key_order(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert file_digest(tmp_path / "x").startswith("ba7816bf8f01cfea")
    assert json_digest({"a": 1, "b": 2}) == json_digest({"b": 2, "a": 1})


def test_damaged_or_absent_json_is_told(tmp_path):
    with pytest.raises(StoreError, match="no such file"):
        read_json(tmp_path / "x")
    for content in (b"{", b"", b"\xff"):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(StoreError, match="damaged"):
            read_json(tmp_path / "x")
