"""How much of a document repeats what it has already said.

Repeated lines mark boilerplate, and teach a model to loop. Source: Rae et al. 2021 (Gopher), table
A1; what it leaves open is decided as datatrove decides it, but for runs of words: copies have the
same words, and not only the same letters.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from volano.text.kernels.characters import Integer
from volano.text.kernels.counting import count_key, new_count
from volano.text.kernels.hashing import SHINGLE_PRIME
from volano.text.kernels.language import CHARACTERS, HASH_BITS
from volano.text.kernels.lines import LINE_CHARACTERS, LINE_HASH, hash_span
from volano.text.kernels.quality import stripped

NEWLINE = ord("\n")
Array = npt.NDArray[Any]

# All are fractions of what stands behind "of"; the empty document has 0 everywhere. A copy equals
# something earlier in the same document, byte for byte, and the first never counts.
# duplicate_line_fraction: copies, of all lines; "\n" ends a line, several in a row end one, and
# what stands before a first or behind a last line break is a line too, if an empty one.
# duplicate_paragraph_fraction: the same for paragraphs, which two or more "\n" in a row separate;
# white space around the document does not count.
# duplicate_line_character_fraction, duplicate_paragraph_character_fraction: characters in those
# copies, of all characters of the document.
# top_N_gram_fraction: characters in all occurrences of the most frequent run of N words, one space
# between words counted, of all characters. Of equally frequent runs the first counts, occurrences
# may overlap (the result is cut at 1), and a run counts from the number of occurrences on that the
# caller names.
# duplicate_N_gram_fraction: characters (spaces not counted) in runs of N words that are copies, of
# all characters. Read from the start: after a copy the reading goes on behind it, so no word counts
# twice.
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


def grams_of(room: int) -> tuple[Array, Array, Array]:
    """Scratch for up to `room` words: hashes of runs that begin there, characters in the words
    before, and whether the run occurs twice."""
    return np.empty(room + 1, np.uint64), np.empty(room + 1, np.int64), np.empty(room + 1, np.bool_)


@numba.njit(nogil=True, cache=True)
def fill_repetition(
    text: Array,
    words: Array,
    count: Integer,
    lines: Array,
    line_count: Integer,
    classes: Array,
    fewest_top: int,
    table: Array,
    firsts: Array,
    turn: Array,
    hashes: Array,
    before: Array,
    repeated: Array,
    values: Array,
) -> None:
    """The statistics of one document with `count` words, in the order of REPETITION_STATISTICS."""
    if len(text) == 0:
        return
    characters = line_count - 1
    for line in range(line_count):
        characters += lines[line, LINE_CHARACTERS]
    pieces, copies, copied = _count_lines(lines, line_count, table, firsts, turn)
    values[0] = copies / pieces
    values[2] = copied / characters
    start, stop = stripped(text, classes)
    pieces, copies, copied = _count_paragraphs(text[start:stop], line_count, table, firsts, turn)
    values[1] = copies / pieces
    values[3] = copied / characters
    total = 0
    for place in range(count):
        hashes[place], before[place] = np.uint64(words[place, HASH_BITS]), total
        total += words[place, CHARACTERS]
        repeated[place] = True
    before[count] = total
    # A run of words is only there twice if the shorter run that it begins with is.
    candidates = count
    for length in range(2, min(LONGEST_DUPLICATE, count) + 1):
        runs = count - length + 1
        candidates, most, first = _find_repeated(
            words, runs, length, candidates, table, firsts, turn, hashes, repeated
        )
        if length <= LONGEST_TOP:
            found = before[first + length] - before[first] + length - 1
            values[length + 2] = min(most * found / characters, 1.0) if most >= fewest_top else 0
        elif candidates:
            found = _copied(runs, before, length, candidates, table, firsts, turn, hashes, repeated)
            values[length + 2] = min(found / characters, 1.0)
        else:
            break


@numba.njit(nogil=True, cache=True)
def _count_lines(
    lines: Array, line_count: Integer, table: Array, firsts: Array, turn: Array
) -> tuple[Integer, Integer, Integer]:
    # Lines between one or more line breaks: how many, how many copies, their characters. An empty
    # one counts only before the first break and behind the last.
    mask = new_count(line_count, table, turn)
    pieces = copies = copied = 0
    for line in range(line_count):
        size = lines[line, LINE_CHARACTERS]
        if size == 0 and 0 < line < line_count - 1:
            continue
        pieces += 1
        key = np.uint64(lines[line, LINE_HASH])
        if count_key(key, line, table, firsts, turn, mask)[0] > 1:
            copies += 1
            copied += size
    return pieces, copies, copied


@numba.njit(nogil=True, cache=True)
def _count_paragraphs(
    text: Array, most: Integer, table: Array, firsts: Array, turn: Array
) -> tuple[Integer, Integer, Integer]:
    # Pieces between two or more line breaks in a row, of a text that has none at its ends.
    mask = new_count(most, table, turn)
    pieces = copies = copied = start = 0
    while True:
        stop, characters = start, 0
        while stop < len(text):
            if text[stop] == NEWLINE and stop + 1 < len(text) and text[stop + 1] == NEWLINE:
                break
            characters += (text[stop] & 0xC0) != 0x80  # continuation bytes begin no character
            stop += 1
        value = hash_span(text, start, stop)
        pieces += 1
        if count_key(value, pieces, table, firsts, turn, mask)[0] > 1:
            copies += 1
            copied += characters
        while stop < len(text) and text[stop] == NEWLINE:
            stop += 1
        if stop >= len(text):
            return pieces, copies, copied
        start = stop


@numba.njit(nogil=True, cache=True)
def _find_repeated(
    words: Array,
    runs: Integer,
    length: int,
    candidates: Integer,
    table: Array,
    firsts: Array,
    turn: Array,
    hashes: Array,
    repeated: Array,
) -> tuple[Integer, Integer, Integer]:
    # Marks which runs of `length` words occur twice or more, of those whose runs of one word less
    # do: how many, how often the most frequent one occurs, and where it is first.
    mask = new_count(candidates, table, turn)
    most: Integer = np.int64(1)
    first: Integer = 0
    found = 0
    for place in range(runs):
        # Both runs that it is made of; the mark of the next has not been changed yet.
        if not (repeated[place] and repeated[place + 1]):
            repeated[place] = False
            continue
        repeated[place] = False
        last = np.uint64(words[place + length - 1, HASH_BITS])
        hashes[place] = hashes[place] * SHINGLE_PRIME + last
        times, met = count_key(hashes[place], place, table, firsts, turn, mask)
        if times > 1:
            found += 1 if repeated[met] else 2
            repeated[met] = repeated[place] = True
            if times > most or (times == most and met < first):
                most, first = times, met
    return found, most, first


@numba.njit(nogil=True, cache=True)
def _copied(
    runs: Integer,
    before: Array,
    length: int,
    candidates: Integer,
    table: Array,
    firsts: Array,
    turn: Array,
    hashes: Array,
    repeated: Array,
) -> Integer:
    mask = new_count(candidates, table, turn)
    characters: Integer = np.int64(0)
    place = 0
    while place < runs:
        if not repeated[place]:
            place += 1
        elif count_key(hashes[place], place, table, firsts, turn, mask)[0] > 1:
            characters += before[place + length] - before[place]
            place += length
        else:
            place += 1
    return characters
