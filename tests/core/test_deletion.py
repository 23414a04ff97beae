import pytest

from volano.core.deletion import DELETIONS, Deletion, add_deletions, read_deletions
from volano.core.errors import StoreError
from volano.core.files import read_json, write_json
from volano.core.store import Store


def deletion(name, time="2026-01-01"):
    return Deletion(name, time, "person", "abc", 1, ("e1", "e2"))


def test_deletions_are_added_once_and_read_oldest_first(tmp_path):
    assert read_deletions(tmp_path) == []
    add_deletions(tmp_path, [deletion("b"), deletion("a", "2026-02-01")])
    add_deletions(tmp_path, [deletion("b"), deletion("c", "2025-01-01")])
    assert [each.id for each in read_deletions(tmp_path)] == ["c", "b", "a"]
    assert read_deletions(tmp_path)[1] == deletion("b")


def test_a_folder_with_deletions_and_nothing_else_can_become_a_store(tmp_path):
    add_deletions(tmp_path, [deletion("a")])
    assert Store(tmp_path).artifacts() == []


@pytest.mark.parametrize(
    "damage", ['{"deletions"', "[]", "{}", '{"deletions": [{"id": "a"}]}', '{"deletions": [7]}']
)
def test_a_damaged_file_is_refused_and_nobody_is_told_to_delete_the_store(tmp_path, damage):
    (tmp_path / DELETIONS).write_text(damage)
    with pytest.raises(StoreError, match="cannot be read") as refused:
        read_deletions(tmp_path)
    assert "Delete" not in str(refused.value)


def test_a_newer_file_is_refused(tmp_path):
    add_deletions(tmp_path, [deletion("a")])
    write_json(tmp_path / DELETIONS, read_json(tmp_path / DELETIONS) | {"format": 9})
    with pytest.raises(StoreError, match="newer Volano"):
        read_deletions(tmp_path)
