"""What a character is (space, letter, digit, ideograph), decided on UTF-8 bytes.

Python's own `str` methods say which is which, so that a kernel and its plain reference agree.
"""

import functools
from typing import Any, TypeAlias

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Integer: TypeAlias = int | np.int64  # one type in compiled code, two for the type checker

SPACE, WORD, IDEOGRAPH = 1, 2, 4
KNOWN_CHARACTERS = 0x32400  # Unicode assigns letters up to here; emoji and tags are none

# Scripts that put no spaces between words: each character counts as a word of its own.
IDEOGRAPHS = [(0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF)]
IDEOGRAPHS += [(0x20000, 0x323FF)]


@functools.cache
def character_classes() -> Array:
    """One byte per code point below KNOWN_CHARACTERS, a sum of the classes above."""
    classes = np.zeros(KNOWN_CHARACTERS, np.uint8)
    for code in range(KNOWN_CHARACTERS):
        character = chr(code)
        if character.isalnum():
            classes[code] = WORD
        elif character.isspace():
            classes[code] = SPACE
    for first, last in IDEOGRAPHS:
        part = classes[first : last + 1]
        part[part & WORD != 0] |= IDEOGRAPH
    classes.flags.writeable = False
    return classes


@numba.njit(nogil=True, cache=True, inline="always")
def character_at(utf8: Array, place: Integer) -> tuple[Integer, int]:
    """Code point and length in bytes of the character that begins at `place`."""
    lead = np.int64(utf8[place])
    if lead < 0x80:
        return lead, 1
    if lead < 0xE0:
        return (lead & 0x1F) << 6 | (utf8[place + 1] & 0x3F), 2
    if lead < 0xF0:
        code = (lead & 0x0F) << 12 | (utf8[place + 1] & 0x3F) << 6 | (utf8[place + 2] & 0x3F)
        return code, 3
    code = (lead & 0x07) << 18 | (utf8[place + 1] & 0x3F) << 12
    return code | (utf8[place + 2] & 0x3F) << 6 | (utf8[place + 3] & 0x3F), 4


@numba.njit(nogil=True, cache=True, inline="always")
def class_of(code: Integer, classes: Array) -> Integer:
    """The classes of a code point; those past the table belong to none."""
    return np.int64(classes[code]) if code < len(classes) else 0
