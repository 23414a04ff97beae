"""Letters that make no words: how unlikely are the Latin letters of a document in any language?

The table holds how many bits a letter costs behind the two before it, from texts in some 240
languages of Latin script and English books (scripts/train_gibberish.py). Accents are taken off, so
that one table serves them all. Other scripts are not judged.
"""

import functools
import unicodedata
from importlib.resources import files
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from volano.text.kernels.characters import KNOWN_CHARACTERS, Integer, character_at

Array = npt.NDArray[Any]
LETTERS = 27  # the end of a word, then a to z
LATIN = 0x250  # code points below are folded; those of Latin script beyond are rare
FOREIGN = 255  # a letter of another script
BITS_SCALE = 16  # bits are kept in sixteenths
LATIN_FRACTION = 0.5  # of all letters, below which a document is not judged

# letter_bits: mean cost in bits of a letter, or of the end of a word, over words that are Latin
# letters alone; 0 for a document with fewer letters than the caller names in such words, or where
# they are less than half of its letters.
GIBBERISH_STATISTICS = ("letter_bits",)


@functools.cache
def folded_letters() -> Array:
    """For each code point that Unicode assigns: 1 to 26 for a letter of Latin script without its
    accents, 0 for what ends a word, FOREIGN for other letters."""
    folded = np.zeros(KNOWN_CHARACTERS, np.uint8)
    for code in range(len(folded)):
        character = chr(code)
        if not character.isalpha():
            continue
        base = unicodedata.normalize("NFKD", character)[0].lower() if code < LATIN else ""
        base = {"ß": "s", "æ": "a", "ø": "o", "ð": "d", "þ": "t", "ł": "l", "đ": "d"}.get(
            base, base
        )
        is_latin = base.isascii() and base.isalpha()
        folded[code] = ord(base) - 96 if is_latin else FOREIGN
    folded.flags.writeable = False
    return folded


@functools.cache
def letter_table() -> Array:
    """Bits of a letter behind two others, in sixteenths, uint8, shape [27, 27, 27]."""
    from safetensors.numpy import load

    data = (files("volano.text") / "data" / "letters.safetensors").read_bytes()
    table: Array = load(data)["bits"]
    table.flags.writeable = False
    return table


@numba.njit(nogil=True, cache=True)
def count_letters(bounds: Array, utf8: Array, folded: Array, counts: Array) -> None:
    """Count every letter behind two others into `counts`, shape [27, 27, 27]."""
    for row in range(len(bounds) - 1):
        before: Integer = 0
        last: Integer = 0
        for place in range(bounds[row], bounds[row + 1] + 1):
            letter = _letter(utf8, place, bounds[row + 1], folded)
            if letter < 0:
                continue
            if letter == FOREIGN:
                letter = 0
            if letter or last:
                counts[before, last, letter] += 1
            before, last = last if letter else 0, letter


@numba.njit(nogil=True, cache=True, inline="always")
def _letter(utf8: Array, place: Integer, stop: Integer, folded: Array) -> Integer:
    # -1 inside a character.
    if place >= stop:
        return 0
    byte = utf8[place]
    if byte < 0x80:
        return np.int64(folded[byte])
    if byte < 0xC0:
        return -1
    code, _ = character_at(utf8, place)
    return np.int64(folded[code]) if code < len(folded) else 0


@numba.njit(nogil=True, cache=True)
def fill_letter_bits(
    bounds: Array, utf8: Array, folded: Array, table: Array, fewest: int, values: Array
) -> None:
    """The statistic of each document, into the first column of `values`."""
    for row in range(len(bounds) - 1):
        before: Integer = 0
        last: Integer = 0
        bits: Integer = 0
        latin: Integer = 0
        foreign: Integer = 0
        word_bits: Integer = 0
        word_letters: Integer = 0
        costs = word_costs = 0
        mixed = False
        for place in range(bounds[row], bounds[row + 1] + 1):
            letter = _letter(utf8, place, bounds[row + 1], folded)
            if letter < 0:
                continue
            if letter == FOREIGN:
                foreign += 1
                mixed = True
                before = last = 0
                continue
            if letter or last:
                word_bits += table[before, last, letter]
                word_costs += 1
                word_letters += letter > 0
            if letter == 0:
                if mixed:
                    foreign += word_letters
                elif word_costs:
                    bits += word_bits
                    costs += word_costs
                    latin += word_letters
                word_bits = word_letters = word_costs = 0
                mixed = False
                before = last = 0
            else:
                before, last = last, letter
        if latin >= max(fewest, 1) and latin >= LATIN_FRACTION * (latin + foreign):
            values[row, 0] = bits / costs / BITS_SCALE
