"""What the attributes of a tag say that its element is for, read without keeping them."""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from volano.text.kernels.characters import Integer
from volano.text.kernels.hashing import FNV_OFFSET, FNV_PRIME
from volano.text.kernels.html_names import BIT, hash_of, look_up

Array = npt.NDArray[Any]
PAST = np.uint64(1)  # the tag closed itself: <use/>
SHORTEST_BEGINNING = 5  # letters from which on a word counts at the beginning of a longer one
_HIDDEN = BIT["hidden"]
_CLASS, _ID, _ROLE, _PROPERTY, _STYLE, _HIDDEN_NAME, _ARIA = (
    hash_of(name) for name in ("class", "id", "role", "itemprop", "style", "hidden", "aria-hidden")
)
_NONE, _TRUE = hash_of("none"), hash_of("true")
_OPEN, _CLOSE, _SLASH, _EQUALS, _DOUBLE, _SINGLE = b"<>/=\"'"


@numba.njit(nogil=True, cache=True)
def read_attributes(html: Array, place: Integer, words: Array, found: Array) -> Integer:
    """Read up to behind the `>` of a tag whose name ends at `place`. `found` becomes the bits of
    the parts that its words name, and PAST if the tag closed itself."""
    found[0] = found[1] = np.uint64(0)
    size = len(html)
    while place < size:
        byte = html[place]
        if byte == _CLOSE:
            if html[place - 1] == _SLASH:
                found[1] = PAST
            return place + 1
        if byte <= 32 or byte == _SLASH:
            place += 1
            continue
        name = FNV_OFFSET
        while place < size:
            byte = html[place]
            if byte <= 32 or byte in (_CLOSE, _EQUALS, _SLASH):
                break
            if 65 <= byte <= 90:
                byte |= np.uint8(0x20)
            name = (name ^ np.uint64(byte)) * FNV_PRIME
            place += 1
        while place < size and html[place] <= 32:
            place += 1
        if place >= size or html[place] != _EQUALS:
            if name == _HIDDEN_NAME:
                found[0] |= _HIDDEN
            continue
        place += 1
        while place < size and html[place] <= 32:
            place += 1
        start, stop, place = _value(html, place)
        if name in (_CLASS, _ID, _ROLE, _PROPERTY):
            found[0] |= _parts_named(html, start, stop, words)
        elif name == _HIDDEN_NAME:
            found[0] |= _HIDDEN
        elif name == _STYLE:
            if _holds_word(html, start, stop, _NONE):
                found[0] |= _HIDDEN
        elif name == _ARIA and _holds_word(html, start, stop, _TRUE):
            found[0] |= _HIDDEN
    return place


@numba.njit(nogil=True, cache=True)
def _value(html: Array, place: Integer) -> tuple[Integer, Integer, Integer]:
    # Begin and end of a value, and where reading goes on.
    size = len(html)
    if place >= size:
        return place, place, place
    quote = html[place]
    if quote in (_DOUBLE, _SINGLE):
        start = stop = place + 1
        while stop < size and html[stop] != quote:
            stop += 1
        return start, stop, stop + 1
    stop = place
    while stop < size and html[stop] > 32 and html[stop] != _CLOSE:
        stop += 1
    return place, stop, stop


@numba.njit(nogil=True, cache=True)
def _parts_named(html: Array, start: Integer, stop: Integer, words: Array) -> np.uint64:
    # Words part at what is no letter and before a capital behind a small letter: postBody.
    bits = np.uint64(0)
    value, letters = FNV_OFFSET, 0
    small: bool = False
    beginning = np.uint64(0)  # of the longest known word that this one begins with
    for place in range(start, stop + 1):
        byte = np.int64(html[place]) if place < stop else 0
        capital = 65 <= byte <= 90
        letter = capital or 97 <= byte <= 122
        if letters and (not letter or (capital and small)):
            whole = look_up(words, value)
            bits |= whole if whole else beginning
            value, letters, beginning = FNV_OFFSET, 0, np.uint64(0)
        if letter:
            value = (value ^ np.uint64(byte | 0x20)) * FNV_PRIME
            letters += 1
            if letters >= SHORTEST_BEGINNING:
                known = look_up(words, value)
                if known:
                    beginning = known
        small = bool(97 <= byte <= 122)
    return bits


@numba.njit(nogil=True, cache=True)
def _holds_word(html: Array, start: Integer, stop: Integer, wanted: np.uint64) -> bool:
    value = FNV_OFFSET
    for place in range(start, stop + 1):
        byte = np.int64(html[place]) if place < stop else 0
        lower = byte | 0x20
        if 97 <= lower <= 122:
            value = (value ^ np.uint64(lower)) * FNV_PRIME
        else:
            if value == wanted:
                return True
            value = FNV_OFFSET
    return False
