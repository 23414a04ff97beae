import pytest
from hypothesis import given
from hypothesis import strategies as st

from volano.collect.splits import Candidate, assign_splits, is_held_out, text_key
from volano.core.errors import RecipeError


def candidates(texts, qualifies=True):
    return [Candidate(text_key(text), text_key(text[:9]), qualifies) for text in texts]


def split(texts, **settings):
    return assign_splits(
        candidates(texts), **{"held_out_functions": 0, "pool_fraction": 0.3} | settings
    )


WORDS = [f"{place} words of some documentation" for place in range(200)]


def test_exactly_as_many_are_held_out_as_asked_and_the_pool_is_near_its_fraction():
    splits = split(WORDS, held_out_functions=50)
    assert splits.count("test") == 50
    assert 25 <= splits.count("pool") <= 65  # 45 expected of 150, sd 5.6


@given(st.permutations(WORDS[:40]))
def test_split_hangs_on_the_text_alone(texts):
    by_text = dict(zip(texts, split(texts, held_out_functions=10), strict=True))
    assert [by_text[text] for text in WORDS[:40]] == split(WORDS[:40], held_out_functions=10)


def test_repeated_docstrings_and_summaries_are_never_held_out():
    twins = ["Same words.", "same, WORDS"]
    namesakes = ["1 opening and this", "1 opening and that"]
    splits = split([*twins, *namesakes, *WORDS], held_out_functions=100)
    assert splits[0] == splits[1]
    assert "test" not in splits[:4]


def test_function_that_does_not_qualify_is_never_held_out():
    with pytest.raises(RecipeError, match=r"1 functions to hold out, but at most 0 can be"):
        assign_splits(candidates(WORDS, False), held_out_functions=1, pool_fraction=0)


def test_held_out_fraction_is_kept_and_case_and_punctuation_do_not_count():
    held_out = [is_held_out(text, 0.25) for text in WORDS]
    assert 30 <= sum(held_out) <= 70  # 50 expected, sd 6.1
    assert held_out == [is_held_out(f"{text.upper()}!", 0.25) for text in WORDS]
    assert not any(is_held_out(text, 0.0) for text in WORDS)
