"""Passages of documents, word by word: any run of so many words may be a copy, wherever it begins.

The runs that stand in a corpus twice are what a suffix array of it would show; by their hashes they
are found without one, and in pieces.

Source: Lee et al. 2022, who cut out substrings of 50 tokens or more that stand elsewhere.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from volano.text.kernels.buffers import Texts, text_buffers
from volano.text.kernels.characters import SPACE, character_at, character_classes, class_of
from volano.text.kernels.hashing import FNV_OFFSET, FNV_PRIME, mixed

Array = npt.NDArray[Any]


class SpacedWords(NamedTuple):
    """Words between white space of all texts in one row; those of text i are
    `bounds[i] : bounds[i + 1]`, and word w is `utf8[starts[w] : stops[w]]` of the texts' buffer."""

    hashes: Array  # uint64; case and punctuation count
    starts: Array  # int64
    stops: Array
    bounds: Array


def spaced_words(texts: Texts) -> SpacedWords:
    """The words of each text; null has none."""
    bounds, utf8, missing = text_buffers(texts)
    room = int(bounds[-1] - bounds[0]) // 2 + len(missing) + 1
    hashes, word_bounds = np.empty(room, np.uint64), np.zeros(len(missing) + 1, np.int64)
    starts, stops = np.empty(room, np.int64), np.empty(room, np.int64)
    _fill_words(bounds, utf8, character_classes(), hashes, starts, stops, word_bounds)
    count = word_bounds[-1]
    return SpacedWords(hashes[:count], starts[:count], stops[:count], word_bounds)


def covered_words(runs: Array, back: Array, bounds: Array, *, length: int) -> Array:
    """Which words stand in one of the runs that begin at the words `runs` (sorted), bool.

    back: how many words before a run its first copy begins; 0 where that is in another shard. A run
    that overlaps its own first copy is none: "ha ha ha …" would lose all of itself.
    """
    covered = np.zeros(int(bounds[-1]), bool)
    _cover(runs.astype(np.int64), back.astype(np.int64), bounds, length, covered)
    return covered


def without_words(texts: Texts, words: SpacedWords, gone: Array) -> pa.LargeStringArray:
    """The texts without the words marked in `gone`; with each goes the white space behind it, and
    at the end of a text that before it."""
    bounds, utf8, missing = text_buffers(texts)
    left = np.empty(int(bounds[-1] - bounds[0]), np.uint8)
    left_bounds = np.zeros(len(missing) + 1, np.int64)
    _fill_kept(bounds, utf8, words.starts, words.stops, words.bounds, gone, left, left_bounds)
    found = pa.LargeStringArray.from_buffers(
        len(missing), pa.py_buffer(left_bounds), pa.py_buffer(left[: left_bounds[-1]])
    )
    return pc.if_else(pa.array(~missing), found, None) if missing.any() else found


@numba.njit(nogil=True, cache=True)
def _fill_words(
    bounds: Array,
    utf8: Array,
    classes: Array,
    hashes: Array,
    starts: Array,
    stops: Array,
    word_bounds: Array,
) -> None:
    count = 0
    for row in range(len(word_bounds) - 1):
        place, stop = bounds[row], bounds[row + 1]
        value, inside = FNV_OFFSET, False
        while place < stop:
            code, length = character_at(utf8, place)
            if class_of(code, classes) & SPACE:
                if inside:
                    hashes[count], stops[count] = mixed(value), place
                    count += 1
                    inside = False
            else:
                if not inside:
                    starts[count] = place
                    value, inside = FNV_OFFSET, True
                for byte in range(place, place + length):
                    value = (value ^ np.uint64(utf8[byte])) * FNV_PRIME
            place += length
        if inside:
            hashes[count], stops[count] = mixed(value), stop
            count += 1
        word_bounds[row + 1] = count


@numba.njit(nogil=True, cache=True)
def _cover(runs: Array, back: Array, bounds: Array, length: int, covered: Array) -> None:
    row = 0
    for each in range(len(runs)):
        start = runs[each]
        while bounds[row + 1] <= start:
            row += 1
        overlaps = 0 < back[each] < length and start - back[each] >= bounds[row]
        if not overlaps:
            for word in range(start, start + length):
                covered[word] = True


@numba.njit(nogil=True, cache=True)
def _fill_kept(
    bounds: Array,
    utf8: Array,
    starts: Array,
    stops: Array,
    word_bounds: Array,
    gone: Array,
    left: Array,
    left_bounds: Array,
) -> None:
    size = 0
    for row in range(len(left_bounds) - 1):
        place = bounds[row]
        first, last = word_bounds[row], word_bounds[row + 1]
        word = first
        while word < last:
            if gone[word]:
                start, before = starts[word], word
                while word < last and gone[word]:
                    word += 1
                end = starts[word] if word < last else bounds[row + 1]
                if word == last:
                    start = stops[before - 1] if before > first else bounds[row]
                for byte in range(place, start):
                    left[size] = utf8[byte]
                    size += 1
                place = end
            else:
                word += 1
        for byte in range(place, bounds[row + 1]):
            left[size] = utf8[byte]
            size += 1
        left_bounds[row + 1] = size
