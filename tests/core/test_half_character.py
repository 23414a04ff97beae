import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volano.core.half_character import half_character

any_text = st.text(st.characters(exclude_categories=()))  # surrogates included
json_values = st.recursive(
    st.none() | st.integers() | any_text,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(any_text, inside, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_what_holds_none_is_what_utf_8_can_hold(value):
    try:
        json.dumps(value, ensure_ascii=False).encode()
        is_whole = True
    except UnicodeEncodeError:
        is_whole = False
    assert (half_character(value) is None) == is_whole


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ("\ud800", ""),
        ("😀", None),
        ({"a": [{"b": "x"}, {"b": "\udfff", "c": "\ud800"}]}, "a[1].b"),
        ([["x", "\ud800"]], "[0][1]"),
        ({"a": {"\ud800": 1}}, "a.\\ud800"),
    ],
)
def test_the_place_is_written_as_a_path(value, where):
    assert half_character(value) == where


def test_a_value_nested_deeper_than_python_calls_is_read():
    value = "\ud800"
    for _ in range(5_000):
        value = [value]
    assert half_character(value) == "[0]" * 5_000
