"""The Gopher quality statistics: does a document look like prose that people wrote?

Source of all of them: Rae et al. 2021 (Gopher), appendix A.1. What the paper leaves open is decided
as datatrove decides it (see QUALITY_STATISTICS); the thresholds belong to the curate room.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from volano.text.kernels.characters import Integer, character_at
from volano.text.kernels.language import (
    CHARACTERS,
    FLAGS,
    HAS_LETTER,
    HASH_BITS,
    ONLY_SYMBOLS,
    SPACE,
    hash_of,
)

Array = npt.NDArray[Any]

# words: those that are not symbols alone (datatrove's list of punctuation and control characters).
# mean_word_characters: characters of these words.
# hash_word_ratio, ellipsis_word_ratio: "#", and "..." or "…", per word, words of symbols included;
# may exceed 1.
# bullet_line_fraction: lines that begin with "•" or "-" behind white space; ellipsis_line_fraction:
# lines that end in "..." or "…" before white space. All line breaks of Unicode count, and so do
# empty lines.
# alphabetic_word_fraction: words with at least one letter, out of all.
# stop_words: how many of the eight STOP_WORDS occur, in small letters.
# A document without words has 0 everywhere.
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
NEWLINE, RETURN, HASH, DOT, DASH = b"\n\r#.-"
_STOP_HASHES = np.array([hash_of(word) for word in STOP_WORDS], np.uint64).view(np.int64)
_LONGEST_STOP_WORD = max(map(len, STOP_WORDS))


_BREAKS = np.zeros(256, np.bool_)  # bytes that may end a line, alone or as the last of two or three
_BREAKS[[10, 11, 12, 13, 0x1C, 0x1D, 0x1E, 0x85, 0xA8, 0xA9]] = True


@numba.njit(nogil=True, cache=True)
def line_end(text: Array, start: Integer) -> tuple[Integer, Integer]:
    """Where the line that begins at `start` ends, and where the next begins, as str.splitlines
    has it."""
    for place in range(start, len(text)):
        byte = text[place]
        if not _BREAKS[byte]:
            continue
        if byte < 0x80:
            two = byte == RETURN and place + 1 < len(text) and text[place + 1] == NEWLINE
            return place, place + 1 + two
        if byte == 0x85 and place > start and text[place - 1] == 0xC2:
            return place - 1, place + 1
        if byte < 0xA8 or place < start + 2:
            continue
        if text[place - 1] == 0x80 and text[place - 2] == 0xE2:  # U+2028 and U+2029
            return place - 2, place + 1
    return len(text), len(text)


@numba.njit(nogil=True, cache=True)
def fill_quality(text: Array, words: Array, count: Integer, classes: Array, values: Array) -> None:
    """The statistics of one document with `count` words, in the order of QUALITY_STATISTICS."""
    if count == 0:
        return
    spoken = characters = alphabetic = seen = 0
    for place in range(count):
        flags = words[place, FLAGS]
        if flags & ONLY_SYMBOLS == 0:
            spoken += 1
            characters += words[place, CHARACTERS]
        if flags & HAS_LETTER:
            alphabetic += 1
            if words[place, CHARACTERS] <= _LONGEST_STOP_WORD:
                seen |= _stop_word_bit(words[place, HASH_BITS])
    hashes, ellipses, lines, bullets, ellipsis_lines = _count_marks(text, classes)
    values[0] = spoken
    values[1] = characters / max(spoken, 1)
    values[2] = hashes / count
    values[3] = ellipses / count
    values[4] = bullets / max(lines, 1)
    values[5] = ellipsis_lines / max(lines, 1)
    values[6] = alphabetic / count
    stop_words = 0
    while seen:
        stop_words += seen & 1
        seen >>= 1
    values[7] = stop_words


@numba.njit(nogil=True, cache=True)
def _stop_word_bit(value: Integer) -> int:
    for place in range(len(_STOP_HASHES)):
        if value == _STOP_HASHES[place]:
            return 1 << place
    return 0


@numba.njit(nogil=True, cache=True)
def _count_marks(text: Array, classes: Array) -> tuple[Integer, Integer, Integer, Integer, Integer]:
    hashes = ellipses = dots = 0
    for place in range(len(text)):
        hashes += text[place] == HASH
    for place in range(len(text) - 2):
        triple = text[place] == 0xE2 and text[place + 1] == 0x80 and text[place + 2] == 0xA6
        ellipses += triple
    for byte in text:
        dots = dots + 1 if byte == DOT else 0
        if dots == 3:
            ellipses += 1
            dots = 0
    lines = bullets = ellipsis_lines = 0
    start: Integer = np.int64(0)
    while start < len(text):
        end, following = line_end(text, start)
        first, last = stripped(text[start:end], classes)
        line = text[start + first : start + last]
        lines += 1
        bullets += _starts_bullet(line)
        ellipsis_lines += _ends_ellipsis(line)
        start = following
    return hashes, ellipses, lines, bullets, ellipsis_lines


@numba.njit(nogil=True, cache=True)
def _starts_bullet(line: Array) -> bool:
    if len(line) and line[0] == DASH:
        return True
    return bool(len(line) > 2 and line[0] == 0xE2 and line[1] == 0x80 and line[2] == 0xA2)


@numba.njit(nogil=True, cache=True)
def _ends_ellipsis(line: Array) -> bool:
    if len(line) < 3:
        return False
    if line[-1] == DOT:
        return bool(line[-2] == DOT and line[-3] == DOT)
    return bool(line[-1] == 0xA6 and line[-2] == 0x80 and line[-3] == 0xE2)


@numba.njit(nogil=True, cache=True)
def stripped(text: Array, classes: Array) -> tuple[Integer, Integer]:
    """Where the text begins and ends without white space around it."""
    start, stop = 0, len(text)
    while start < stop:
        code, length = character_at(text, start)
        if code >= len(classes) or classes[code] & SPACE == 0:
            break
        start += length
    while stop > start:
        begin = stop - 1
        while begin > start and (text[begin] & 0xC0) == 0x80:
            begin -= 1
        code, length = character_at(text, begin)
        if code >= len(classes) or classes[code] & SPACE == 0:
            break
        stop = begin
    return start, stop
