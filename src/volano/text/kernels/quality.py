"""The Gopher quality statistics: does a document look like prose that people wrote?

Source of all of them: Rae et al. 2021 (Gopher), appendix A.1. What a name leaves open is said in
`quality_statistics`; the thresholds belong to the curate room.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from volano.text.kernels.buffers import Texts, text_buffers
from volano.text.kernels.characters import (
    LETTER,
    SPACE,
    Integer,
    character_at,
    character_classes,
    class_of,
)

Array = npt.NDArray[Any]

QUALITY_STATISTICS = (
    "words",
    "mean_word_characters",
    "hash_word_ratio",
    "ellipsis_word_ratio",
    "bullet_line_fraction",
    "ellipsis_line_fraction",
    "alphabetic_word_fraction",
    "stop_words",
)
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
BULLETS = "-*•‣◦▪–"
_STOP_CODES = np.array([int.from_bytes(word.encode(), "big") for word in STOP_WORDS], np.int64)
_BULLET_CODES = np.array([ord(bullet) for bullet in BULLETS], np.int64)
NEWLINE, HASH, DOT, ELLIPSIS = ord("\n"), ord("#"), ord("."), ord("…")


def quality_statistics(texts: Texts) -> pa.Table:
    """One column per name in QUALITY_STATISTICS, one row per document; null stays null.

    words: runs of characters that are not white space.
    mean_word_characters: characters that are not white space, per word.
    hash_word_ratio, ellipsis_word_ratio: "#", and "..." or "…", per word; may exceed 1.
    bullet_line_fraction: lines whose first character after white space is one of BULLETS, and
    ellipsis_line_fraction: lines that end in "..." or "…" before white space; both out of the
    lines that hold more than white space. Only "\\n" ends a line.
    alphabetic_word_fraction: words with at least one letter.
    stop_words: how many of the eight STOP_WORDS occur, ASCII case and punctuation around them
    left out. A document without words has 0 everywhere.
    """
    bounds, utf8, missing = text_buffers(texts)
    values = np.empty((len(QUALITY_STATISTICS), len(missing)), np.float64)
    _fill_statistics(bounds, utf8, character_classes(), values)
    columns = [pa.array(row, mask=missing) for row in values]
    for name in ("words", "stop_words"):
        place = QUALITY_STATISTICS.index(name)
        columns[place] = columns[place].cast(pa.int64())
    return pa.table(columns, names=list(QUALITY_STATISTICS))


@numba.njit(nogil=True, cache=True)
def _fill_statistics(bounds: Array, utf8: Array, classes: Array, values: Array) -> None:
    for row in range(len(bounds) - 1):
        _fill_row(bounds[row], bounds[row + 1], utf8, classes, values[:, row])


@numba.njit(nogil=True, cache=True)
def _fill_row(start: int, stop: int, utf8: Array, classes: Array, values: Array) -> None:
    words = characters = alphabetic = hashes = ellipses = 0
    lines = bullets = ellipsis_lines = stop_words_seen = 0
    word_start = -1  # none begun
    has_letter = line_begun = line_is_bullet = line_ends_in_ellipsis = False
    dots = 0  # dots in a row up to here
    place = start
    while place <= stop:
        # One line break past the end closes the last word and line.
        code: Integer = NEWLINE
        kind: Integer = SPACE
        length = 1
        if place < stop:
            code, length = character_at(utf8, place)
            kind = class_of(code, classes)
        if kind & SPACE:
            dots = 0
            if word_start >= 0:
                words += 1
                alphabetic += has_letter
                stop_words_seen |= _stop_word_bit(utf8[word_start:place])
                word_start, has_letter = -1, False
            if code == NEWLINE and line_begun:
                lines += 1
                bullets += line_is_bullet
                ellipsis_lines += line_ends_in_ellipsis
                line_begun = False
        else:
            if word_start < 0:
                word_start = place
            if not line_begun:
                line_begun, line_is_bullet = True, _is_bullet(code)
            characters += 1
            has_letter |= kind & LETTER != 0
            hashes += code == HASH
            dots = dots + 1 if code == DOT else 0
            ellipses += code == ELLIPSIS or (dots > 0 and dots % 3 == 0)
            line_ends_in_ellipsis = code == ELLIPSIS or dots >= 3
        place += length
    values[0] = words
    values[1] = characters / max(words, 1)
    values[2] = hashes / max(words, 1)
    values[3] = ellipses / max(words, 1)
    values[4] = bullets / max(lines, 1)
    values[5] = ellipsis_lines / max(lines, 1)
    values[6] = alphabetic / max(words, 1)
    values[7] = _bits(stop_words_seen)


@numba.njit(nogil=True, cache=True)
def _is_bullet(code: Integer) -> bool:
    found = False
    for bullet in _BULLET_CODES:
        found |= code == bullet
    return found


@numba.njit(nogil=True, cache=True)
def _stop_word_bit(word: Array) -> int:
    first, last = 0, len(word)
    while first < last and _is_ascii_punctuation(word[first]):
        first += 1
    while first < last and _is_ascii_punctuation(word[last - 1]):
        last -= 1
    if last - first > 4:  # the longest stop word
        return 0
    code = np.int64(0)
    for byte in word[first:last]:
        code = code << 8 | np.int64(byte | 0x20)  # lower case; letters alone can land on letters
    for place in range(len(_STOP_CODES)):
        if code == _STOP_CODES[place]:
            return 1 << place
    return 0


@numba.njit(nogil=True, cache=True)
def _is_ascii_punctuation(byte: int) -> bool:
    lower = byte | 0x20
    return byte < 0x80 and not (97 <= lower <= 122 or 48 <= byte <= 57)


@numba.njit(nogil=True, cache=True)
def _bits(value: int) -> int:
    count = 0
    while value:
        count += value & 1
        value >>= 1
    return count
