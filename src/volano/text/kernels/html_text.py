"""Text between tags as a reader sees it: one space for white space, references resolved."""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from volano.text.kernels.characters import Integer
from volano.text.kernels.hashing import FNV_OFFSET, FNV_PRIME
from volano.text.kernels.html_names import look_up

Array = npt.NDArray[Any]
LONGEST_REFERENCE = 32  # bytes of a name such as CounterClockwiseContourIntegral
_SPACE, _NEWLINE, _AMPERSAND, _SEMICOLON, _SHARP = b" \n&;#"
_REPLACEMENT = 0xFFFD
# What numbers from 128 to 159 mean in practice: Windows-1252, as the HTML standard has it.
_WINDOWS = np.array(
    [ord(bytes([byte]).decode("cp1252", "replace")) for byte in range(0x80, 0xA0)], np.int64
)


@numba.njit(nogil=True, cache=True)
def write_text(
    html: Array,
    place: Integer,
    stop: Integer,
    text: Array,
    begin: Integer,
    end: Integer,
    preformatted: bool,
    entities: Array,
    entity_bytes: Array,
) -> Integer:
    """Append bytes `place` to `stop` of a page to the block that began at `begin` of `text` and
    has come to `end`; gives its new end. No reference stands for more than 6 bytes per 5 of its own
    (a test asks all of them), so a sixth more room is enough."""
    while place < stop:
        byte = html[place]
        if byte == _AMPERSAND and place + 2 < stop:
            past, end = _write_reference(
                html, place, stop, text, begin, end, entities, entity_bytes
            )
            place = past
            continue
        if byte <= 32 or byte == 127:
            if preformatted and (byte in (_NEWLINE, _SPACE) or byte == 9):
                if end > begin:
                    text[end] = byte
                    end += 1
            elif byte == 9 or byte == 10 or byte == 12 or byte == 13 or byte == 32:
                end = _write_space(text, begin, end)
            place += 1  # other control characters are no text
            continue
        if byte == 0xC2 and place + 1 < stop and html[place + 1] == 0xA0:  # no-break space
            end = _write_space(text, begin, end)
            place += 2
            continue
        text[end] = byte
        end += 1
        place += 1
    return end


@numba.njit(nogil=True, cache=True, inline="always")
def _write_space(text: Array, begin: Integer, end: Integer) -> Integer:
    if end > begin and text[end - 1] != _SPACE and text[end - 1] != _NEWLINE:
        text[end] = _SPACE
        return end + 1
    return end


@numba.njit(nogil=True, cache=True)
def _write_reference(
    html: Array,
    place: Integer,
    stop: Integer,
    text: Array,
    begin: Integer,
    end: Integer,
    entities: Array,
    entity_bytes: Array,
) -> tuple[Integer, Integer]:
    # Behind the reference, and the new end. What is none stays as it is.
    if html[place + 1] == _SHARP:
        past, code = _number(html, place + 2, stop)
        if past > place + 2:
            return past, _write_code(text, begin, end, code)
    else:
        value = FNV_OFFSET
        past = place + 1
        while past < stop and past - place <= LONGEST_REFERENCE and _is_alphanumeric(html[past]):
            value = (value ^ np.uint64(html[past])) * FNV_PRIME
            past += 1
        found = np.int64(look_up(entities, value))
        closed = past < stop and html[past] == _SEMICOLON
        # Without a semicolon only the few that old pages write so.
        if found and (closed or _is_plain(html, place + 1, past)):
            first, length = found >> 8, found & 0xFF
            if length == 2 and entity_bytes[first] == 0xC2 and entity_bytes[first + 1] == 0xA0:
                return past + closed, _write_space(text, begin, end)
            for offset in range(length):
                text[end + offset] = entity_bytes[first + offset]
            return past + closed, end + length
    text[end] = _AMPERSAND
    return place + 1, end + 1


@numba.njit(nogil=True, cache=True, inline="always")
def _is_alphanumeric(byte: Integer) -> bool:
    return bool(97 <= (byte | 0x20) <= 122 or 48 <= byte <= 57)


@numba.njit(nogil=True, cache=True)
def _is_plain(html: Array, begin: Integer, end: Integer) -> bool:
    length = end - begin
    first, second = html[begin], html[begin + 1] if length > 1 else 0
    if length == 2:
        return bool((first == 108 or first == 103) and second == 116)  # lt gt
    if length == 3:
        return bool(first == 97 and second == 109 and html[begin + 2] == 112)  # amp
    if length == 4:
        if first == 113 and second == 117 and html[begin + 2] == 111:  # quot
            return bool(html[begin + 3] == 116)
        return bool(first == 110 and second == 98 and html[begin + 2] == 115)  # nbsp
    return False


@numba.njit(nogil=True, cache=True)
def _number(html: Array, place: Integer, stop: Integer) -> tuple[Integer, Integer]:
    # Behind a numeric reference whose digits (or x) begin at `place`, and its code point.
    start = place
    hexadecimal = place < stop and (html[place] | 0x20) == 120
    place += hexadecimal
    digits = place
    code: Integer = np.int64(0)
    most: Integer = np.int64(0x110000)
    while place < stop:
        byte = np.int64(html[place])
        lower = byte | 0x20
        if 48 <= byte <= 57:
            digit = byte - 48
        elif hexadecimal and 97 <= lower <= 102:
            digit = lower - 87
        else:
            break
        code = min(code * (16 if hexadecimal else 10) + digit, most)
        place += 1
    if place == digits:
        return start, np.int64(0)
    if place < stop and html[place] == _SEMICOLON:
        place += 1
    return place, code


@numba.njit(nogil=True, cache=True)
def _write_code(text: Array, begin: Integer, end: Integer, code: Integer) -> Integer:
    if 0x80 <= code < 0xA0:
        code = _WINDOWS[code - 0x80]
    if code == 0xA0 or code == 9 or code == 10 or code == 13 or code == 32:
        return _write_space(text, begin, end)
    if code < 32 or code == 127:
        return end
    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
        code = np.int64(_REPLACEMENT)
    if code < 0x80:
        text[end] = code
        return end + 1
    if code < 0x800:
        text[end] = 0xC0 | code >> 6
        text[end + 1] = 0x80 | code & 0x3F
        return end + 2
    if code < 0x10000:
        text[end] = 0xE0 | code >> 12
        text[end + 1] = 0x80 | code >> 6 & 0x3F
        text[end + 2] = 0x80 | code & 0x3F
        return end + 3
    text[end] = 0xF0 | code >> 18
    text[end + 1] = 0x80 | code >> 12 & 0x3F
    text[end + 2] = 0x80 | code >> 6 & 0x3F
    text[end + 3] = 0x80 | code & 0x3F
    return end + 4
