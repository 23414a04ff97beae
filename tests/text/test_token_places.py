import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volano.text.answer_stream import AnswerStream
from volano.text.chat import END
from volano.text.token_places import TokenPlaces
from volano.text.tokenizer import train_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["what is json", "open a file"] * 3, vocabulary=280)


def places_of(tokenizer, ids):
    stream, places = AnswerStream(tokenizer.decode), TokenPlaces(tokenizer)
    found = []
    for each in ids:
        stream.feed(each)
        found.append(places.feed(each))
        if stream.is_whole:
            places.end_text()
    stream.finish()
    return found, stream.text


def test_a_character_of_several_tokens_is_the_place_of_each(tokenizer):
    ids = tokenizer.encode("a😀é!")
    assert [len(tokenizer.bytes_of(each)) for each in ids] == [1] * 8
    assert places_of(tokenizer, ids)[0] == [0, 1, 1, 1, 1, 2, 2, 3]


@pytest.mark.parametrize(
    ("spelt", "places"),
    [
        (b"\xc3!", [0, 1]),
        (b"\xc3\xc3\xa9", [0, 1, 1]),
        (b"\xf0\x9f!", [0, 0, 1]),
        (b"\xc3\xff!", [0, 1, 2]),
        (b"\xed\xa0!", [0, 1, 2]),  # half a surrogate is no character
        (b"\xed\xa0\x80!", [0, 1, 2, 3]),
        (b"\xef\xbf\xbd!", [0, 0, 0, 1]),  # U+FFFD itself, whole
    ],
)
def test_a_character_that_breaks_off_is_one_place(tokenizer, spelt, places):
    ids = {tokenizer.bytes_of(each): each for each in range(tokenizer.vocabulary)}
    assert places_of(tokenizer, [ids[bytes([each])] for each in spelt])[0] == places


def test_a_special_token_makes_no_text(tokenizer):
    (a,) = tokenizer.encode("a")
    assert places_of(tokenizer, [a, tokenizer.special_id(END), a])[0] == [0, None, 1]


@given(data=st.data())
@settings(max_examples=500)
def test_any_tokens_begin_in_order_inside_the_text(tokenizer, data):
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocabulary - 1), max_size=20))
    found, text = places_of(tokenizer, ids)
    begun = [each for each in found if each is not None]
    assert begun == sorted(begun)
    assert set(begun) <= set(range(len(text)))
    assert begun[:1] == [0][: len(begun)]
    # Whatever a token shows alone for certain stands in the text at its place.
    for each, place in zip(ids, found, strict=True):
        alone = tokenizer.decode([each])
        if place is not None and alone.isascii():
            assert text[place:].startswith(alone)
