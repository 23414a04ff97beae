import random
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volano.text.overlap import OverlapIndex

WORDS = [f"word{number}" for number in range(400)]
LONG = " ".join(WORDS[:60])
SHORT = "Return the number of rows that the cursor holds now"  # 10 words


def edited(text, share, seed=0):
    """The text with this share of its words replaced, at least one of them."""
    words = text.split()
    for place in random.Random(seed).sample(range(len(words)), max(1, round(share * len(words)))):
        words[place] = "altered"
    return " ".join(words)


def found(held_out, document, **settings):
    return OverlapIndex.of([held_out], **settings).search([document])[0]


@pytest.mark.parametrize("text", [LONG, SHORT, SHORT + " " + SHORT.upper() + " and some more"])
def test_a_copy_is_found_whatever_its_case_and_punctuation(text):
    overlap = found(text, text.upper().replace(" ", ",\n"))
    assert overlap is not None
    assert overlap.fraction == 1.0


@pytest.mark.parametrize("words", [8, 10, 13, 20, 40, 200])
@pytest.mark.parametrize("seed", range(5))
def test_a_lightly_edited_copy_of_any_length_is_found_under_another_name(words, seed):
    text = " ".join(WORDS[:words])
    copy = "other.module.function(self, key, *, default=None)\n\n" + edited(text, 0.1, seed)
    assert found(text, copy) is not None


def test_an_edited_copy_inside_a_long_page_is_found():
    page = " ".join(WORDS[100:300])
    assert found(LONG, f"{page} {edited(LONG, 0.1)} {page}") is not None


def test_half_of_a_text_quoted_word_for_word_is_found_as_a_quotation():
    overlap = found(LONG, " ".join(WORDS[:40]) + " and then quite another matter")
    assert overlap is not None
    # 40 of 60 words hold 28 of the 48 runs of 13, and 39 of 59 pairs: both beyond their bounds.
    assert found(LONG, " ".join(WORDS[:40]), pair_fraction=0.9).fraction == 28 / 48
    assert found(LONG, " ".join(WORDS[:40]), pair_fraction=0.9).run_words == 13


def test_the_same_pairs_scattered_over_a_page_are_no_copy():
    filler = WORDS[200:260]
    pairs = [" ".join([WORDS[place], WORDS[place + 1], *filler]) for place in range(59)]
    assert found(LONG, " ".join(pairs)) is None


def test_a_short_sentence_inside_a_book_is_no_leak_but_beside_a_signature_it_is():
    assert found(SHORT, " ".join(WORDS) + " " + SHORT) is None
    assert found(SHORT, "cursor.rows(self, *, exact=True) " + SHORT) is not None


def test_few_words_must_be_held_nearly_whole():
    assert found("Close the file at once", "Close the file when done") is None
    assert found("Close the file at once", "f.close()\n\nClose the file at once.") is not None


def test_other_texts_missing_texts_and_texts_without_words_are_never_found():
    index = OverlapIndex.of([LONG, "", "---", SHORT])
    assert index.search(["quite another matter altogether", "", "---"]) == [None] * 3
    assert index.search(pa.array([None, "x"], pa.string())) == [None, None]
    assert OverlapIndex.of([]).search(["anything at all"]) == [None]


def pairs_of(words):
    return set(pairwise(words)) if len(words) > 1 else {tuple(words)} - {()}


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.lists(st.sampled_from("abcdef"), min_size=8, max_size=12), min_size=1, max_size=5),
    st.lists(st.sampled_from("abcdefgh"), max_size=14),
)
def test_index_finds_exactly_what_counting_pairs_finds(held_out, document):
    index = OverlapIndex.of([" ".join(words) for words in held_out], ngram_words=50)
    (overlap,) = index.search([" ".join(document)])
    here = pairs_of(document)
    # The document is no longer than the window of any held-out text, so its set of pairs decides.
    shares = [len(pairs_of(words) & here) / len(pairs_of(words)) for words in held_out]
    best = max(shares)
    if best >= 0.6:
        assert (overlap.fraction, overlap.place) == (best, shares.index(best))
    else:
        assert overlap is None
