"""Which documents may hold personal data: a scan of bytes that never misses and seldom cries wolf.

Regular expressions over every document cost more than all other measures together. This scan
reads each byte once and names the kinds of personal data whose outer form occurs at all; only
those documents become Python strings, and only those patterns run (see text.pii).
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from volano.text.kernels.buffers import Texts, text_buffers
from volano.text.kernels.characters import Integer

Array = npt.NDArray[Any]
EMAIL, PHONE, IP_ADDRESS, API_KEY, PRIVATE_KEY, CREDIT_CARD = 1, 2, 4, 8, 16, 32
EVERY_KIND = 63

# The first two bytes of the tokens that text.pii knows (AKIA…, ghp_…, sk-…, hf_… and so on).
KEY_BEGINNINGS = ("AK", "AS", "AI", "gh", "gi", "gl", "xo", "sk", "rk", "hf", "np", "py")
SHORTEST_KEY_BYTES = 20
_KEY_CODES = np.array([ord(pair[0]) << 8 | ord(pair[1]) for pair in KEY_BEGINNINGS], np.int64)
_AT, _PLUS, _DASH, _DOT, _COLON, _SPACE, _UNDERSCORE = b"@+-.: _"
_OPEN, _CLOSE = b"()"
_NEVER = 99  # a gap too wide to join two runs of digits


def pii_candidates(texts: Texts, wanted: int = EVERY_KIND) -> Array:
    """One sum of the kinds above per document; 0 for null. A kind that is absent cannot occur, or
    is none of those in the sum `wanted`."""
    bounds, utf8, missing = text_buffers(texts)
    found = np.zeros(len(missing), np.uint8)
    _fill_candidates(bounds, utf8, wanted, found)
    return found


@numba.njit(nogil=True, cache=True)
def _fill_candidates(bounds: Array, utf8: Array, wanted: int, found: Array) -> None:
    quick = wanted & ~(EMAIL | IP_ADDRESS) == 0
    for row in range(len(found)):
        text = utf8[bounds[row] : bounds[row + 1]]
        found[row] = (_addresses(text) if quick else _scan(text)) & wanted


@numba.njit(nogil=True, cache=True)
def _addresses(text: Array) -> int:
    # E-mail and IP alone: few bytes need a second look.
    found = 0
    for place in range(1, len(text) - 1):
        byte = text[place]
        if byte == _AT:
            found |= EMAIL
        elif byte == _DOT:
            if _is_digit(text[place - 1]) and _is_digit(text[place + 1]) and _is_quad(text, place):
                found |= IP_ADDRESS
        elif byte == _COLON and place >= 4 and _begins_ipv6(text[place - 4 : place]):
            found |= IP_ADDRESS
    return found


@numba.njit(nogil=True, cache=True)
def _is_quad(text: Array, place: int) -> bool:
    # Whether two more groups of at most three digits follow the one behind this dot.
    for _ in range(2):
        start = place + 1
        place = start
        while place < len(text) and place < start + 3 and _is_digit(text[place]):
            place += 1
        if place >= len(text) - 1 or text[place] != _DOT or not _is_digit(text[place + 1]):
            return False
    return True


@numba.njit(nogil=True, cache=True, inline="always")
def _is_digit(byte: Integer) -> bool:
    return bool(48 <= byte <= 57)


@numba.njit(nogil=True, cache=True)
def _scan(text: Array) -> int:
    found = 0
    run = token = dashes = 0  # digits, token bytes and dashes in a row up to here
    last = second_last = 0  # lengths of the two runs of digits before this one
    gap, gap_is_dot = _NEVER, False  # bytes between this run and the one before
    quads = 0  # runs of at most three digits in a row, joined by single dots
    stop = len(text)
    for place in range(stop + 1):
        byte = np.int64(text[place]) if place < stop else _UNDERSCORE
        if 48 <= byte <= 57:
            if run == 0:
                if gap > 2:
                    last = second_last = 0
                if gap != 1 or not gap_is_dot:
                    quads = 0
            run += 1
        elif run > 0:
            found |= _kinds_of_run(run, last, second_last)
            quads = quads + 1 if run <= 3 else 0
            if quads >= 4:
                found |= IP_ADDRESS
            last, second_last = run, last
            run, gap = 0, 0
        if run == 0:
            joins = byte in (_DOT, _DASH, _SPACE, _OPEN, _CLOSE)
            gap = gap + 1 if joins else _NEVER
            gap_is_dot = byte == _DOT
        if byte == _AT and 0 < place < stop - 1:
            if _is_word(text[place - 1]) or text[place - 1] in (_DASH, _PLUS, _DOT, 37):
                found |= EMAIL
        elif byte == _PLUS and place + 1 < stop and 48 <= text[place + 1] <= 57:
            found |= PHONE
        elif byte == _COLON and place >= 4 and _begins_ipv6(text[place - 4 : place]):
            found |= IP_ADDRESS
        if place < stop and byte < 0x80 and (_is_word(byte) or byte == _DASH):
            token += 1
            dashes = dashes + 1 if byte == _DASH else 0
            if dashes >= 5 and place + 1 < stop and text[place + 1] == 66:  # -----BEGIN
                found |= PRIVATE_KEY
        else:
            if token >= SHORTEST_KEY_BYTES and _may_be_key(text[place - token : place]):
                found |= API_KEY
            token = dashes = 0
    return found


@numba.njit(nogil=True, cache=True)
def _begins_ipv6(group: Array) -> bool:
    # 2xxx: or 3xxx:, the only block of global unicast addresses in use
    hexadecimal = True
    for byte in group[1:]:
        hexadecimal &= 48 <= byte <= 57 or 97 <= (byte | 0x20) <= 102
    return hexadecimal and (group[0] == 50 or group[0] == 51)


@numba.njit(nogil=True, cache=True)
def _kinds_of_run(run: int, last: int, second_last: int) -> int:
    found = 0
    if run == 4 and last == 3 and second_last == 3:
        found |= PHONE
    if run >= 13 or (run == 4 and last == 4 and second_last == 4) or (run == 6 and last == 4):
        found |= CREDIT_CARD
    return found


@numba.njit(nogil=True, cache=True)
def _may_be_key(token: Array) -> bool:
    # A key may stand behind a dash, as in `--token-ghp_…`, so each part counts as a beginning.
    for place in range(len(token) - SHORTEST_KEY_BYTES + 1):
        if place > 0 and token[place - 1] != _DASH:
            continue
        code = np.int64(token[place]) << 8 | np.int64(token[place + 1])
        for known in _KEY_CODES:
            if code == known:
                return True
    return False


@numba.njit(nogil=True, cache=True)
def _is_word(byte: Integer) -> bool:
    letter = 97 <= (byte | 0x20) <= 122
    return bool(letter or 48 <= byte <= 57 or byte == _UNDERSCORE or byte >= 0x80)
