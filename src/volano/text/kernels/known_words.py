"""Where the words of a list stand in texts: what a gazetteer needs, and nothing else is looked at.

A word is a run of Latin letters, A to Z and those of U+00C0–02FF and U+1E00–1EFF. The list is a
hash table of 64-bit codes, so that a word costs one look-up and no Python string.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from volano.text.kernels.buffers import Texts, text_buffers

Array = npt.NDArray[Any]
LETTERS = "A-Za-z\u00c0-\u02ff\u1e00-\u1eff"
SHORTEST_ENDING = 3  # bytes
_ENDS = b"$"  # behind an ending, spelt backwards: no word holds it
FNV_OFFSET, FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)  # FNV-1a


class WordTable(NamedTuple):
    """An open hash table; its size is a power of two, and 0 marks an empty place."""

    codes: Array  # uint64
    flags: Array  # uint8
    beginnings: Array  # bool, by the first two bytes of the words
    longest_ending: int  # in bytes; 0 where the table has none


class WordPlaces(NamedTuple):
    """One word of the list per place, in the order of the texts."""

    rows: Array  # int64
    places: Array  # int64, byte of the row's text
    flags: Array  # uint8, of the word


def word_table(words: Mapping[str, int], endings: Mapping[str, int] | None = None) -> WordTable:
    """The table of words and of endings of longer words, with their flags, which are not zero.

    An ending has SHORTEST_ENDING bytes or more; it counts in words that begin with a capital and
    that no entry names whole.
    """
    endings = endings or {}
    entries = [(word.encode(), flag) for word, flag in words.items()]
    entries += [(ending.encode()[::-1] + _ENDS, flag) for ending, flag in endings.items()]
    size = 1 << max(4, (4 * len(entries)).bit_length())
    codes, flags = np.zeros(size, np.uint64), np.zeros(size, np.uint8)
    for entry, flag in entries:
        code = 0xCBF29CE484222325
        for byte in entry:
            code = ((code ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
        place = code & (size - 1)
        while codes[place]:
            place = (place + 1) & (size - 1)
        codes[place], flags[place] = code, flag
    beginnings = np.zeros(1 << 16, np.bool_)
    for word in words:
        first, second, *_ = (*word.encode(), 0)
        beginnings[first << 8 | second] = True
    return WordTable(
        codes, flags, beginnings, max((len(each.encode()) for each in endings), default=0)
    )


def known_words(texts: Texts, table: WordTable, wanted: int) -> WordPlaces:
    """The words of the table that have one of the flags `wanted`, wherever they stand."""
    bounds, utf8, _ = text_buffers(texts)
    room = 1024 + int(bounds[-1] - bounds[0]) // 64
    while True:
        found = WordPlaces(np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, "u1"))
        count = _fill(bounds, utf8, *table, wanted, *found)
        if count <= room:
            return WordPlaces(*(column[:count] for column in found))
        room = count


@numba.njit(nogil=True, cache=True)
def _fill(
    bounds: Array,
    utf8: Array,
    codes: Array,
    flags: Array,
    beginnings: Array,
    longest: int,
    wanted: int,
    rows: Array,
    places: Array,
    found: Array,
) -> int:
    # How many there are, which may be more than there is room for.
    count = 0
    for row in range(len(bounds) - 1):
        place, stop = bounds[row], bounds[row + 1]
        while place < stop:
            letter = _letter_bytes(utf8, place, stop)
            if letter == 0:
                place += 1
                continue
            begin = place
            while letter:
                place += letter
                letter = _letter_bytes(utf8, place, stop) if place < stop else 0
            second = np.int64(utf8[begin + 1]) if place > begin + 1 else 0
            known = beginnings[np.int64(utf8[begin]) << 8 | second]
            if known or (longest and not 97 <= utf8[begin] <= 122):
                flag = _flag_of_word(utf8[begin:place], codes, flags, longest)
                if flag & wanted:
                    if count < len(rows):
                        rows[count], places[count] = row, begin - bounds[row]
                        found[count] = flag
                    count += 1
    return count


@numba.njit(nogil=True, cache=True)
def _flag_of_word(word: Array, codes: Array, flags: Array, longest: int) -> int:
    code = FNV_OFFSET
    for byte in word:
        code = (code ^ np.uint64(byte)) * FNV_PRIME
    flag = _flag_of(code, codes, flags)
    if flag or longest == 0 or 97 <= word[0] <= 122:
        return flag
    code = FNV_OFFSET
    for behind in range(1, min(longest, len(word) - 1) + 1):
        code = (code ^ np.uint64(word[-behind])) * FNV_PRIME
        if behind >= SHORTEST_ENDING:
            ended = (code ^ np.uint64(36)) * FNV_PRIME
            flag = max(flag, _flag_of(ended, codes, flags))
    return flag


@numba.njit(nogil=True, cache=True)
def _flag_of(code: Any, codes: Array, flags: Array) -> int:
    slot = np.int64(code & np.uint64(len(codes) - 1))
    while codes[slot]:
        if codes[slot] == code:
            return int(flags[slot])
        slot = (slot + 1) & (len(codes) - 1)
    return 0


@numba.njit(nogil=True, cache=True, inline="always")
def _letter_bytes(utf8: Array, place: int, stop: int) -> int:
    # Bytes of the letter that begins here, 0 where none does.
    byte = utf8[place]
    if 97 <= (byte | 0x20) <= 122 and byte < 0x80:
        return 1
    if 0xC3 <= byte <= 0xCB and place + 1 < stop:
        return 2
    if byte == 0xE1 and place + 2 < stop and 0xB8 <= utf8[place + 1] <= 0xBB:
        return 3
    return 0
