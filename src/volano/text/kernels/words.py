"""Words of a document at native speed: the tokenizer of text.english, or runs between white space.

Each run without white space is split alone. Most are letters, or letters with one mark behind them,
and need no rules.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from volano.text.kernels.characters import Integer, character_at
from volano.text.kernels.hashing import FNV_OFFSET, mixed
from volano.text.kernels.language import (
    APART,
    BEGINNING,
    CHARACTERS,
    CODE,
    COUNT_BITS,
    COUNT_MASK,
    ENDS_SENTENCE,
    EXCEPTION,
    FIRST,
    FLAGS,
    HAS_LETTER,
    HASH_BITS,
    KIND,
    LAST,
    LETTER,
    LONGEST_EXCEPTION,
    MOST_APART,
    OFFSET,
    ONLY_PUNCTUATION,
    ONLY_SYMBOLS,
    PUNCTUATION,
    SENTENCE_END,
    SPACE,
    START,
    STOP,
    SYMBOL,
    Language,
    find,
    find_words,
    hash_row,
    may_be_exception,
    with_byte,
)
from volano.text.kernels.runs import split_run

Array = npt.NDArray[Any]
_FULL_STOP, _SMALL_A = b".a"
_ASCII_LETTER, _ASCII_SPACE, _ASCII_MARK = 1, 2, 3  # marks that always part from letters
_ASCII = np.zeros(256, np.uint8)
for _code in range(128):
    if chr(_code).isalpha():
        _ASCII[_code] = _ASCII_LETTER
    elif chr(_code).isspace():
        _ASCII[_code] = _ASCII_SPACE
    elif chr(_code) in ",;:!?)":
        _ASCII[_code] = _ASCII_MARK


def words_of(room: int) -> Array:
    """Space for the words of a document of `room` bytes: START, STOP and so on of each."""
    return np.empty((room + 1, 5), np.int64)


def room_of(room: int) -> Array:
    """Scratch for runs of up to `room` bytes."""
    return np.empty((room + 2, 5), np.int64)


@numba.njit(nogil=True, cache=True)
def read_words(text: Array, language: Language, room: Array, words: Array) -> Integer:
    """Write the words of a document to `words`, and tell how many they are."""
    classes, table, lengths, limits, exceptional = language
    longest = limits[LONGEST_EXCEPTION]
    count: Integer = np.int64(0)
    place: Integer = np.int64(0)
    size = len(text)
    while place < size:
        if _ASCII[text[place]] == _ASCII_SPACE:
            place += 1
            continue
        start = place
        value, eight = FNV_OFFSET, np.uint64(1)
        while place < size and _ASCII[text[place]] == _ASCII_LETTER:
            value, eight = with_byte(value, eight, text[place])
            place += 1
        letters, key = place, mixed(value ^ eight)
        if place > start and (place == size or _ASCII[text[place]] == _ASCII_SPACE):
            found: Integer = np.int64(-1)
            if may_be_exception(exceptional, key):
                found = find_words(table, lengths, EXCEPTION, key, place - start)
            if found < 0:
                count = _add_letters(start, place, key, words, count)
            else:
                count = _take(text, start, lengths, found, classes, words, count)
            continue
        code, length = character_at(text, place)
        kind = np.int64(classes[code]) if code < len(classes) else 0
        if kind & SPACE and place == start:
            place += length
            continue
        mark_only: bool = False
        while kind & SPACE == 0:
            for byte_place in range(place, place + length):
                value, eight = with_byte(value, eight, text[byte_place])
            mark_only = bool(place == letters and code < 128)
            place += length
            if place >= size:
                break
            code, length = character_at(text, place)
            kind = np.int64(classes[code]) if code < len(classes) else 0
        if longest == 0:  # words are what stands between white space
            count = _add(text, start, place, classes, words, count)
            continue
        run, first = mixed(value ^ eight), count
        if place - start <= longest:
            found = find_words(table, lengths, EXCEPTION, run, place - start)
            if found >= 0:
                count = _take(text, start, lengths, found, classes, words, count)
                continue
        if mark_only and letters > start and _parts(text[letters], text[letters - 1]):
            found = -1
            if may_be_exception(exceptional, key):
                found = find_words(table, lengths, EXCEPTION, key, letters - start)
            if found < 0:
                count = _add_letters(start, letters, key, words, count)
                count = _add(text, letters, place, classes, words, count)
                continue
            count = _take(text, start, lengths, found, classes, words, count)
            count = _add(text, letters, place, classes, words, count)
            pieces: Integer = count - first
        else:
            pieces = split_run(text, start, place, classes, table, lengths, limits, room)
            for piece in range(pieces):
                begin, end = room[piece, FIRST], room[piece, LAST]
                count = _add(text, begin, end, classes, words, count)
        # Two words that are an exception together are the whole run, which is none.
        if pieces > 2 and _may_belong(words, first, count, table):
            count = _put_together(text, first, count, classes, table, lengths, limits, room, words)
    return count


@numba.njit(nogil=True, cache=True, inline="always")
def _parts(mark: int, letter: int) -> bool:
    # Whether a mark behind letters is a word of its own; a full stop only behind a small one.
    return bool(_ASCII[mark] == _ASCII_MARK or (mark == _FULL_STOP and letter >= _SMALL_A))


@numba.njit(nogil=True, cache=True, inline="always")
def _add_letters(
    start: Integer, stop: Integer, key: np.uint64, words: Array, count: Integer
) -> Integer:
    words[count, START], words[count, STOP] = start, stop
    words[count, HASH_BITS], words[count, CHARACTERS] = np.int64(key), stop - start
    words[count, FLAGS] = HAS_LETTER
    return count + 1


@numba.njit(nogil=True, cache=True)
def _add(
    text: Array, start: Integer, stop: Integer, classes: Array, words: Array, count: Integer
) -> Integer:
    value, eight, characters = FNV_OFFSET, np.uint64(1), 0
    some, every = np.int64(0), np.int64(-1)
    kind: Integer = np.int64(0)
    place = start
    while place < stop:
        code, length = character_at(text, place)
        kind = np.int64(classes[code]) if code < len(classes) else 0
        for byte in range(place, place + length):
            value, eight = with_byte(value, eight, text[byte])
        characters += 1
        some |= kind
        every &= kind
        place += length
    words[count, START], words[count, STOP] = start, stop
    words[count, HASH_BITS], words[count, CHARACTERS] = np.int64(mixed(value ^ eight)), characters
    flags = HAS_LETTER if some & LETTER else 0
    flags |= ONLY_SYMBOLS if every & SYMBOL else 0
    flags |= ONLY_PUNCTUATION if every & PUNCTUATION else 0
    flags |= ENDS_SENTENCE if characters == 1 and kind & SENTENCE_END else 0
    words[count, FLAGS] = flags
    return count + 1


@numba.njit(nogil=True, cache=True)
def _take(
    text: Array,
    start: Integer,
    lengths: Array,
    entry: Integer,
    classes: Array,
    words: Array,
    count: Integer,
) -> Integer:
    # The words of an entry of the table, which begin at `start`.
    first = entry >> COUNT_BITS
    for each in range(first, first + (entry & COUNT_MASK)):
        count = _add(text, start, start + lengths[each], classes, words, count)
        start += lengths[each]
    return count


@numba.njit(nogil=True, cache=True)
def _may_belong(words: Array, first: Integer, count: Integer, table: Array) -> bool:
    for place in range(first, count - 1):
        if find(table, BEGINNING, hash_row(words, place, place + 2)) >= 0:
            return True
    return False


@numba.njit(nogil=True, cache=True)
def _put_together(
    text: Array,
    first: Integer,
    count: Integer,
    classes: Array,
    table: Array,
    lengths: Array,
    limits: Array,
    room: Array,
    words: Array,
) -> Integer:
    # See text.english: the longest first, of equally long ones the first, what overlaps is left.
    total = count - first
    for place in range(total):
        room[place, CODE] = room[place, KIND] = 0  # whether it is taken, and the words chosen here
    for length in range(min(limits[MOST_APART], total), 1, -1):
        for place in range(total - length + 1):
            begin = first + place
            size = words[begin + length - 1, STOP] - words[begin, START]
            key = hash_row(words, begin, begin + length)
            entry = find_words(table, lengths, APART, key, size)
            if entry < 0:
                continue
            if room[place, CODE] == 0 and room[place + length - 1, CODE] == 0:
                room[place, KIND] = length
                room[place, FIRST] = entry
            for each in range(place, place + length):
                room[each, CODE] = 1
    for place in range(total):  # out of the way: an exception may have more words than it had
        room[place, OFFSET] = words[first + place, START]
    room[total, OFFSET] = words[count - 1, STOP]
    piece: Integer = np.int64(0)
    found: Integer = first
    while piece < total:
        start = room[piece, OFFSET]
        if room[piece, KIND]:
            found = _take(text, start, lengths, room[piece, FIRST], classes, words, found)
            piece += room[piece, KIND]
        else:
            piece += 1
            found = _add(text, start, room[piece, OFFSET], classes, words, found)
    return found
