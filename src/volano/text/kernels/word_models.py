"""Words as an n-gram model reads them, and the likelihood of documents under one.

A word is a run of letters and digits, ASCII letters in lower case and ASCII digits as 0; an
ideograph, and a run of one and the same other character ("-----"), is a word too. Only "\\n" ends a
line, and each line that is not blank is a sentence between <s> and </s>, as CCNet scores it (Wenzek
et al. 2020, section 3.3). An n-gram is known by a 64-bit hash, which grows by a word to the left.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from volano.text.kernels.characters import (
    IDEOGRAPH,
    SPACE,
    WORD,
    Integer,
    character_at,
    class_of,
)
from volano.text.kernels.hashing import FNV_OFFSET, FNV_PRIME, SHINGLE_PRIME, mixed

Array = npt.NDArray[Any]
NEWLINE = ord("\n")
MAX_ORDER = 8
NO_WORD = np.uint64(0)


def hash_of_word(word: str) -> int:
    """The hash of a word as the kernel makes it from the folded bytes."""
    value = 0xCBF29CE484222325
    for byte in word.encode():
        value = ((value ^ byte) * 0x100000001B3) % 2**64
    with np.errstate(over="ignore"):
        return int(mixed.py_func(np.uint64(value)))


UNKNOWN, BEGIN, END = (np.uint64(hash_of_word(word)) for word in ("<unk>", "<s>", "</s>"))


@numba.njit(nogil=True, cache=True, inline="always")
def longer(key: np.uint64, word: np.uint64) -> np.uint64:
    """The hash of an n-gram with one more word on its left."""
    return mixed(key * SHINGLE_PRIME + word)


@numba.njit(nogil=True, cache=True)
def next_word(
    utf8: Array, place: Integer, stop: Integer, classes: Array
) -> tuple[Integer, Integer, np.uint64]:
    """Where the next word of a line begins and ends, and its hash; an empty one where the line
    ends."""
    code: Integer = np.int64(0)
    kind: Integer = np.int64(0)
    length = 0
    while place < stop:
        if utf8[place] == NEWLINE:
            return place, place, NO_WORD
        code, length = character_at(utf8, place)
        kind = class_of(code, classes)
        if kind & SPACE == 0:
            break
        place += length
    if place >= stop:
        return stop, stop, NO_WORD
    start = place
    value = FNV_OFFSET
    if kind & WORD == 0 or kind & IDEOGRAPH:
        for byte in range(length):
            value = (value ^ np.uint64(utf8[place + byte])) * FNV_PRIME
        place += length
        while kind & WORD == 0 and place < stop and character_at(utf8, place)[0] == code:
            place += length
        return start, place, mixed(value)
    while True:
        if length == 1:
            letter = np.int64(utf8[place])
            if 65 <= letter <= 90:
                letter += 32
            elif 48 <= letter <= 57:
                letter = np.int64(48)
            value = (value ^ np.uint64(letter)) * FNV_PRIME
        else:
            for part in range(length):
                value = (value ^ np.uint64(utf8[place + part])) * FNV_PRIME
        place += length
        if place >= stop:
            break
        code, length = character_at(utf8, place)
        kind = class_of(code, classes)
        if kind & WORD == 0 or kind & IDEOGRAPH:
            break
    return start, place, mixed(value)


@numba.njit(nogil=True, cache=True)
def read_sentences(
    bounds: Array, utf8: Array, classes: Array, hashes: Array, starts: Array, stops: Array
) -> int:
    """All words of all documents with <s> and </s> around each line: how many they are.

    `starts` and `stops` are their bytes, both 0 for the marks. The arrays hold as many as there
    are bytes, and two more for each byte that may end a line.
    """
    count = 0
    for row in range(len(bounds) - 1):
        place, end = bounds[row], bounds[row + 1]
        inside = False
        while True:
            start, stop, value = next_word(utf8, place, end, classes)
            if start < stop:
                if not inside:
                    hashes[count], starts[count], stops[count] = BEGIN, 0, 0
                    count += 1
                    inside = True
                hashes[count], starts[count], stops[count] = value, start, stop
                count += 1
                place = stop
                continue
            if inside:
                hashes[count], starts[count], stops[count] = END, 0, 0
                count += 1
                inside = False
            if start >= end:
                break
            place = start + 1
    return count


@numba.njit(nogil=True, cache=True)
def fill_keys(hashes: Array, length: int, keys: Array, places: Array) -> int:
    """The hash and the place of the last word of every n-gram of `length` words that lies in one
    sentence: how many they are."""
    count = depth = 0
    for place in range(len(hashes)):
        depth = 1 if hashes[place] == BEGIN else depth + 1
        if depth < length:
            continue
        key = hashes[place]
        for back in range(1, length):
            key = longer(key, hashes[place - back])
        keys[count], places[count] = key, place
        count += 1
    return count


@numba.njit(nogil=True, cache=True)
def lengthen(keys: Array, words: Array) -> Array:
    """The hashes of n-grams with one more word each on their left."""
    found = np.empty(len(keys), np.uint64)
    for place in range(len(keys)):
        found[place] = longer(keys[place], words[place])
    return found


@numba.njit(nogil=True, cache=True)
def fill_table(
    keys: Array, log_probs: Array, back_offs: Array, table: Array, values: Array
) -> None:
    """Enter n-grams into a table of open addressing; `values` are the same bytes as float32, of
    which the last two of a slot are its numbers."""
    mask = np.uint64(len(table) - 1)
    for place in range(len(keys)):
        slot = np.int64(keys[place] & mask)
        while table[slot, 0] != 0:
            slot = (slot + 1) & np.int64(mask)
        table[slot, 0] = keys[place]
        values[slot, 2], values[slot, 3] = log_probs[place], back_offs[place]


@numba.njit(nogil=True, cache=True, inline="always")
def _find(key: np.uint64, table: Array) -> Integer:
    mask = np.int64(len(table) - 1)
    slot = np.int64(key & np.uint64(mask))
    while True:
        found = table[slot, 0]
        if found == key:
            return slot
        if found == 0:
            return -1
        slot = (slot + 1) & mask


@numba.njit(nogil=True, cache=True)
def fill_likelihoods(
    bounds: Array,
    utf8: Array,
    classes: Array,
    table: Array,
    values: Array,
    order: int,
    log_probs: Array,
    counts: Array,
) -> None:
    """The log10 likelihood of each document, and over how many words, each </s> being one."""
    recent = np.empty(MAX_ORDER + 1, np.uint64)  # the word before comes first
    backs, now = np.zeros(MAX_ORDER + 1), np.zeros(MAX_ORDER + 1)
    begin = _find(BEGIN, table)
    back_of_begin = values[begin, 3] if begin >= 0 else np.float32(0)
    for row in range(len(bounds) - 1):
        place, end = bounds[row], bounds[row + 1]
        inside = False
        context = 0
        total, count = 0.0, 0
        while True:
            start, stop, word = next_word(utf8, place, end, classes)
            ends = start == stop
            if ends and not inside:
                if start >= end:
                    break
                place = start + 1
                continue
            if not inside:
                inside = True
                recent[0] = BEGIN
                backs[1] = back_of_begin
                context = min(1, order - 1)
            if ends:
                word = END
            slot = _find(word, table)
            if slot < 0:
                word = UNKNOWN
                slot = _find(UNKNOWN, table)
            length, key = 1, word
            log_prob = np.float64(values[slot, 2])
            now[1] = values[slot, 3]
            while length <= context:
                following = longer(key, recent[length - 1])
                slot = _find(following, table)
                if slot < 0:
                    break
                key = following
                length += 1
                log_prob = np.float64(values[slot, 2])
                now[length] = values[slot, 3]
            for back in range(length, context + 1):
                log_prob += backs[back]
            total += log_prob
            count += 1
            if ends:
                inside = False
                if start >= end:
                    break
                place = start + 1
                continue
            place = stop
            context = min(length, order - 1)
            for back in range(1, context + 1):
                backs[back] = now[back]
            for back in range(order - 1, 0, -1):
                recent[back] = recent[back - 1]
            recent[0] = word
        log_probs[row], counts[row] = total, count
