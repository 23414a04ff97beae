"""64-bit hashes of bytes, words and documents: equal on every machine, and not for secrets."""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from volano.text.kernels.buffers import Texts, text_buffers
from volano.text.kernels.characters import (
    IDEOGRAPH,
    SPACE,
    WORD,
    character_at,
    character_classes,
    class_of,
)

Array = npt.NDArray[Any]
FNV_OFFSET, FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)  # FNV-1a
SHINGLE_PRIME = np.uint64(0x9E3779B97F4A7C15)  # odd; 2^64 over the golden ratio
MIX_1, MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)  # splitmix64
SHIFT_30, SHIFT_27, SHIFT_31 = np.uint64(30), np.uint64(27), np.uint64(31)


def document_hashes(texts: Texts) -> pa.UInt64Array:
    """A 64-bit hash of each text with runs of white space as one space and none at the ends.

    Case and punctuation count: code that differs in an operator is another document. Among n
    documents two different ones share a hash with probability n² / 2^65. Null stays null.
    """
    bounds, utf8, missing = text_buffers(texts)
    hashes = np.empty(len(missing), np.uint64)
    _fill_document_hashes(bounds, utf8, character_classes(), hashes)
    return pa.array(hashes, mask=missing)


def word_hashes(texts: Texts) -> tuple[Array, Array]:
    """Hashes of all words of all texts in one array, and the bounds of each text in it.

    A word is a run of letters and digits, ASCII letters in lower case; punctuation and white
    space only separate. An ideograph or kana is a word of its own. Null has no words.
    """
    bounds, utf8, missing = text_buffers(texts)
    word_bounds = np.zeros(len(missing) + 1, np.int64)
    # A word takes a byte and, but for ideographs of three bytes, a separator.
    room = int(bounds[-1] - bounds[0]) // 2 + len(missing) + 1
    words = np.empty(room, np.uint64)
    _fill_word_hashes(bounds, utf8, character_classes(), words, word_bounds)
    return words[: word_bounds[-1]], word_bounds


@numba.njit(nogil=True, cache=True, inline="always")
def mixed(value: np.uint64) -> np.uint64:
    """splitmix64's finaliser: every bit of the result depends on every bit of the value."""
    value = (value ^ (value >> SHIFT_30)) * MIX_1
    value = (value ^ (value >> SHIFT_27)) * MIX_2
    return value ^ (value >> SHIFT_31)


@numba.njit(nogil=True, cache=True)
def _fill_document_hashes(bounds: Array, utf8: Array, classes: Array, hashes: Array) -> None:
    for row in range(len(hashes)):
        value, gap = FNV_OFFSET, False
        place, stop = bounds[row], bounds[row + 1]
        while place < stop:
            code, length = character_at(utf8, place)
            if class_of(code, classes) & SPACE:
                gap = value != FNV_OFFSET
            else:
                if gap:
                    value = (value ^ np.uint64(32)) * FNV_PRIME
                    gap = False
                for byte in utf8[place : place + length]:
                    value = (value ^ byte) * FNV_PRIME
            place += length
        hashes[row] = mixed(value)


@numba.njit(nogil=True, cache=True)
def _fill_word_hashes(
    bounds: Array, utf8: Array, classes: Array, words: Array, word_bounds: Array
) -> None:
    count = 0
    for row in range(len(word_bounds) - 1):
        place, stop = bounds[row], bounds[row + 1]
        value = FNV_OFFSET
        inside = False
        while place < stop:
            code, length = character_at(utf8, place)
            kind = class_of(code, classes)
            if inside and (kind & WORD == 0 or kind & IDEOGRAPH):
                words[count] = mixed(value)
                count += 1
                inside = False
                value = FNV_OFFSET
            if kind & WORD:
                if 65 <= code <= 90:  # A to Z
                    value = (value ^ np.uint64(code + 32)) * FNV_PRIME
                else:
                    for byte in utf8[place : place + length]:
                        value = (value ^ byte) * FNV_PRIME
                inside = True
                if kind & IDEOGRAPH:
                    words[count] = mixed(value)
                    count += 1
                    inside = False
                    value = FNV_OFFSET
            place += length
        if inside:
            words[count] = mixed(value)
            count += 1
        word_bounds[row + 1] = count
