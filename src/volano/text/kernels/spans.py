"""Lines and paragraphs of documents: their hashes, and documents without some of them.

What stands in a thousand documents (a menu, a licence, a notice on cookies) is learnt once; the
spans tell by their hashes alone which are copies, and come out of the text by their places.
"""

from typing import Any, Literal, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from volano.text.kernels.buffers import Texts, text_buffers
from volano.text.kernels.characters import SPACE, Integer, character_at, character_classes, class_of
from volano.text.kernels.hashing import FNV_OFFSET, FNV_PRIME, mixed

Array = npt.NDArray[Any]
NEWLINE = ord("\n")
Unit = Literal["line", "paragraph"]


class Spans(NamedTuple):
    """Spans of all texts in one row; those of text i are `bounds[i] : bounds[i + 1]`."""

    hashes: Array  # uint64, of the span with runs of white space as one space, none at the ends
    words: Array  # int64, runs of characters between white space
    bounds: Array  # int64, one more than there are texts


def span_hashes(texts: Texts, unit: Unit) -> Spans:
    """The lines or paragraphs of each text; null has none, and the empty text one without words.

    Only "\\n" ends a line. A paragraph ends at one or more lines of nothing but white space;
    such lines at the ends of a text are part of its first or last paragraph.
    """
    bounds, utf8, missing = text_buffers(texts)
    breaks = _breaks(bounds, utf8)
    room = breaks + len(missing)
    hashes, words = np.empty(room, np.uint64), np.empty(room, np.int64)
    span_bounds = np.zeros(len(missing) + 1, np.int64)
    _fill_spans(
        bounds, utf8, missing, unit == "paragraph", character_classes(), hashes, words, span_bounds
    )
    return Spans(hashes[: span_bounds[-1]], words[: span_bounds[-1]], span_bounds)


def span_places(texts: Texts, unit: Unit) -> tuple[Array, Array, Array]:
    """Where each span begins and ends, in bytes of the column, and the bounds as in Spans."""
    bounds, utf8, missing = text_buffers(texts)
    room = _breaks(bounds, utf8) + len(missing)
    begins, ends = np.empty(room, np.int64), np.empty(room, np.int64)
    span_bounds = np.zeros(len(missing) + 1, np.int64)
    _fill_places(
        bounds, utf8, missing, unit == "paragraph", character_classes(), begins, ends, span_bounds
    )
    return begins[: span_bounds[-1]], ends[: span_bounds[-1]], span_bounds


def without_spans(texts: Texts, unit: Unit, gone: Array) -> pa.LargeStringArray:
    """The texts without the spans marked in `gone` (bool, one per span of `span_hashes`).

    A span goes with the break in front of it; the first one that is left begins the text.
    """
    bounds, utf8, missing = text_buffers(texts)
    left = np.empty(int(bounds[-1] - bounds[0]), np.uint8)
    left_bounds = np.zeros(len(missing) + 1, np.int64)
    _fill_left(
        bounds, utf8, missing, unit == "paragraph", character_classes(), gone, left, left_bounds
    )
    buffers = [None, pa.py_buffer(left_bounds), pa.py_buffer(left[: left_bounds[-1]])]
    found = pa.LargeStringArray.from_buffers(len(missing), buffers[1], buffers[2])
    return pc.if_else(pa.array(~missing), found, None) if missing.any() else found


@numba.njit(nogil=True, cache=True)
def _breaks(bounds: Array, utf8: Array) -> int:
    count = 0
    for place in range(bounds[0], bounds[-1]):
        count += utf8[place] == NEWLINE
    return count


@numba.njit(nogil=True, cache=True)
def _span_end(
    utf8: Array, start: Integer, stop: Integer, by_paragraph: bool, classes: Array
) -> tuple[Integer, Integer]:
    """Where the span that begins at `start` ends, and where the next one begins: behind `stop`
    if there is none."""
    seen = False  # a character that is no white space
    place = start
    while place < stop:
        code, length = character_at(utf8, place)
        if code != NEWLINE:
            seen = seen or class_of(code, classes) & SPACE == 0
            place += length
            continue
        if not by_paragraph:
            return place, place + 1
        end, line, lines = place, place + 1, 0
        while seen:  # over lines of white space to the beginning of the next line with a word
            ahead = line
            while ahead < stop:
                code, length = character_at(utf8, ahead)
                if code == NEWLINE or class_of(code, classes) & SPACE == 0:
                    break
                ahead += length
            if ahead >= stop:
                return stop, stop + 1
            if utf8[ahead] != NEWLINE:
                if lines:
                    return end, line
                break
            lines += 1
            line = ahead + 1
        place += 1
    return stop, stop + 1


@numba.njit(nogil=True, cache=True)
def _hash_of(utf8: Array, start: Integer, stop: Integer, classes: Array) -> tuple[np.uint64, int]:
    value, words, inside = FNV_OFFSET, 0, False
    place = start
    while place < stop:
        code, length = character_at(utf8, place)
        if class_of(code, classes) & SPACE:
            inside = False
        else:
            if not inside:
                if words:
                    value = (value ^ np.uint64(32)) * FNV_PRIME
                words += 1
                inside = True
            for byte in range(place, place + length):
                value = (value ^ np.uint64(utf8[byte])) * FNV_PRIME
        place += length
    return mixed(value), words


@numba.njit(nogil=True, cache=True)
def _fill_spans(
    bounds: Array,
    utf8: Array,
    missing: Array,
    by_paragraph: bool,
    classes: Array,
    hashes: Array,
    words: Array,
    span_bounds: Array,
) -> None:
    count = 0
    for row in range(len(missing)):
        start, stop = bounds[row], bounds[row + 1]
        while start <= stop and not missing[row]:
            end, following = _span_end(utf8, start, stop, by_paragraph, classes)
            hashes[count], words[count] = _hash_of(utf8, start, end, classes)
            count += 1
            start = following
        span_bounds[row + 1] = count


@numba.njit(nogil=True, cache=True)
def _fill_places(
    bounds: Array,
    utf8: Array,
    missing: Array,
    by_paragraph: bool,
    classes: Array,
    begins: Array,
    ends: Array,
    span_bounds: Array,
) -> None:
    count = 0
    for row in range(len(missing)):
        start, stop = bounds[row], bounds[row + 1]
        while start <= stop and not missing[row]:
            end, following = _span_end(utf8, start, stop, by_paragraph, classes)
            begins[count], ends[count] = start, end
            count += 1
            start = following
        span_bounds[row + 1] = count


@numba.njit(nogil=True, cache=True)
def _fill_left(
    bounds: Array,
    utf8: Array,
    missing: Array,
    by_paragraph: bool,
    classes: Array,
    gone: Array,
    left: Array,
    left_bounds: Array,
) -> None:
    count = size = 0
    for row in range(len(missing)):
        start, stop = bounds[row], bounds[row + 1]
        last_end, empty = start, True
        while start <= stop and not missing[row]:
            end, following = _span_end(utf8, start, stop, by_paragraph, classes)
            if not gone[count]:
                begin = start if empty else last_end  # with the break in front of it
                for place in range(begin, end):
                    left[size] = utf8[place]
                    size += 1
                empty = False
            last_end = end
            count += 1
            start = following
        left_bounds[row + 1] = size
