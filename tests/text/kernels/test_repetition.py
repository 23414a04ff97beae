import re
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volano.core.errors import DataError
from volano.text.kernels.repetition import (
    REPETITION_STATISTICS,
    duplicate_line_fraction,
    repetition_statistics,
)

# A tiny alphabet makes repeats likely; "é" and "語" take two and three bytes.
documents = st.lists(st.none() | st.text(alphabet="aé語\r\n", max_size=40))


def reference(text: str | None) -> float | None:
    """The docstring's definition: slow, plain, and sharing no code with the kernel."""
    if not text:
        return None if text is None else 0.0
    lines = text.split("\n")
    repeats = [line for place, line in enumerate(lines) if line in lines[:place]]
    return sum(map(len, repeats)) / len(text)


@settings(deadline=None)  # the first call compiles
@given(documents, st.sampled_from([pa.string(), pa.large_string()]), st.integers(0, 3))
def test_kernel_equals_reference_on_any_slice(texts, kind, skipped):
    column = pa.array(texts, kind).slice(skipped)
    assert duplicate_line_fraction(column).to_pylist() == [reference(t) for t in texts[skipped:]]


@pytest.mark.parametrize(
    ("text", "fraction"),
    [
        ("", 0.0),
        ("one\ntwo", 0.0),
        ("buy\nbuy", 3 / 7),  # the first copy is no repeat; the break counts in the whole
        ("été\nété\nété", 6 / 11),  # characters; counted in bytes it would be 10/17
        ("a\n\n\n\na", 1 / 6),  # blank lines repeat, but hold no characters
    ],
)
def test_golden_fractions_counted_by_hand(text, fraction):
    assert duplicate_line_fraction(pa.array([text])).to_pylist() == [fraction]


def test_number_column_is_refused_with_its_type_and_a_remedy():
    with pytest.raises(DataError) as refused:
        duplicate_line_fraction(pa.array([1, 2]))
    message = str(refused.value)
    assert message == "column of int64: expected text. Cast it to pyarrow.large_string()."


def top_gram(words, n):
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    counts = Counter(grams)
    if not counts or max(counts.values()) < 2:
        return 0
    most = max(counts.values())
    return most * max(len(" ".join(gram)) for gram, count in counts.items() if count == most)


def copied_grams(words, n):
    seen, copied, place = set(), 0, 0
    while place <= len(words) - n:
        gram = tuple(words[place : place + n])
        if gram in seen:
            copied += len("".join(gram))
            place += n
        else:
            seen.add(gram)
            place += 1
    return copied


def reference_statistics(text):
    if not text:
        return [None if text is None else 0.0] * len(REPETITION_STATISTICS)
    fractions, characters = [], []
    for pieces in (re.split(r"\n+", text), re.split(r"\n{2,}", text.strip("\n"))):
        pieces = [piece for piece in pieces if piece]
        copies = [piece for place, piece in enumerate(pieces) if piece in pieces[:place]]
        fractions.append(len(copies) / max(len(pieces), 1))
        characters.append(sum(map(len, copies)) / len(text))
    words = text.split()
    tops = [min(top_gram(words, n) / len(text), 1.0) for n in (2, 3, 4)]
    return (
        fractions + characters + tops + [copied_grams(words, n) / len(text) for n in range(5, 11)]
    )


wordy = st.lists(st.sampled_from(["a", "bb", "語é", "\n", "\n\n", " ", "\u3000"]), max_size=60)


@settings(deadline=None)
@given(
    st.lists(st.none() | wordy.map(" ".join) | wordy.map("".join) | st.text()), st.integers(0, 2)
)
def test_statistics_equal_the_reference_on_any_slice(texts, skipped):
    table = repetition_statistics(pa.array(texts, pa.large_string()).slice(skipped))
    rows = [list(row.values()) for row in table.to_pylist()]
    assert rows == [reference_statistics(text) for text in texts[skipped:]]


@pytest.mark.parametrize(
    ("text", "name", "fraction"),
    [
        ("x\ny\nx\nx", "duplicate_line_fraction", 2 / 4),
        ("p q\n\nr\n\np q", "duplicate_paragraph_fraction", 1 / 3),
        ("p q\n\nr\n\np q", "duplicate_paragraph_character_fraction", 3 / 11),
        ("x\n\n\nx", "duplicate_line_character_fraction", 1 / 5),
        ("to be or to be", "top_2_gram_fraction", 10 / 14),  # "to be" twice, 5 characters each
        ("a a a a", "top_2_gram_fraction", 1.0),  # three overlapping "a a": 9/7, cut at 1
        ("one two three", "top_2_gram_fraction", 0.0),  # nothing occurs twice
        ("a b c d e a b c d e", "duplicate_5_gram_fraction", 5 / 19),
        ("a b c d e f a b c d e f", "duplicate_6_gram_fraction", 6 / 23),
    ],
)
def test_golden_statistics_counted_by_hand(text, name, fraction):
    assert repetition_statistics(pa.array([text]))[name].to_pylist() == [fraction]


def test_both_measures_of_duplicate_lines_agree():
    texts = pa.array(["buy\nbuy", "été\nété\nété", "a\n\n\n\na", ""])
    whole = repetition_statistics(texts)["duplicate_line_character_fraction"]
    assert whole.to_pylist() == duplicate_line_fraction(texts).to_pylist()


def test_slice_of_a_column_without_nulls_is_read_where_it_begins():
    # Arrow's cast of such a slice begins anew at offset 0; of one with nulls it does not.
    column = pa.array(["x", "a\na", "bb\nbb"], pa.string()).slice(1)
    assert duplicate_line_fraction(column).to_pylist() == [1 / 3, 2 / 5]
