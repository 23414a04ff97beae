import pytest

from volano.evaluate.overlap import lexical_share, shared_words, stems


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("json.load", {"json", "load"}),
        ("http.HTTPServer.do_GET", {"http", "serv", "do", "get"}),
        ("Returns the loaded files.", {"load", "fil"}),
        ("numpy.linalg.svd2", {"nump", "linalg", "svd"}),
    ],
)
def test_stems_by_hand(text, expected):
    assert stems(text) == expected


def test_word_counts_once_in_any_form():
    assert shared_words("json.load", "Loading JSON loads json.") == 2


@pytest.mark.parametrize(
    ("shared", "share"), [([2, 1, 1, 0], 1.0), ([1, 1, 1, 1], 1 / 4), ([1, 2, 0, 0], 0.0)]
)
def test_baseline_takes_the_largest_overlap_and_divides_ties(shared, share):
    assert lexical_share(shared) == share
