"""RefinedWeb's line-wise corrections: lines of no content go, and a document with many of them.

Source: Penedo et al. 2023 (RefinedWeb), section 3.3 and appendix G.2, which names the kinds of line
and gives no code; what it leaves open is decided here and said beside the statistics.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from volano.text.kernels.characters import Integer, character_at
from volano.text.kernels.phrases import COUNTED, starts_with

Array = npt.NDArray[Any]
NEWLINE = ord("\n")

# Lines that went, each for the first reason that applies:
# uppercase_lines: more than the given fraction of the letters are capital. numeric_lines: digits
# and no letter. counter_lines: a number and what pages count, such as "3 likes", and nothing else
# but white space and punctuation. one_word_lines: one run between white space.
# Blank lines stay. removed_word_fraction: words of lines that went, out of all.
REFINED_STATISTICS = (
    "uppercase_lines",
    "numeric_lines",
    "counter_lines",
    "one_word_lines",
    "removed_word_fraction",
)
UPPERCASE, NUMERIC, COUNTER, ONE_WORD, FRACTION = range(len(REFINED_STATISTICS))
SPACE, LETTER, UPPER, DIGIT, WORD = 1, 2, 4, 16, 32  # as in forms.form_classes


@numba.njit(nogil=True, cache=True)
def keep_refined(
    bounds: Array,
    utf8: Array,
    classes: Array,
    max_uppercase_fraction: float,
    kept: Array,
    offsets: Array,
    values: Array,
) -> None:
    """Write the lines of each document that stay, one document behind the other."""
    written = np.int64(0)
    for row in range(len(bounds) - 1):
        start, stop = bounds[row], bounds[row + 1]
        total = removed = 0
        first = True
        while True:
            end = start
            while end < stop and utf8[end] != NEWLINE:
                end += 1
            reason, words = _reason(utf8, start, end, classes, max_uppercase_fraction)
            total += words
            if reason >= 0:
                removed += words
                values[row, reason] += 1
            else:
                if not first:
                    kept[written] = NEWLINE
                    written += 1
                first = False
                kept[written : written + end - start] = utf8[start:end]
                written += end - start
            if end >= stop:
                break
            start = end + 1
        values[row, FRACTION] = removed / max(total, 1)
        offsets[row + 1] = written


@numba.njit(nogil=True, cache=True)
def _reason(
    utf8: Array, start: Integer, stop: Integer, classes: Array, max_uppercase_fraction: float
) -> tuple[int, int]:
    words = letters = capitals = digits = 0
    inside = False
    place = start
    while place < stop:
        code, length = character_at(utf8, place)
        kind = classes[code] if code < len(classes) else 0
        if kind & SPACE:
            inside = False
        elif not inside:
            inside = True
            words += 1
        letters += kind & LETTER != 0
        capitals += kind & UPPER != 0 and kind & LETTER != 0
        digits += kind & DIGIT != 0
        place += length
    if letters and capitals > max_uppercase_fraction * letters:
        return UPPERCASE, words
    if digits and not letters:
        return NUMERIC, words
    if digits and _is_counter(utf8, start, stop, classes):
        return COUNTER, words
    if words == 1:
        return ONE_WORD, words
    return -1, words


@numba.njit(nogil=True, cache=True)
def _is_counter(utf8: Array, start: Integer, stop: Integer, classes: Array) -> bool:
    # Letters and digits in order: ASCII digits (with . and , inside), then one of the words.
    place = start
    digits = False
    while place < stop:
        byte = utf8[place]
        if 48 <= byte <= 57:
            digits = True
            place += 1
            continue
        code, length = character_at(utf8, place)
        kind = classes[code] if code < len(classes) else 0
        if kind & WORD:
            break
        place += length
    if not digits:
        return False
    for row in range(len(COUNTED)):
        if starts_with(utf8, place, stop, COUNTED[row]):
            behind = place + np.int64(COUNTED[row, 0])
            alone = True
            while behind < stop:
                code, length = character_at(utf8, behind)
                kind = classes[code] if code < len(classes) else 0
                alone &= kind & WORD == 0
                behind += length
            if alone:
                return True
    return False
