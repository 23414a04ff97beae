"""The words of a list where a kernel and plain Python find them."""

import re

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from volano.text.kernels.known_words import LETTERS, known_words, word_table
from volano.text.personal import names, places

LIST = {"John": 1, "Łukasz": 1, "name": 2, "Ạn": 4}
ENDINGS = {"straße": 8, "vej": 8}
pieces = st.sampled_from([*LIST, "vej", "Hauptstraße", "Hestevej", "s", "é", "“", " ", "-", "1"])


def by_python(text):
    """Byte places and flags."""
    found = []
    for match in re.finditer(f"[{LETTERS}]+", text):
        flag = LIST.get(match[0], 0)
        for ending, its_flag in ENDINGS.items():
            if (
                match[0].endswith(ending)
                and match[0] != ending
                and not flag
                and not "a" <= match[0][0] <= "z"
            ):
                flag = its_flag
        if flag:
            found.append((len(text[: match.start()].encode()), flag))
    return found


@settings(deadline=None, max_examples=300)
@given(st.lists(st.lists(pieces, max_size=8).map("".join) | st.text(max_size=30), max_size=4))
@example(["\U00010300ÀJohn", "\u1e80"])
def test_kernel_finds_what_python_finds(texts):
    found = known_words(pa.array(texts, pa.large_string()), word_table(LIST, ENDINGS), 15)
    expected = [(row, *each) for row, text in enumerate(texts) for each in by_python(text)]
    assert [tuple(map(int, each)) for each in zip(*found, strict=True)] == expected


def test_only_the_wanted_flags_are_found():
    found = known_words(pa.array(["John, name"]), word_table(LIST), 2)
    assert found.places.tolist() == [6]


texts = st.lists(
    st.sampled_from(
        ["Dr. ", "Ann ", "Smith ", "my name is ", "Łukasz ", "Dear ", "é", "Will ", "12 ", "High ",
         "Street ", "Rua do Sol 5", "Hauptstraße 3", "lives at ", ", ", "\n", "Apt. 3",
         "P.O. Box 7"]
    ),
    max_size=8,
).map("".join)  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(texts)
def test_a_column_gives_what_the_whole_text_gives(text):
    from volano.text.pii import find_spans_in

    column = find_spans_in(pa.array(["é", text]), ["person_name"]).get(1, [])
    assert [span[:2] for span in column] == list(names.person_names(text))
    column = find_spans_in(pa.array(["é", text]), ["street_address"]).get(1, [])
    assert [span[:2] for span in column] == list(places.street_addresses(text))
