"""What a kernel has to know to part words: characters by class, and tables of what is special.

The data are those of text.english. Everything is a plain array, since numba counts references
whenever it hands on a tuple of them, which would cost more than the work itself.
"""

import functools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from volano.text import english
from volano.text.kernels.characters import KNOWN_CHARACTERS, Integer
from volano.text.kernels.hashing import FNV_OFFSET, SHINGLE_PRIME, mixed

Array = npt.NDArray[Any]

# What a character may be, one bit each; the names in small letters are those of english.json.
SPACE, LETTER = 1, 2
PREFIX, SUFFIX, INFIX, ALPHA, LOWER, UPPER, QUOTE = 4, 8, 16, 32, 64, 128, 256
BEFORE_STOP, CURRENCY, HYPHEN, SYMBOL = 512, 1024, 2048, 4096
SENTENCE_END, PUNCTUATION, TERMINAL, WORD, DECIMAL = 8192, 16384, 32768, 65536, 131072
_BITS = {
    "prefix": PREFIX,
    "suffix": SUFFIX,
    "infix": INFIX,
    "alpha": ALPHA,
    "lower": LOWER,
    "upper": UPPER,
    "quote": QUOTE,
    "before_stop": BEFORE_STOP,
    "currency": CURRENCY,
    "hyphen": HYPHEN,
    "symbol": SYMBOL,
    "sentence_end": SENTENCE_END,
    "punctuation": PUNCTUATION,
    "terminal": TERMINAL,
}
# What a word may be: it has a letter, is nothing but symbols, is nothing but punctuation (as
# Unicode has it), ends a sentence.
HAS_LETTER, ONLY_SYMBOLS, ONLY_PUNCTUATION, ENDS_SENTENCE = 1, 2, 4, 8
# Columns of the words of one document: places in its bytes, and what is known of each word.
START, STOP, HASH_BITS, CHARACTERS, FLAGS = range(5)
# Columns of the scratch for the run that is being split: its characters, and its words before they
# stand. Plain arrays, since numba counts references whenever it hands on a tuple of them.
CODE, KIND, OFFSET, FIRST, LAST = range(5)
# What the table of a language knows; kinds of entries, and columns.
EXCEPTION, UNIT, BEGINNING, APART = range(4)
# Behind where its lengths begin an entry keeps how many words it has, in so many bits.
COUNT_BITS = 16
COUNT_MASK = (1 << COUNT_BITS) - 1
_KEY, _WORDS = range(2)
# Its limits: bytes of the longest exception, characters of the longest unit, words of the longest
# exception that was taken apart; 0 where words are what stands between white space.
LONGEST_EXCEPTION, LONGEST_UNIT, MOST_APART = range(3)
_LETTERS_MASK = 4095


class Language(NamedTuple):
    """What the kernel has to know to part words."""

    classes: Array  # int32: see word_classes
    table: (
        Array  # uint64, open addressing: hash of kind and run; its first length and number of words
    )
    lengths: Array  # int64: bytes of words
    limits: Array  # int64
    letters: Array  # bool: False where no exception of ASCII letters alone has such a hash


@functools.cache
def word_classes() -> Array:
    """One sum of the bits above per code point below KNOWN_CHARACTERS."""
    classes = np.zeros(KNOWN_CHARACTERS, np.int32)
    for code in range(KNOWN_CHARACTERS):
        character = chr(code)
        classes[code] = SPACE * character.isspace() | LETTER * character.isalpha()
        classes[code] |= WORD * character.isalnum() | DECIMAL * character.isdecimal()
    for name, ranges in english.data()["classes"].items():
        for each in ranges.split():
            first, _, last = each.partition("-")
            classes[int(first, 16) : int(last or first, 16) + 1] |= _BITS[name]
    classes.flags.writeable = False
    return classes


@functools.cache
def spaces() -> Language:
    """Words as runs between white space, in any language that has it."""
    nothing = np.zeros(_LETTERS_MASK + 1, np.bool_)
    return Language(word_classes(), *_table([]), np.zeros(3, np.int64), nothing)


@functools.cache
def english_language() -> Language:
    """Words as text.english splits them."""
    table, lengths = _table(_english_entries())
    return Language(word_classes(), table, lengths, _english_limits(), _letters())


def _english_entries() -> list[tuple[int, int, Sequence[str]]]:
    entries: list[tuple[int, int, Sequence[str]]] = []
    for run, words in english.rules().exceptions.items():
        entries.append((EXCEPTION, hash_of(run), words))
    for unit in english.data()["units"]:
        entries.append((UNIT, hash_of(unit), ()))
    for first, second in english.beginnings():
        entries.append((BEGINNING, _row_hash([first, second]), ()))
    for row, words in english.taken_apart().items():
        entries.append((APART, _row_hash(row), words))
    return entries


def _english_limits() -> Array:
    exceptions = english.rules().exceptions
    longest = max(len(run.encode()) for run in exceptions)
    unit = max(len(unit) for unit in english.data()["units"])
    return np.array([longest, unit, max(map(len, english.taken_apart()))], np.int64)


def _letters() -> Array:
    found = np.zeros(_LETTERS_MASK + 1, np.bool_)
    for run in english.rules().exceptions:
        if run.isascii() and run.isalpha():
            found[hash_of(run) & _LETTERS_MASK] = True
    return found


@numba.njit(nogil=True, cache=True, inline="always")
def may_be_exception(letters: Array, value: np.uint64) -> bool:
    """Whether it is worth while to look for an exception of ASCII letters alone."""
    return bool(letters[np.int64(value & np.uint64(_LETTERS_MASK))])


def _table(entries: Sequence[tuple[int, int, Sequence[str]]]) -> tuple[Array, Array]:
    size = 4
    while size < 2 * len(entries) + 2:
        size *= 2
    keys, values = [0] * size, [0] * size
    lengths: list[int] = []
    for kind, run, words in entries:
        key = int(_keyed(kind, np.uint64(run)))
        slot = key & (size - 1)
        while keys[slot] and keys[slot] != key:
            slot = (slot + 1) & (size - 1)
        keys[slot], values[slot] = key, len(lengths) << COUNT_BITS | len(words)
        lengths += [len(word.encode()) for word in words]
    return np.array([keys, values], np.uint64).T.copy(), np.array(lengths or [0], np.int64)


def hash_of(word: str) -> int:
    """The hash of a word, as the kernel computes it."""
    data = np.frombuffer(word.encode("utf-8", "surrogatepass"), np.uint8)
    return int(hash_bytes(data, 0, len(data)))


def _row_hash(words: Iterable[str]) -> int:
    hashes = np.array([hash_of(word) for word in words], np.uint64).view(np.int64)
    row = np.zeros((len(hashes), 5), np.int64)
    row[:, HASH_BITS] = hashes
    return int(hash_row(row, 0, len(row)))


@numba.njit(nogil=True, cache=True, inline="always")
def _keyed(kind: int, value: np.uint64) -> np.uint64:
    # Kinds share a table.
    return (value ^ np.uint64(kind)) * SHINGLE_PRIME + np.uint64(1)


@numba.njit(nogil=True, cache=True)
def hash_row(words: Array, first: Integer, stop: Integer) -> np.uint64:
    """The hash of the words from `first` to `stop`."""
    value = FNV_OFFSET
    for each in range(first, stop):
        value = value * SHINGLE_PRIME + np.uint64(words[each, HASH_BITS])
    return mixed(value)


@numba.njit(nogil=True, cache=True, inline="always")
def with_byte(value: np.uint64, eight: np.uint64, byte: int) -> tuple[np.uint64, np.uint64]:
    """The state of a hash, which begins at (FNV_OFFSET, 1), after one byte more.

    Bytes gather in `eight`, behind a 1 that tells how many they are; the product that takes longest
    is due once in seven bytes only.
    """
    eight = eight << np.uint64(8) | np.uint64(byte)
    if eight >> np.uint64(56):
        value = (value ^ eight) * SHINGLE_PRIME
        value ^= value >> np.uint64(29)
        eight = np.uint64(1)
    return value, eight


@numba.njit(nogil=True, cache=True, inline="always")
def hash_bytes(utf8: Array, start: Integer, stop: Integer) -> np.uint64:
    """The hash of some bytes."""
    value, eight = FNV_OFFSET, np.uint64(1)
    for place in range(start, stop):
        value, eight = with_byte(value, eight, utf8[place])
    return mixed(value ^ eight)


@numba.njit(nogil=True, cache=True)
def find(table: Array, kind: int, value: np.uint64) -> Integer:
    """Where the lengths of an entry's words begin and, in the last bits, how many words it has; -1
    if there is no such entry."""
    key = _keyed(kind, value)
    mask = np.uint64(len(table) - 1)
    slot = np.int64(key & mask)
    while table[slot, _KEY] != 0:
        if table[slot, _KEY] == key:
            return np.int64(table[slot, _WORDS])
        slot = np.int64(np.uint64(slot + 1) & mask)
    return -1


@numba.njit(nogil=True, cache=True)
def find_words(table: Array, lengths: Array, kind: int, value: np.uint64, size: Integer) -> Integer:
    """An entry whose words are `size` bytes altogether, or -1: a hash can be hit on purpose, and
    must not lead out of the text."""
    entry = find(table, kind, value)
    if entry >= 0:
        first = entry >> COUNT_BITS
        for each in range(first, first + (entry & COUNT_MASK)):
            size -= lengths[each]
    return entry if entry >= 0 and size == 0 else -1
