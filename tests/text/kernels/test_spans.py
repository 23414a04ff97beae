import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volano.text.kernels.buffers import text_buffers
from volano.text.kernels.spans import span_hashes, span_places, without_spans

# Few letters make copies likely; "\x85" and "\u3000" are white space of two and three bytes.
documents = st.lists(
    st.none() | st.text(alphabet="aé語\r\n\n\t \x85\u3000", max_size=30), max_size=6
)
BREAK = {"line": r"\n", "paragraph": r"\n(?:[^\S\n]*\n)+(?=[^\S\n]*\S)"}


def plain_spans(text, unit):
    """Spans, and the breaks in front of the second and following ones."""
    if unit == "line":
        spans = text.split("\n")
        return spans, ["\n"] * (len(spans) - 1)
    first = re.search(r"\S", text)
    head = first.start() if first else len(text)  # blank lines at the beginning divide nothing
    spans, breaks, start = [], [], 0
    for found in re.finditer(BREAK[unit], text[head:]):
        spans.append(text[start : head + found.start()])
        breaks.append(found.group())
        start = head + found.end()
    return [*spans, text[start:]], breaks


def plain_without(text, unit, gone):
    spans, breaks = plain_spans(text, unit)
    left = ""
    empty = True
    for span, before, out in zip(spans, ["", *breaks], gone, strict=True):
        if not out:
            left += span if empty else before + span
            empty = False
    return left


@settings(deadline=None, max_examples=100)
@given(documents, st.sampled_from(["line", "paragraph"]), st.integers(0, 2), st.randoms())
def test_spans_and_what_is_left_equal_the_reference_on_any_slice(texts, unit, skipped, chance):
    column = pa.array(texts, pa.large_string()).slice(skipped)
    expected = [plain_spans(text, unit)[0] if text is not None else [] for text in texts[skipped:]]
    found = span_hashes(column, unit)
    assert np.diff(found.bounds).tolist() == [len(spans) for spans in expected]
    flat = [span for spans in expected for span in spans]
    begins, ends, bounds = span_places(column, unit)
    utf8 = text_buffers(column).utf8.tobytes()
    assert [utf8[a:b].decode() for a, b in zip(begins, ends, strict=True)] == flat
    assert bounds.tolist() == found.bounds.tolist()
    assert found.words.tolist() == [len(span.split()) for span in flat]
    bare = [" ".join(span.split()) for span in flat]
    for one, its_hash in zip(bare, found.hashes, strict=True):
        same = [other == its_hash for other in found.hashes]
        assert same == [other == one for other in bare]
    gone = np.array([chance.random() < 0.5 for _ in flat], bool)
    bounds = found.bounds.tolist()
    assert without_spans(column, unit, gone).to_pylist() == [
        None if text is None else plain_without(text, unit, gone[first:last].tolist())
        for text, first, last in zip(texts[skipped:], bounds, bounds[1:], strict=False)
    ]


@pytest.mark.parametrize(
    ("unit", "text", "gone", "left"),
    [
        ("line", "a\nb\nc", [0, 1, 0], "a\nc"),
        ("line", "a\nb\n", [1, 0, 0], "b\n"),
        ("line", "a\nb", [0, 1], "a"),
        ("paragraph", "a\nb\n \n\nc\n\nd", [0, 1, 0], "a\nb\n\nd"),
        ("paragraph", "a\n\nb\n", [1, 0], "b\n"),
        ("paragraph", "a\n\nb", [1, 1], ""),
    ],
)
def test_a_span_goes_with_the_break_in_front_of_it(unit, text, gone, left):
    found = without_spans(pa.array([text]), unit, np.array(gone, bool))
    assert found.to_pylist() == [left]
