"""Lines of a document, and FineWeb's statistics of them: lists, navigation and boilerplate show in
how lines end and repeat.

Source: Penedo et al. 2024 (FineWeb), section 3.3, and datatrove's filter, which says the rest.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from volano.text.kernels.characters import Integer, character_at
from volano.text.kernels.counting import count_key, new_count
from volano.text.kernels.hashing import SHINGLE_PRIME, mixed
from volano.text.kernels.language import SPACE, TERMINAL

NEWLINE = ord("\n")
Array = npt.NDArray[Any]

# Only "\n" ends a line, and lines of nothing but white space do not count.
# terminal_line_fraction: lines whose very last character ends a sentence in some script.
# short_line_fraction: lines of at most so many characters as the caller names.
# copied_line_character_fraction: characters in lines that equal an earlier one, of all characters
# but line breaks.
# newline_word_ratio: line breaks per word.
# A document without such lines has 0 everywhere.
LINE_STATISTICS = (
    "terminal_line_fraction",
    "short_line_fraction",
    "copied_line_character_fraction",
    "newline_word_ratio",
)
# Columns of the lines of a document: bits of a hash, characters, and whether it is blank.
LINE_HASH, LINE_CHARACTERS, LINE_KIND = range(3)
BLANK, ENDS = 1, 2


def lines_of(room: int) -> Array:
    """Space for the lines of a document of `room` bytes."""
    return np.empty((room + 1, 3), np.int64)


@numba.njit(nogil=True, cache=True, inline="always")
def _eight(text: Array, place: Integer) -> np.uint64:
    value = np.uint64(0)
    for byte in range(8):
        value |= np.uint64(text[place + byte]) << np.uint64(8 * byte)
    return value


@numba.njit(nogil=True, cache=True)
def hash_span(text: Array, start: Integer, stop: Integer) -> np.uint64:
    """A hash of some bytes, eight at a time."""
    place = start
    value = np.uint64(stop - start)
    while place + 8 <= stop:
        value = mixed(value ^ _eight(text, place)) * SHINGLE_PRIME
        place += 8
    rest = np.uint64(0)
    while place < stop:
        rest = rest << np.uint64(8) | np.uint64(text[place])
        place += 1
    return mixed(value ^ rest)


@numba.njit(nogil=True, cache=True)
def read_lines(text: Array, classes: Array, lines: Array) -> Integer:
    """The lines of a document, of which there is one more than line breaks."""
    count = start = 0
    while True:
        stop, characters = start, 0
        while stop < len(text) and text[stop] != NEWLINE:
            characters += (text[stop] & 0xC0) != 0x80  # continuation bytes begin no character
            stop += 1
        lines[count, LINE_HASH] = np.int64(hash_span(text, start, stop))
        lines[count, LINE_CHARACTERS] = characters
        lines[count, LINE_KIND] = _kind(text, start, stop, classes)
        count += 1
        if stop >= len(text):
            return count
        start = stop + 1


@numba.njit(nogil=True, cache=True)
def _kind(text: Array, start: Integer, stop: Integer, classes: Array) -> int:
    place = start
    while place < stop:
        code, length = character_at(text, place)
        if code >= len(classes) or classes[code] & SPACE == 0:
            break
        place += length
    if place >= stop:
        return BLANK
    place = stop - 1
    while (text[place] & 0xC0) == 0x80:
        place -= 1
    code, length = character_at(text, place)
    return ENDS if code < len(classes) and classes[code] & TERMINAL else 0


@numba.njit(nogil=True, cache=True)
def fill_lines(
    lines: Array,
    line_count: Integer,
    words: Integer,
    short_characters: int,
    table: Array,
    firsts: Array,
    turn: Array,
    values: Array,
) -> None:
    """The statistics of one document with so many lines and words, in the order of
    LINE_STATISTICS."""
    mask = new_count(line_count, table, turn)
    spoken = terminal = short = copied = characters = 0
    for place in range(line_count):
        size, kind = lines[place, LINE_CHARACTERS], lines[place, LINE_KIND]
        characters += size
        if kind & BLANK:
            continue
        spoken += 1
        terminal += kind & ENDS != 0
        short += size <= short_characters
        key = np.uint64(lines[place, LINE_HASH])
        if count_key(key, place, table, firsts, turn, mask)[0] > 1:
            copied += size
    if spoken == 0:
        return
    values[0] = terminal / spoken
    values[1] = short / spoken
    values[2] = copied / characters
    values[3] = (line_count - 1) / max(words, 1)
