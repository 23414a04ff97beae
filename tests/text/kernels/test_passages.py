import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volano.text.kernels.passages import covered_words, spaced_words, without_words

letters = "aé語\n\t \x85\u3000"
documents = st.lists(st.none() | st.text(alphabet=letters, max_size=30), max_size=6)


def plain_without(text, gone):
    """Words go with the white space behind them, the last ones with that before them."""
    words = [[found.start(), found.end()] for found in re.finditer(r"\S+", text)]
    starts = [start for start, _ in words] + [len(text)]
    out = np.zeros(len(text), bool)
    for place, is_gone in enumerate(gone):
        if is_gone:
            out[starts[place] : starts[place + 1]] = True
    for place in range(len(gone) - 1, -1, -1):  # at the end
        if not gone[place]:
            break
        out[words[place - 1][1] if place else 0 : starts[place + 1]] = True
    return "".join(letter for letter, is_out in zip(text, out, strict=True) if not is_out)


@settings(deadline=None, max_examples=100)
@given(documents, st.integers(0, 2), st.randoms())
def test_words_and_what_is_left_equal_the_reference_on_any_slice(texts, skipped, chance):
    column = pa.array(texts, pa.large_string()).slice(skipped)
    words = spaced_words(column)
    expected = [(text or "").split() for text in texts[skipped:]]
    assert np.diff(words.bounds).tolist() == [len(each) for each in expected]
    flat = [word for each in expected for word in each]
    for one, its_hash in zip(flat, words.hashes, strict=True):
        assert [other == its_hash for other in words.hashes] == [other == one for other in flat]
    gone = np.array([chance.random() < 0.5 for _ in flat], bool)
    bounds = words.bounds.tolist()
    assert without_words(column, words, gone).to_pylist() == [
        None if text is None else plain_without(text, gone[first:last].tolist())
        for text, first, last in zip(texts[skipped:], bounds, bounds[1:], strict=False)
    ]


@pytest.mark.parametrize(
    ("text", "gone", "left"),
    [
        ("a b\n\nc d", [0, 1, 1, 0], "a d"),
        ("a b\n\nc \n", [0, 0, 1], "a b"),
        ("  a b", [1, 0], "  b"),
        (" a b ", [1, 1], ""),
        ("a b", [0, 0], "a b"),
    ],
)
def test_a_word_goes_with_the_space_behind_it(text, gone, left):
    column = pa.array([text])
    found = without_words(column, spaced_words(column), np.array(gone, bool))
    assert found.to_pylist() == [left]


def test_a_run_that_overlaps_its_own_first_copy_covers_nothing():
    bounds = np.array([0, 6, 12])
    one = covered_words(np.array([2, 3]), np.array([2, 3]), bounds, length=3)
    assert one.nonzero()[0].tolist() == [3, 4, 5]  # the run at 2 begins inside its copy at 0
    other = covered_words(np.array([7]), np.array([2]), bounds, length=3)
    assert other.nonzero()[0].tolist() == [7, 8, 9]  # the copy at 5 is in the text before
