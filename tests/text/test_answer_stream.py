import pytest
from hypothesis import given
from hypothesis import strategies as st

from volano.text.answer_stream import AnswerStream


def decode(ids):
    """Each id is a byte: the hardest tokenizer there is."""
    return bytes(ids).decode("utf-8", "replace")


def run(text, stop=()):
    stream = AnswerStream(decode, stop)
    pieces = [stream.feed(token) for token in text.encode()]
    return [*pieces, stream.finish()], stream


@given(st.text())
def test_the_pieces_joined_are_the_text(text):
    pieces, stream = run(text)
    assert "".join(pieces) == text == stream.text
    assert not stream.stopped


@given(
    st.text(alphabet="ab\u00e9\U0001f600", max_size=30),
    st.lists(st.text(alphabet="ab\u00e9", min_size=1, max_size=4), max_size=4),
)
def test_nothing_of_the_first_stop_string_is_ever_shown(text, stop):
    pieces, stream = run(text, stop)
    # Tokens are bytes, so the stop string that ends first is seen first; of those that end
    # together, the one that begins first.
    ends = [(text.find(each) + len(each), text.find(each)) for each in stop if each in text]
    expected = text[: min(ends)[1]] if ends else text
    shown = "".join(pieces)
    assert stream.stopped is bool(ends)
    assert shown == stream.text == expected


def test_half_a_character_waits_for_the_other_half():
    stream = AnswerStream(decode)
    assert [stream.feed(token) for token in "é!".encode()] == ["", "é", "!"]


def test_bytes_that_never_become_a_character_are_shown_in_the_end():
    stream = AnswerStream(decode)
    shown = "".join(stream.feed(0xFF) for _ in range(3)) + stream.finish()
    assert shown == "\ufffd" * 3


@pytest.mark.parametrize("text, shown", [("a.b", "a"), ("a..", "a"), ("ab", "ab")])
def test_what_follows_a_stop_string_is_gone(text, shown):
    assert run(text, ["."])[1].text == shown
