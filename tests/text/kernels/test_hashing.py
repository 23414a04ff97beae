import re

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from volano.text.kernels.characters import IDEOGRAPHS
from volano.text.kernels.hashing import document_hashes, word_hashes
from volano.text.kernels.ngrams import ngram_hashes

texts_and_nulls = st.lists(
    st.none() | st.text(max_size=30) | st.text(alphabet="aB1 -\n語ßか", max_size=12), max_size=12
)


def reference_words(text):
    """The docstring's definition of a word, by Python's own character methods."""
    words, current = [], ""
    for character in text or "":
        ideograph = any(first <= ord(character) <= last for first, last in IDEOGRAPHS)
        if not character.isalnum() or ideograph:
            words += [current] if current else []
            current = ""
        if character.isalnum():
            current += re.sub("[A-Z]", lambda m: m[0].lower(), character)
        if ideograph and character.isalnum():
            words.append(current)
            current = ""
    return words + ([current] if current else [])


@settings(deadline=None)
@given(texts_and_nulls, st.integers(0, 2))
def test_words_are_equal_exactly_where_their_hashes_are(texts, skipped):
    hashes, bounds = word_hashes(pa.array(texts, pa.string()).slice(skipped))
    wanted = [reference_words(text) for text in texts[skipped:]]
    assert np.diff(bounds).tolist() == [len(words) for words in wanted]
    by_word: dict[str, int] = {}
    for word, value in zip((w for words in wanted for w in words), hashes.tolist(), strict=True):
        assert by_word.setdefault(word, value) == value
    assert len(set(by_word.values())) == len(by_word)


@settings(deadline=None)
@given(texts_and_nulls, st.integers(0, 2))
def test_documents_hash_alike_exactly_when_they_differ_in_white_space_only(texts, skipped):
    hashes = document_hashes(pa.array(texts, pa.large_string()).slice(skipped)).to_pylist()
    by_text: dict[str, int] = {}
    for text, value in zip(texts[skipped:], hashes, strict=True):
        assert (text is None) == (value is None)
        if text is not None:
            assert by_text.setdefault(" ".join(text.split()), value) == value
    assert len(set(by_text.values())) == len(by_text)


@settings(deadline=None)
@given(
    st.lists(st.lists(st.sampled_from("abc"), max_size=8).map(" ".join), max_size=6),
    st.integers(1, 4),
)
def test_runs_are_equal_exactly_where_their_hashes_are(texts, length):
    hashes, bounds = ngram_hashes(*word_hashes(pa.array(texts, pa.string())), length=length)
    by_run: dict[tuple[str, ...], int] = {}
    for row, text in enumerate(texts):
        words = text.split()
        runs = [tuple(words[i : i + length]) for i in range(max(1, len(words) - length + 1))]
        here = hashes[bounds[row] : bounds[row + 1]].tolist()
        assert len(here) == (len(runs) if words else 0)
        for run, value in zip(runs, here, strict=False):
            assert by_run.setdefault(run, value) == value
    assert len(set(by_run.values())) == len(by_run)


def test_golden_hash_of_a_document():
    # FNV-1a over the collapsed bytes, then splitmix64's finaliser, in Python integers.
    def mixed(value):
        value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        value = (value ^ value >> 27) * 0x94D049BB133111EB % 2**64
        return value ^ value >> 31

    value = 0xCBF29CE484222325
    for byte in b"a b":
        value = (value ^ byte) * 0x100000001B3 % 2**64
    assert document_hashes(pa.array([" a\t\nb "])).to_pylist() == [mixed(value)]


def test_case_and_operators_make_another_document():
    hashes = document_hashes(pa.array(["a + b", "a - b", "A + b"])).to_pylist()
    assert len(set(hashes)) == 3
