import pytest

from volano.core.errors import DataError
from volano.curate.clusters import clusters, difference

WORDS = [f"word{number}" for number in range(300)]
TEXT = " ".join(WORDS[:60])
OTHER = " ".join(WORDS[100:160])


def test_largest_clusters_come_with_members_and_what_sets_two_apart(dedup):
    near = TEXT.replace("word59", "changed")
    corpus = dedup([OTHER, TEXT, "alone", f"{OTHER} ", near, f" {TEXT}", f"{TEXT}\n"])
    first, second = clusters(corpus)
    assert (first.id, first.size, second.id, second.size) == ("d1", 4, "d0", 2)
    found = [(each.id, each.dropped_by, each.copy_of) for each in first.members]
    assert found == [
        ("d1", None, None),
        ("d4", "near", "d1"),
        ("d5", "exact", "d1"),
        ("d6", "exact", "d1"),
    ]
    assert first.members[1].similarity > 0.7
    assert first.compared == ("d1", "d4")
    assert first.difference == ["word55 word56 word57 word58 [-word59-] {+changed+}"]
    assert second.difference == ["the same but for white space"]
    assert [each.size for each in clusters(corpus, largest=1)] == [4]
    assert len(clusters(corpus, members=2)[0].members) == 2


def test_without_deduplication_there_is_nothing_to_show(dedup, tmp_path):
    corpus = dedup([TEXT, OTHER])
    assert clusters(corpus) == []
    for path in (corpus.folder / "attributes/dedup").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="no deduplication was made"):
        clusters(corpus)


def test_differences_by_hand():
    assert difference("a b", "a b") == ["the same to the byte"]
    assert difference("a b c", "a c d") == ["a [-b-] c", "a b c {+d+}"]
    many = difference(" ".join(["a", "b"] * 9), " ".join(["a", "c"] * 9))
    assert len(many) == 6
    assert many[-1] == "and 4 more changes"
    assert difference("a " * 2000, "a " * 2001) == ["the same in their first 2,000 words"]
