"""Hashed n-grams of words and of the characters inside them: what a linear classifier reads.

Characters are folded first, since who wants to pass a filter writes "ƒück", "sh1t" or "shiiiiit".
No n-gram of characters crosses a word, so that all that a word adds to a score depends on the word
alone and is looked up once for each word, not once for each n-gram (see kernels/linear.py).

Sources: Joulin et al. 2016 (fastText) for hashed n-grams, Bojanowski et al. 2017 for those of
characters with the ends of a word marked.
"""

import functools
import unicodedata
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from volano.text.kernels.characters import IDEOGRAPHS, KNOWN_CHARACTERS, Integer, character_at
from volano.text.kernels.hashing import FNV_OFFSET, FNV_PRIME, SHINGLE_PRIME, mixed

Array = npt.NDArray[Any]

SEPARATOR, DROPPED = 0, 1  # a character that ends a word; one that is read over
ALONE = np.uint32(1 << 24)  # marks an ideograph or kana, which is a word of its own
CODE_MASK = np.uint32((1 << 24) - 1)
LONGEST_WORD = 40  # characters; of a longer word the n-grams of so many are read
LONGEST_RUN = 2  # of one letter: "shiiiit" is "shiit"
BEGIN, END = np.uint64(2), np.uint64(3)  # the ends of a word, in its n-grams
OF_WORD, OF_PAIR = np.uint64(0x77), np.uint64(0x70)  # keep words, pairs and characters apart
_AT, _DOLLAR, _STAR, _LOW_LINE, _COLON, _SLASH = b"@$*_:/"
_ZERO, _NINE, _A, _S, _Z = b"09asz"
_HTTP = np.frombuffer(b"https", np.uint8)
_DIGIT_LETTERS = np.frombuffer(b"oizeasgtbg", np.uint8)  # read for 0 to 9 in a word with letters


class Sizes(NamedTuple):
    """Which n-grams count: of characters, if any, and of words: 1, or 2 for pairs as well."""

    fewest_characters: int
    most_characters: int
    words: int


@functools.cache
def folds() -> Array:
    """What each code point below KNOWN_CHARACTERS is read as: SEPARATOR, DROPPED, or a code.

    Letters lose case, accents and width; signs that join a word to its vowels stay. An apostrophe
    and what has no width are read over.
    """
    table = np.zeros(KNOWN_CHARACTERS, np.uint32)
    for code in range(KNOWN_CHARACTERS):
        character = chr(code)
        if character.isalnum():
            base = unicodedata.normalize("NFKD", character.casefold())[0]
            table[code] = ord(base) if base.isalnum() else code
        elif unicodedata.category(character).startswith("M"):
            table[code] = code
    table[0x300:0x370] = np.where(table[0x300:0x370] == np.arange(0x300, 0x370), DROPPED, 0)
    table[[ord("'"), 0x2019, 0xAD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF]] = DROPPED
    for first, last in IDEOGRAPHS:
        part = table[first : last + 1]
        part[part > DROPPED] |= ALONE
    table.flags.writeable = False
    return table


@numba.njit(nogil=True, cache=True)
def _is_word(utf8: Array, place: Integer, stop: Integer, table: Array) -> bool:
    if place >= stop:
        return False
    code, _ = character_at(utf8, place)
    return bool(code < len(table) and table[code] > DROPPED)


@numba.njit(nogil=True, cache=True)
def next_word(
    utf8: Array, place: Integer, stop: Integer, table: Array, word: Array
) -> tuple[Integer, Integer, np.uint64]:
    """Read one word into `word`: where it ends, its characters there, and its hash; no characters
    at the end of the text.

    "@name" and "https://…" are read over: who is spoken to says nothing. "*" inside a word stays
    ("f*ck"), "@" and "$" there are a and s. In a word with letters 0 to 9 are the letters that
    they look like, and without letters every digit is 0. Of a longer word LONGEST_WORD count.
    """
    count: Integer = np.int64(0)
    run: Integer = 0
    digits: Integer = 0
    last = np.uint32(0)
    while place < stop:
        code, length = character_at(utf8, place)
        read = table[code] if code < len(table) else np.uint32(SEPARATOR)
        after = place + 1
        if code == _AT and _is_word(utf8, after, stop, table):
            if count == 0:
                place = _end_of_name(utf8, after, stop, table)
                continue
            read = np.uint32(_A)
        elif code == _DOLLAR and (count > digits or (count == 0 and _letter(utf8, after, stop))):
            read = np.uint32(_S)
        elif code == _STAR and count > 0 and _goes_on(utf8, after, stop, table):
            read = np.uint32(_STAR)
        if read == DROPPED:
            place += length
            continue
        if read == SEPARATOR:
            if code == _COLON and _is_address(word, count, utf8, place, stop):
                place = _end_of_address(utf8, place, stop)
                count = np.int64(0)
                run = digits = 0
                last = np.uint32(0)
                continue
            if count > 0:
                break
            place += length
            continue
        if read & ALONE:
            if count > 0:
                break
            word[0] = read & CODE_MASK
            return place + length, 1, word_hash(word, np.int64(1))
        place += length
        is_digit = _ZERO <= read <= _NINE
        run = run + 1 if read == last else 1
        last = read
        if count < LONGEST_WORD and (run <= LONGEST_RUN or is_digit):
            word[count] = read
            digits += is_digit
            count += 1
    if digits > 0:
        for index in range(count):
            if _ZERO <= word[index] <= _NINE:
                word[index] = _ZERO if digits == count else _DIGIT_LETTERS[word[index] - _ZERO]
    return place, count, word_hash(word, count)


@numba.njit(nogil=True, cache=True)
def _letter(utf8: Array, place: Integer, stop: Integer) -> bool:
    return bool(place < stop and _A <= (utf8[place] | 32) <= _Z)


@numba.njit(nogil=True, cache=True)
def _goes_on(utf8: Array, place: Integer, stop: Integer, table: Array) -> bool:
    # Behind stars the word has to go on: "f**k", but not "*that*" or "that*".
    while place < stop and utf8[place] == _STAR:
        place += 1
    return _is_word(utf8, place, stop, table)


@numba.njit(nogil=True, cache=True)
def _end_of_name(utf8: Array, place: Integer, stop: Integer, table: Array) -> Integer:
    while place < stop:
        code, length = character_at(utf8, place)
        if code != _LOW_LINE and (code >= len(table) or table[code] == SEPARATOR):
            break
        place += length
    return place


@numba.njit(nogil=True, cache=True)
def _is_address(word: Array, count: Integer, utf8: Array, place: Integer, stop: Integer) -> bool:
    # Here stands the colon of "http://".
    if count != 4 and count != 5:
        return False
    for index in range(count):
        if word[index] != _HTTP[index]:
            return False
    return bool(place + 2 < stop and utf8[place + 1] == _SLASH and utf8[place + 2] == _SLASH)


@numba.njit(nogil=True, cache=True)
def _end_of_address(utf8: Array, place: Integer, stop: Integer) -> Integer:
    while place < stop and utf8[place] > 32:  # white space of ASCII
        place += 1
    return place


@numba.njit(nogil=True, cache=True)
def word_hash(word: Array, count: Integer) -> np.uint64:
    """The hash of a word that was read."""
    value = FNV_OFFSET ^ OF_WORD
    for index in range(count):
        value = (value ^ np.uint64(word[index])) * FNV_PRIME
    return mixed(value)


@numba.njit(nogil=True, cache=True)
def pair_hash(before: np.uint64, value: np.uint64) -> np.uint64:
    """The hash of two words in a row, from theirs."""
    return mixed((before ^ OF_PAIR) * SHINGLE_PRIME + value)


@numba.njit(nogil=True, cache=True)
def character_ngrams(
    word: Array, count: Integer, fewest: Integer, most: Integer, shift: np.uint64, buckets: Array
) -> Integer:
    """Write the buckets of a word's n-grams of characters, its ends marked; how many they are."""
    found = 0
    for start in range(count + 2):
        value = FNV_OFFSET
        for size in range(1, most + 1):
            place = start + size - 1
            if place >= count + 2:
                break
            code = BEGIN if place == 0 else END
            if 0 < place <= count:
                code = np.uint64(word[place - 1])
            value = (value ^ code) * FNV_PRIME
            if size >= fewest:
                buckets[found] = np.int64(mixed(value) >> shift)
                found += 1
    return found
