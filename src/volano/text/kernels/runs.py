"""One run of characters without white space into words: the rules of text.english, compiled.

The affixes come off one by one from both ends, what is left may be an exception or an address, and
else falls apart at infixes. Each rule below is a pattern of english.json, read by hand.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from volano.text.kernels.characters import Integer, character_at
from volano.text.kernels.language import (
    ALPHA,
    BEFORE_STOP,
    CODE,
    COUNT_BITS,
    COUNT_MASK,
    CURRENCY,
    DECIMAL,
    EXCEPTION,
    FIRST,
    HYPHEN,
    INFIX,
    KIND,
    LAST,
    LONGEST_EXCEPTION,
    LONGEST_UNIT,
    LOWER,
    OFFSET,
    PREFIX,
    QUOTE,
    SUFFIX,
    UNIT,
    UPPER,
    WORD,
    find,
    find_words,
    hash_bytes,
)

Array = npt.NDArray[Any]
_DOT, _PLUS, _MINUS, _STAR, _CARET, _COMMA, _SLASH, _COLON, _DOLLAR, _APOSTROPHE = b".+-*^,/:$'"
_LESS, _EQUAL, _GREATER, _CAPITAL_U, _CAPITAL_S, _CAPITAL_C, _CAPITAL_A, _SMALL_S = b"<=>USCAs"
_LONG_DASH, _CURLY, _ELLIPSIS, _DEGREE = 0x2014, 0x2019, 0x2026, 0xB0
_AT = ord("@")
_IN_SCHEME = (ord("_"), ord("+"), ord("-"), ord("."))
_IN_LABEL = (ord("_"), ord("-"))
_BEFORE_PATH = (ord("/"), ord("?"), ord("#"))
_BEFORE_DEGREE_STOP = np.array([ord(letter) for letter in "FfCcKk"], np.int64)


@numba.njit(nogil=True, cache=True)
def split_run(
    text: Array,
    start: Integer,
    stop: Integer,
    classes: Array,
    table: Array,
    lengths: Array,
    limits: Array,
    room: Array,
) -> Integer:
    """The number of words of a run that is no exception; they are in the columns FIRST and LAST of
    `room`, as places in `text`."""
    size: Integer = np.int64(0)
    place: Integer = start
    while place < stop:
        code, length = character_at(text, place)
        room[size, CODE], room[size, OFFSET] = code, place
        room[size, KIND] = classes[code] if code < len(classes) else 0
        size += 1
        place += length
    room[size, OFFSET] = stop
    first: Integer = np.int64(0)
    last: Integer = size
    count: Integer = np.int64(
        0
    )  # words before the middle; those behind it are kept at the far end …
    behind = 0  # … the last first
    before_size: Integer = np.int64(-1)
    while first < last and last - first != before_size:
        if before_size >= 0 and _is_exception(text, first, last, table, limits, room):
            break
        before_size = last - first
        head = _prefix(room, first, last)
        rest = first + head
        if head and rest < last and _is_exception(text, rest, last, table, limits, room):
            count = _put(room, count, first, rest)
            first = rest
            break
        tail = _suffix(text, first + head, last, table, limits, room)
        rest = last - tail
        if tail and first < rest and _is_exception(text, first, rest, table, limits, room):
            behind += 1
            _put(room, size + 1 - behind, rest, last)
            last = rest
            break
        if head:
            count = _put(room, count, first, first + head)
            first += head
        if tail:
            behind += 1
            _put(room, size + 1 - behind, last - tail, last)
            last -= tail
    if first < last:
        found: Integer = np.int64(-1)
        begin, end = room[first, OFFSET], room[last, OFFSET]
        if end - begin <= limits[LONGEST_EXCEPTION]:
            key = hash_bytes(text, begin, end)
            found = find_words(table, lengths, EXCEPTION, key, end - begin)
        if found >= 0:
            for each in range(found >> COUNT_BITS, (found >> COUNT_BITS) + (found & COUNT_MASK)):
                room[count, FIRST], room[count, LAST] = begin, begin + lengths[each]
                begin += lengths[each]
                count += 1
        elif _is_url(room, first, last):
            count = _put(room, count, first, last)
        else:
            count = _infixed(room, first, last, count)
    for each in range(size + 1 - behind, size + 1):
        room[count, FIRST], room[count, LAST] = room[each, FIRST], room[each, LAST]
        count += 1
    return count


@numba.njit(nogil=True, cache=True, inline="always")
def _put(room: Array, count: Integer, first: Integer, last: Integer) -> Integer:
    room[count, FIRST], room[count, LAST] = room[first, OFFSET], room[last, OFFSET]
    return count + 1


@numba.njit(nogil=True, cache=True)
def _is_exception(
    text: Array, first: Integer, last: Integer, table: Array, limits: Array, room: Array
) -> bool:
    start, stop = room[first, OFFSET], room[last, OFFSET]
    if stop - start > limits[LONGEST_EXCEPTION]:
        return False
    return bool(find(table, EXCEPTION, hash_bytes(text, start, stop)) >= 0)


@numba.njit(nogil=True, cache=True)
def _is_digit(code: Integer) -> bool:
    return bool(48 <= code <= 57)


@numba.njit(nogil=True, cache=True)
def _prefix(room: Array, first: Integer, last: Integer) -> Integer:
    code = room[first, CODE]
    if code == _DOT:
        stop = first
        while stop < last and room[stop, CODE] == _DOT:
            stop += 1
        return stop - first if stop - first > 1 else 0
    if code == _PLUS and first + 1 < last and _is_digit(room[first + 1, CODE]):
        return 0
    if room[first, KIND] & PREFIX:
        return 1
    return _foreign_dollar(room, first, last)


@numba.njit(nogil=True, cache=True)
def _foreign_dollar(room: Array, first: Integer, last: Integer) -> Integer:
    # US$, C$, A$
    code = room[first, CODE]
    if code in (_CAPITAL_C, _CAPITAL_A) and first + 1 < last:
        return 2 if room[first + 1, CODE] == _DOLLAR else 0
    if code == _CAPITAL_U and first + 2 < last:
        return 3 if room[first + 1, CODE] == _CAPITAL_S and room[first + 2, CODE] == _DOLLAR else 0
    return 0


@numba.njit(nogil=True, cache=True)
def _suffix(
    text: Array, first: Integer, last: Integer, table: Array, limits: Array, room: Array
) -> Integer:
    # The longest, which is what a search from the left finds.
    if first >= last:
        return 0
    found = 0
    code, end = room[last - 1, CODE], last - 1
    if code == _DOT:
        start = end
        while start > first and room[start - 1, CODE] == _DOT:
            start -= 1
        if last - start > 1:
            return last - start
        if end > first and room[end - 1, KIND] & BEFORE_STOP:
            return 1
        if end - 1 > first and room[end - 1, KIND] & UPPER and room[end - 2, KIND] & UPPER:
            return 1
        if end - 1 > first and room[end - 2, CODE] == _DEGREE:
            for letter in _BEFORE_DEGREE_STOP:
                if room[end - 1, CODE] == letter:
                    return 1
        return 0
    if room[end, KIND] & SUFFIX:
        found = 1
        if code == _ELLIPSIS and end > first and room[end - 1, CODE] == _ELLIPSIS:
            found = 2
    owned = code in (_SMALL_S, _CAPITAL_S) and end > first
    if owned and room[end - 1, CODE] in (_APOSTROPHE, _CURLY):
        found = 2
    if (
        end > first
        and _is_digit(room[end - 1, CODE])
        and (code == _PLUS or room[end, KIND] & CURRENCY)
    ):
        found = max(found, 1)
    if code == _DOLLAR:
        for length in (2, 3):
            start = last - length
            behind_digit = start - 1 >= first and _is_digit(room[start - 1, CODE])
            if behind_digit and _foreign_dollar(room, start, last) == length:
                found = max(found, length)
    for length in range(1, min(limits[LONGEST_UNIT], end - first) + 1):
        start = last - length
        if _is_digit(room[start - 1, CODE]):
            key = hash_bytes(text, room[start, OFFSET], room[last, OFFSET])
            if find(table, UNIT, key) >= 0:
                found = max(found, length)
    return found


@numba.njit(nogil=True, cache=True)
def _is_url(room: Array, first: Integer, last: Integer) -> bool:
    # A web or mail address: a host behind a scheme, behind nothing, or behind any "@".
    dots = 0
    for place in range(first + 1, last - 1):
        dots += room[place, CODE] == _DOT
    if dots == 0:
        return False
    start = first
    while start < last and (room[start, KIND] & WORD != 0 or room[start, CODE] in _IN_SCHEME):
        start += 1
    scheme = start - first >= 2 and start + 2 < last and room[start, CODE] == _COLON
    scheme = scheme and room[start + 1, CODE] == _SLASH and room[start + 2, CODE] == _SLASH
    if scheme and _is_host(room, start + 3, last):
        return True
    if _is_host(room, first, last):
        return True
    for place in range(first + 1, last):
        if room[place, CODE] == _AT and _is_host(room, place + 1, last):
            return True
    return False


@numba.njit(nogil=True, cache=True)
def _is_public_ipv4(room: Array, start: Integer, last: Integer) -> bool:
    # Four numbers, of which some that nobody may have are left out, then a port and a path if any.
    values = np.zeros(4, np.int64)
    place = start
    for number in range(4):
        begin = place
        while place < last and place < begin + 4 and _is_digit(room[place, CODE]):
            values[number] = 10 * values[number] + room[place, CODE] - 48
            place += 1
        digits = place - begin
        padded = digits > 1 and room[begin, CODE] == 48
        inner = 0 < number < 3
        if not 1 <= digits <= 3 or (padded and (digits == 3 or not inner)):
            return False
        if number < 3:
            if place >= last or room[place, CODE] != _DOT:
                return False
            place += 1
    first, second = values[0], values[1]
    private = first in (10, 127) or (first == 169 and second == 254)
    private = private or (first == 192 and second == 168) or (first == 172 and 16 <= second <= 31)
    possible = 1 <= first <= 223 and second <= 255 and values[2] <= 255 and 1 <= values[3] <= 254
    return bool(possible and not private and _is_behind_host(room, place, last))


@numba.njit(nogil=True, cache=True)
def _is_host(room: Array, start: Integer, last: Integer) -> bool:
    # Labels with dots behind them, a last one of small letters, then a port and a path if any.
    if start < last and _is_digit(room[start, CODE]) and _is_public_ipv4(room, start, last):
        return True
    labels = 0
    place = start
    while True:
        begin = place
        if labels:
            stop = place
            while stop < last and room[stop, KIND] & LOWER:
                stop += 1
            if 2 <= stop - place <= 63 and _is_behind_host(room, stop, last):
                return True
        while place < last and (_in_host(room[place, CODE]) or room[place, CODE] in _IN_LABEL):
            place += 1
        if place >= last or room[place, CODE] != _DOT or not 1 <= place - begin <= 64:
            return False
        if not _in_host(room[begin, CODE]) or not _in_host(room[place - 1, CODE]):
            return False
        labels += 1
        place += 1


@numba.njit(nogil=True, cache=True)
def _in_host(code: Integer) -> bool:
    letter = 97 <= (code | 0x20) <= 122
    return bool(letter or _is_digit(code) or 0xA1 <= code <= 0xFFFF)


@numba.njit(nogil=True, cache=True)
def _is_behind_host(room: Array, place: Integer, last: Integer) -> bool:
    if place < last and room[place, CODE] == _COLON:
        stop = place + 1
        while stop < last and stop < place + 6 and room[stop, KIND] & DECIMAL:
            stop += 1
        if stop - place - 1 < 2:
            return False
        place = stop
    return bool(place == last or room[place, CODE] in _BEFORE_PATH)


@numba.njit(nogil=True, cache=True)
def _infixed(room: Array, first: Integer, last: Integer, count: Integer) -> Integer:
    start, place = first, first
    while place < last:
        length = _infix(room, first, place, last)
        if length == 0:
            place += 1
            continue
        if place == first:  # what begins a run parts nothing
            place += length
            continue
        if place != start:
            count = _put(room, count, start, place)
        count = _put(room, count, place, place + length)
        place += length
        start = place
    if start < last:
        count = _put(room, count, start, last)
    return count


@numba.njit(nogil=True, cache=True)
def _infix(room: Array, first: Integer, place: Integer, last: Integer) -> Integer:
    code, kind = room[place, CODE], room[place, KIND]
    if code == _DOT and place + 1 < last and room[place + 1, CODE] == _DOT:
        stop = place
        while stop < last and room[stop, CODE] == _DOT:
            stop += 1
        return stop - place
    if kind & INFIX:
        return 1
    if place == first or place + 1 >= last:
        return 0
    before, after = room[place - 1, KIND], room[place + 1, KIND]
    word_before = before & ALPHA != 0 or _is_digit(room[place - 1, CODE])
    computes = code in (_PLUS, _MINUS, _STAR, _CARET) and _is_digit(room[place - 1, CODE])
    if computes and (_is_digit(room[place + 1, CODE]) or room[place + 1, CODE] == _MINUS):
        return 1
    if code == _DOT:
        return 1 if before & (LOWER | QUOTE) and after & (UPPER | QUOTE) else 0
    if code == _COMMA:
        return 1 if before & ALPHA and after & ALPHA else 0
    if not word_before:
        return 0
    if kind & HYPHEN and after & ALPHA:
        return 1
    if code == _MINUS and room[place + 1, CODE] == _MINUS:
        if place + 2 < last and room[place + 2, KIND] & ALPHA:
            return 2
        if place + 3 < last and room[place + 2, CODE] == _MINUS and room[place + 3, KIND] & ALPHA:
            return 3
    if code == _LONG_DASH and room[place + 1, CODE] == _LONG_DASH:
        return 2 if place + 2 < last and room[place + 2, KIND] & ALPHA else 0
    separates = code in (_COLON, _LESS, _GREATER, _EQUAL, _SLASH)
    return 1 if separates and after & ALPHA else 0
