"""How much of a document repeats what it has already said.

Repeated lines mark boilerplate, and teach a model to loop. The kernel reads Arrow's own
buffers, so no document ever becomes a Python string.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from volano.text.kernels.buffers import Texts, text_buffers
from volano.text.kernels.characters import SPACE, Integer, character_at, character_classes, class_of
from volano.text.kernels.hashing import FNV_OFFSET, FNV_PRIME, SHINGLE_PRIME, mixed

NEWLINE = ord("\n")
Array = npt.NDArray[Any]

REPETITION_STATISTICS = (
    "duplicate_line_fraction",
    "duplicate_paragraph_fraction",
    "duplicate_line_character_fraction",
    "duplicate_paragraph_character_fraction",
    "top_2_gram_fraction",
    "top_3_gram_fraction",
    "top_4_gram_fraction",
    "duplicate_5_gram_fraction",
    "duplicate_6_gram_fraction",
    "duplicate_7_gram_fraction",
    "duplicate_8_gram_fraction",
    "duplicate_9_gram_fraction",
    "duplicate_10_gram_fraction",
)
LONGEST_TOP, LONGEST_DUPLICATE = 4, 10  # words


def duplicate_line_fraction(texts: Texts) -> pa.DoubleArray:
    """Fraction of each document's characters that stand in a line seen earlier in it.

    One document per row in, one number in [0, 1] per row out; null stays null and the empty
    document scores 0. Only "\\n" ends a line. Every copy after the first counts; line breaks
    count in the whole but never as repeated. Raises DataError if `texts` holds no strings.

    Source: Rae et al. 2021 (Gopher), table A1, which drops documents above 0.20.
    """
    bounds, utf8, missing = text_buffers(texts)
    fractions = np.empty(len(missing), np.float64)
    _fill_fractions(bounds, utf8, fractions)
    return pa.array(fractions, mask=missing)


@numba.njit(nogil=True, cache=True)  # nogil: the engine runs row groups on a thread pool
def _fill_fractions(bounds: Array, utf8: Array, fractions: Array) -> None:
    for row in range(len(fractions)):
        repeated, characters = _count_characters(utf8[bounds[row] : bounds[row + 1]])
        fractions[row] = repeated / max(characters, 1)


@numba.njit(nogil=True, cache=True)
def _count_characters(text: Array) -> tuple[int, int]:
    # A line is known by its 64-bit hash: two of a document collide once in 10^19 pairs.
    seen = set()
    repeated = characters = start = 0
    while start < len(text):
        stop, line_hash, line_characters = start, FNV_OFFSET, 0
        while stop < len(text) and text[stop] != NEWLINE:
            line_hash = (line_hash ^ text[stop]) * FNV_PRIME
            line_characters += (text[stop] & 0xC0) != 0x80  # continuation bytes begin no character
            stop += 1
        if line_hash in seen:
            repeated += line_characters
        seen.add(line_hash)
        characters += line_characters + (stop < len(text))
        start = stop + 1
    return repeated, characters


def repetition_statistics(texts: Texts) -> pa.Table:
    """One column per name in REPETITION_STATISTICS, one row per document; null stays null.

    All are fractions in [0, 1]; the empty document has 0 everywhere. A copy is what equals
    something earlier in the same document, byte for byte, and the first never counts.

    duplicate_line_fraction: lines that are copies, out of all lines; "\\n" ends a line and
    empty lines count as neither. duplicate_paragraph_fraction: the same for paragraphs, which
    two or more "\\n" in a row separate.
    duplicate_line_character_fraction, duplicate_paragraph_character_fraction: characters in
    those copies, out of all characters of the document.
    top_N_gram_fraction: characters in all occurrences of the most frequent run of N words, one
    space between words counted, out of all characters; 0 where no run occurs twice. Of equally
    frequent runs the longest counts; occurrences may overlap, so the result is cut at 1.
    duplicate_N_gram_fraction: characters (spaces not counted) in runs of N words that are
    copies, out of all characters. Read from the start: after a copy the reading goes on behind it,
    so no word counts twice. A word is a run of characters that are not white space.

    Source: Rae et al. 2021 (Gopher), table A1; n-grams as datatrove counts them.
    """
    bounds, utf8, missing = text_buffers(texts)
    values = np.zeros((len(REPETITION_STATISTICS), len(missing)), np.float64)
    _fill_repetition(bounds, utf8, character_classes(), values)
    columns = [pa.array(row, mask=missing) for row in values]
    return pa.table(columns, names=list(REPETITION_STATISTICS))


@numba.njit(nogil=True, cache=True)
def _fill_repetition(bounds: Array, utf8: Array, classes: Array, values: Array) -> None:
    longest = 0
    for row in range(len(bounds) - 1):
        longest = max(longest, bounds[row + 1] - bounds[row])
    room = longest // 2 + 2  # words, and lines, take a byte and a separator each
    hashes, grams = np.empty(room, np.uint64), np.empty(room, np.uint64)
    before = np.empty(room + 1, np.int64)  # characters in the words before each word
    # An open-addressing table for all counts. `used` says which count a slot belongs to, so that
    # nothing is cleared between them, and a short document touches a short part only.
    slots = 4
    while slots < 2 * room:
        slots *= 2
    keys, counts = np.empty(slots, np.uint64), np.empty(slots, np.int64)
    used = np.zeros(slots, np.int64)
    turn = 0
    for row in range(len(bounds) - 1):
        text = utf8[bounds[row] : bounds[row + 1]]
        if len(text) == 0:
            continue
        mask = 3
        while mask < len(text) + 4:
            mask = mask * 2 + 1
        mask = min(mask, slots - 1)
        words, characters = _read_words(text, classes, hashes, before)
        for breaks in (1, 2):  # lines, then paragraphs
            turn += 1
            pieces, copies, copied = _count_pieces(text, breaks, keys, counts, used, turn, mask)
            values[breaks - 1, row] = copies / max(pieces, 1)
            values[breaks + 1, row] = copied / characters
        grams[:words] = hashes[:words]
        for length in range(2, min(LONGEST_DUPLICATE, words) + 1):
            turn += 1
            runs = words - length + 1
            for place in range(runs):
                grams[place] = grams[place] * SHINGLE_PRIME + hashes[place + length - 1]
            if length <= LONGEST_TOP:
                found = _top(grams[:runs], before, length, keys, counts, used, turn, mask)
            else:
                found = _copied(grams[:runs], before, length, keys, counts, used, turn, mask)
            values[length + 2, row] = min(found / characters, 1.0)


@numba.njit(nogil=True, cache=True)
def _count_seen(
    key: np.uint64, keys: Array, counts: Array, used: Array, turn: int, mask: int
) -> Integer:
    # How often the key has been seen in this turn, this time included.
    slot = np.int64(mixed(key) & np.uint64(mask))
    while used[slot] == turn and keys[slot] != key:
        slot = (slot + 1) & mask
    if used[slot] != turn:
        used[slot], keys[slot], counts[slot] = turn, key, 0
    counts[slot] += 1
    return np.int64(counts[slot])


@numba.njit(nogil=True, cache=True)
def _read_words(text: Array, classes: Array, hashes: Array, before: Array) -> tuple[int, int]:
    words = characters = in_words = place = 0
    value, inside = FNV_OFFSET, False
    before[0] = 0
    while place < len(text):
        code, length = character_at(text, place)
        characters += 1
        if class_of(code, classes) & SPACE == 0:
            for byte in text[place : place + length]:
                value = (value ^ byte) * FNV_PRIME
            in_words += 1
            inside = True
        elif inside:
            hashes[words] = mixed(value)
            words += 1
            before[words] = in_words
            value, inside = FNV_OFFSET, False
        place += length
    if inside:
        hashes[words] = mixed(value)
        words += 1
        before[words] = in_words
    return words, characters


@numba.njit(nogil=True, cache=True)
def _count_pieces(
    text: Array, breaks: int, keys: Array, counts: Array, used: Array, turn: int, mask: int
) -> tuple[int, int, int]:
    # Pieces between `breaks` or more line breaks: how many, how many copies, their characters.
    pieces = copies = copied = 0
    place = 0
    while place < len(text):
        if text[place] == NEWLINE:
            place += 1
            continue
        value, characters = FNV_OFFSET, 0
        while place < len(text):
            if text[place] == NEWLINE and (
                breaks == 1 or place + 1 == len(text) or text[place + 1] == NEWLINE
            ):
                break
            value = (value ^ text[place]) * FNV_PRIME
            characters += (text[place] & 0xC0) != 0x80
            place += 1
        pieces += 1
        if _count_seen(value, keys, counts, used, turn, mask) > 1:
            copies += 1
            copied += characters
    return pieces, copies, copied


@numba.njit(nogil=True, cache=True)
def _top(
    grams: Array,
    before: Array,
    length: int,
    keys: Array,
    counts: Array,
    used: Array,
    turn: int,
    mask: int,
) -> Integer:
    most: Integer = 0
    longest: Integer = 0
    for place in range(len(grams)):
        count = _count_seen(grams[place], keys, counts, used, turn, mask)
        characters = before[place + length] - before[place] + length - 1
        if count > most or (count == most and characters > longest):
            most, longest = count, characters
    return most * longest if most > 1 else 0


@numba.njit(nogil=True, cache=True)
def _copied(
    grams: Array,
    before: Array,
    length: int,
    keys: Array,
    counts: Array,
    used: Array,
    turn: int,
    mask: int,
) -> int:
    characters = place = 0
    while place < len(grams):
        if _count_seen(grams[place], keys, counts, used, turn, mask) > 1:
            characters += before[place + length] - before[place]
            place += length
        else:
            place += 1
    return characters
