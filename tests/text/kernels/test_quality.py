import string

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volano.core.errors import DataError
from volano.text.kernels.quality import BULLETS, QUALITY_STATISTICS, STOP_WORDS, quality_statistics

pieces = st.sampled_from(
    [
        "the",
        "The,",
        "be",
        "(have)",
        "x",
        "#",
        ".",
        "...",
        "…",
        "-",
        "* a",
        "é",
        "語",
        "\n",
        " ",
        "\u00a0",
        "\u2003",
    ]
)
documents = st.none() | st.lists(pieces, max_size=40).map("".join) | st.text(max_size=60)


def reference(text):
    if text is None:
        return dict.fromkeys(QUALITY_STATISTICS)
    words = text.split()
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    bare = {word.strip(string.punctuation + CONTROLS).lower() for word in words}
    count, line_count = max(len(words), 1), max(len(lines), 1)
    return {
        "words": len(words),
        "mean_word_characters": sum(map(len, words)) / count,
        "hash_word_ratio": text.count("#") / count,
        "ellipsis_word_ratio": (text.count("...") + text.count("…")) / count,
        "bullet_line_fraction": sum(line[0] in BULLETS for line in lines) / line_count,
        "ellipsis_line_fraction": sum(line.endswith(("...", "…")) for line in lines) / line_count,
        "alphabetic_word_fraction": sum(any(c.isalpha() for c in w) for w in words) / count,
        "stop_words": len(bare & set(STOP_WORDS)),
    }


# ASCII characters that are neither letters nor digits nor white space count as punctuation.
CONTROLS = "".join(chr(code) for code in range(128) if not chr(code).isalnum())


@settings(deadline=None)
@given(
    st.lists(documents),
    st.sampled_from([pa.string(), pa.large_string()]),
    st.integers(0, 3),
)
def test_kernel_equals_reference_on_any_slice(texts, kind, skipped):
    table = quality_statistics(pa.array(texts, kind).slice(skipped))
    assert table.to_pylist() == [reference(text) for text in texts[skipped:]]


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("", "words", 0),
        ("To be, or not to be", "words", 6),
        ("To be, or not to be", "stop_words", 2),  # to and be; each counts once
        ("ab été", "mean_word_characters", 5 / 2),  # in bytes it would be 7/2
        ("# a # b", "hash_word_ratio", 2 / 4),
        ("a...... b…", "ellipsis_word_ratio", 3 / 2),  # six dots are two ellipses
        ("- a\n\n  • b\nc", "bullet_line_fraction", 2 / 3),  # the blank line is no line
        ("a... \nb…\nc. . .", "ellipsis_line_fraction", 2 / 3),  # spaced dots are no ellipsis
        ("a 1 -- 語", "alphabetic_word_fraction", 2 / 4),
    ],
)
def test_golden_values_counted_by_hand(text, name, value):
    assert quality_statistics(pa.array([text]))[name].to_pylist() == [value]


def test_chunked_column_gives_what_one_chunk_gives():
    chunked = pa.chunked_array([["one two"], [], [None, "three"]], pa.string())
    assert quality_statistics(chunked)["words"].to_pylist() == [2, None, 1]


def test_number_column_is_refused_with_its_type():
    with pytest.raises(DataError, match="column of int64: expected text"):
        quality_statistics(pa.array([1]))
