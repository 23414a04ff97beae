"""The compiled rules against plain ones, on arbitrary Unicode and on what the rules look for."""

import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.text.kernels import plain_rules
from volano.core.errors import DataError
from volano.text.english import english_words
from volano.text.kernels.features import STATISTICS, WORDS, measure
from volano.text.kernels.language import EXCEPTION, _table, english_language, hash_of
from volano.text.kernels.words import read_words, room_of, words_of

RUNS = """
the The, be (have) x # . ... …… - • é 語 don't it's I'll :) good:) ): =( U.S. e.g. id. A. 10km 5% $3
3$ US$5 http://a.bc/d?e=f a.b@c.de well-known a--b 1.5 1,000 1-2 a,b x=y "quoted" 'single' “curly”
’s James' (see) [1] [edit] javascript JavaScript {x} policy. 1.2.3.4 127.0.0.1 a/b one two three
end. End? "Yes!" a..b °C.
"""
PIECES = RUNS.split()
PIECES += [
    "[\u0661\uff11]",
    "we use coo\u212aies!",
    "8.8.8.8/x-y",
    "10.0.0.1:80",
    "a@1.2.3.4#b",
    "1.2.3.04",
]
PIECES += ["lorem ipsum.", "[citation needed]", "terms of use", "privacy policy", "we use cookies!"]
BREAKS = ["\n", "\n\n", "\r\n", "\r", "\u2028", "\x85", "\x0b", "\t", "\u00a0", "  ", " \n "]
pieces = st.sampled_from([*PIECES, *BREAKS])
documents = st.one_of(
    st.none(),
    st.lists(pieces, max_size=60).map(" ".join),
    st.lists(pieces, max_size=30).map("".join),
    st.text(max_size=60),
    st.lists(st.sampled_from(["a", "bb", "語é", "\n", "\n\n", " "]), max_size=80).map(" ".join),
)
columns = st.tuples(
    st.lists(documents, max_size=8),
    st.sampled_from([pa.string(), pa.large_string()]),
    st.integers(0, 3),
    st.sampled_from(WORDS),
)


@settings(deadline=None, max_examples=300)  # the first call compiles
@given(columns)
def test_every_statistic_equals_the_plain_one_on_any_slice(column):
    texts, kind, skipped, words = column
    found = measure(pa.array(texts, kind).slice(skipped), list(STATISTICS), words=words)
    texts = texts[skipped:]
    for rule in STATISTICS:
        rows = [list(row.values()) for row in found.tables[rule].to_pylist()]
        assert rows == [_plain(rule, text, words) for text in texts]
    for text, kept in zip(texts, found.kept.to_pylist(), strict=True):
        wanted = None if text is None else plain_rules.c4(text, words)[1]
        assert kept == wanted or (wanted is None and not kept)


def _plain(rule, text, words):
    if text is None:
        return [None] * len(STATISTICS[rule])
    values = getattr(plain_rules, rule)(text, words)
    return values[0] if rule == "c4" else values


@pytest.mark.parametrize(
    ("rule", "text", "name", "value"),
    [
        ("gopher_quality", "", "words", 0),
        ("gopher_quality", "To be, or don't", "words", 5),  # To be or do n't; the comma is none
        ("gopher_quality", "To be to be", "stop_words", 2),  # each once, and in small letters
        ("gopher_quality", "ab été", "mean_word_characters", 5 / 2),  # in bytes it would be 7/2
        ("gopher_quality", "# a # b", "hash_word_ratio", 2 / 4),
        ("gopher_quality", "a...... b…", "ellipsis_word_ratio", 3 / 4),  # a, dots, b and a mark
        ("gopher_quality", "- a\n\n  • b\nc", "bullet_line_fraction", 2 / 4),
        ("gopher_quality", "a... \nb…\nc. . .", "ellipsis_line_fraction", 2 / 3),
        ("gopher_quality", "a 1 -- 語", "alphabetic_word_fraction", 2 / 4),  # -- is a word
        ("gopher_repetition", "x\ny\nx\nx", "duplicate_line_fraction", 2 / 4),
        ("gopher_repetition", "\nx\n", "duplicate_line_fraction", 1 / 3),  # empty ends are lines
        ("gopher_repetition", "p q\n\nr\n\np q", "duplicate_paragraph_fraction", 1 / 3),
        ("gopher_repetition", "p q\n\nr\n\np q", "duplicate_paragraph_character_fraction", 3 / 11),
        ("gopher_repetition", "été\nété\nété", "duplicate_line_character_fraction", 6 / 11),
        ("gopher_repetition", "to be or to be", "top_2_gram_fraction", 10 / 14),
        ("gopher_repetition", "a a a a", "top_2_gram_fraction", 1.0),  # 9/7, cut at 1
        ("gopher_repetition", "one two three", "top_2_gram_fraction", 7 / 13),
        ("gopher_repetition", "a b c d e a b c d e", "duplicate_5_gram_fraction", 5 / 19),
        ("gopher_repetition", "a b c d e f a b c d e f", "duplicate_6_gram_fraction", 6 / 23),
        ("fineweb", "One.\nTwo. \n\nThree", "terminal_line_fraction", 1 / 3),
        ("fineweb", "é" * 30 + "\n" + "é" * 31, "short_line_fraction", 1 / 2),
        ("fineweb", "buy\nbuy\nx", "copied_line_character_fraction", 3 / 7),
        ("fineweb", "one two\n\nthree", "newline_word_ratio", 2 / 3),
        ("c4", "One two three. And four!\nfive", "sentences", 2),
        ("c4", "One two three...\nOne two.", "unterminated_lines", 1),
        ("c4", "One two three...\nOne two.", "few_word_lines", 1),
        ("c4", "Please enable JavaScript now.", "javascript_lines", 1),
        ("c4", "We use cookies on it.", "policy_lines", 1),
        ("c4", "Lorem ipsum dolor sit.", "lorem_ipsum", 1),
        ("c4", "int main() { return 0.", "curly_brackets", 1),
        ("c4", f"An {'a' * 1001} of a word.", "long_word_lines", 1),
    ],
)
def test_golden_values_counted_by_hand(rule, text, name, value):
    assert measure(pa.array([text]), [rule]).tables[rule][name].to_pylist() == [value]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Home | About\nIt is so.[1]\n  And so it is.  \nMore", "It is so.\nAnd so it is."),
        ("A fact[12] is not this one[edit].", "A fact is not this one."),
        ("menu", ""),
    ],
)
def test_what_c4_leaves_of_a_text(text, kept):
    assert measure(pa.array([text]), ["c4"]).kept.to_pylist() == [kept]


def test_a_run_is_frequent_from_as_many_occurrences_as_asked_for():
    text = pa.array(["one two three"])
    rule = "gopher_repetition"
    table = measure(text, [rule], fewest_top_grams=2).tables[rule]
    assert table["top_2_gram_fraction"].to_pylist() == [0.0]


def test_chunked_column_gives_what_one_chunk_gives():
    chunked = pa.chunked_array([["one two"], [], [None, "three"]], pa.string())
    table = measure(chunked, ["gopher_quality"]).tables["gopher_quality"]
    assert table["words"].to_pylist() == [2, None, 1]


def test_number_column_is_refused_with_its_type_and_a_remedy():
    with pytest.raises(DataError) as refused:
        measure(pa.array([1, 2]), ["fineweb"])
    message = str(refused.value)
    assert message == "column of int64: expected text. Cast it to pyarrow.large_string()."


@settings(deadline=None, max_examples=500)
@given(st.lists(pieces, max_size=20).map("".join) | st.text(max_size=40))
def test_words_of_the_kernel_are_those_of_the_plain_tokenizer(text):
    utf8 = np.frombuffer(text.encode("utf-8", "replace"), np.uint8)
    words = words_of(len(utf8))
    count = read_words(utf8, english_language(), room_of(len(utf8)), words)
    found = [utf8[start:stop].tobytes().decode() for start, stop in words[:count, :2].tolist()]
    assert found == english_words(utf8.tobytes().decode())


@pytest.mark.parametrize(
    "run",
    [
        "1.2.3.4" + "-p.A" * 20_000,
        "1.2.3.4" + "(" * 50_000,
        "1.2.3.4" + "…a" * 40_000,  # more words than 16 bits tell
        "a.b@" * 20_000,
        ":)" * 20_000,
    ],
)
def test_no_run_takes_long_however_long_it_is(run):
    measure(pa.array(["one"]), list(STATISTICS))  # compiles, where nothing has yet
    before = time.process_time()
    measure(pa.array([run]), list(STATISTICS))
    assert time.process_time() - before < 20


def test_a_hash_that_is_hit_on_purpose_does_not_lead_out_of_the_text():
    table, lengths = _table([(EXCEPTION, hash_of("xyz"), ["x" * 1000, "y" * 1000])])
    language = english_language()._replace(table=table, lengths=lengths)
    utf8 = np.frombuffer(b"(xyz) xyz, xyz", np.uint8)
    words = words_of(len(utf8))
    count = read_words(utf8, language, room_of(len(utf8)), words)
    assert words[:count, 1].max() == len(utf8)
    assert count == 6
