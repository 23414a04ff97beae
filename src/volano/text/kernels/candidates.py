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
IBAN, NATIONAL_ID, CRYPTO_ADDRESS = 64, 128, 256
EVERY_KIND = 511
PERSON_NAME, STREET_ADDRESS = 512, 1024  # not by this scan (text.kernels.known_words)

# The first three bytes of the tokens that text.personal.secrets knows.
KEY_BEGINNINGS = (
    "AKI", "ASI", "AIz", "GOC", "ghp", "gho", "ghu", "ghs", "ghr", "git", "glp", "xox", "sk_",
    "rk_", "sk-", "hf_", "gsk", "r8_", "npm", "pyp", "dop", "dap", "shp", "eyJ",
)  # fmt: skip
SHORTEST_KEY_BYTES = 20
SHORTEST_COIN_BYTES = 14
_KEY_CODES = np.array([int.from_bytes(each.encode()) for each in KEY_BEGINNINGS], np.int64)
FEWEST_PHONE_DIGITS = 7
# The first three letters of the words that make digits a telephone number (text.personal.contact).
WORDS_BEFORE = (
    "pho", "tel", "mob", "cel", "fax", "hot", "wha", "des", "lan", "han", "sms", "cal", "rin",
    "rea", "dia", "tex", "mes", "con", "reg",
)  # fmt: skip
WORDS_BEHIND = ("off", "fax", "mob", "pho", "cel", "hom", "wor")
# Likewise of the words that make digits a national id (text.personal.national).
WORDS_OF_IDS = (
    "ssn", "soc", "iti", "tax", "sin", "nhs", "cpf", "per", "pnr", "nir", "ste", "idn", "bsn",
    "bur", "pes", "rij", "reg", "cpr", "dse", "tfn", "aad", "uid", "ide", "kim", "tck", "isr",
    "teu", "sec",
)  # fmt: skip
# Five bits a letter; 1 before a telephone number, 2 behind one, 4 before a national id.
_WORD_CODES = np.zeros(1 << 15, np.uint8)
for _bit, _words in ((1, WORDS_BEFORE), (2, WORDS_BEHIND), (4, WORDS_OF_IDS)):
    for _word in _words:
        _one, _two, _three = (ord(letter) & 31 for letter in _word)
        _WORD_CODES[_one << 10 | _two << 5 | _three] |= _bit
# A little more than text.personal looks at.
_CHARACTERS_BEFORE, _CHARACTERS_BEHIND, _CHARACTERS_BEFORE_ID = 60, 30, 100
_AT, _PLUS, _DASH, _DOT, _COLON, _SPACE, _UNDERSCORE = b"@+-.: _"
_OPEN, _CLOSE, _SLASH = b"()/"
_NEVER = 99  # a gap too wide to join two runs of digits


def pii_candidates(texts: Texts, wanted: int = EVERY_KIND) -> Array:
    """One sum of the kinds above per document; 0 for null. A kind that is absent cannot occur, or
    is none of those in the sum `wanted`."""
    bounds, utf8, missing = text_buffers(texts)
    found = np.zeros(len(missing), np.uint16)
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
        elif byte == _COLON and _may_be_ipv6(text, place):
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
    token_digits = 0
    last = second_last = 0  # lengths of the two runs of digits before this one
    gap, gap_byte = _NEVER, 0  # bytes between this run and the one before, and the last of them
    quads = 0  # runs of at most three digits in a row, joined by single dots
    joined = 0  # digits in runs that single spaces or dashes join
    spread, apart = 0, 0  # digits as a telephone number has them, and bytes since the last
    # Places: this one, the last word for a telephone, its last digits, the last word for an id.
    character, said, numbered, called_id = 0, -_NEVER, -_NEVER, -_NEVER
    letters, word = 0, 0  # in a row, and the code of the last three
    is_date = False  # whether these digits are one, as in 2024-01-15
    led = False  # whether 0 leads any group of them
    signed = False  # whether "+" stands before what a telephone number is written with
    stop = len(text)
    for place in range(stop + 1):
        byte = int(text[place]) if place < stop else _UNDERSCORE
        character += byte & 0xC0 != 0x80
        if 48 <= byte <= 57:
            if run == 0:
                if gap > 2:
                    last = second_last = 0
                if gap != 1 or gap_byte != _DOT:
                    quads = 0
                if gap != 1 or (gap_byte != _DASH and gap_byte != _SPACE):
                    joined = 0
                if place >= 2 and _may_be_iban(text, place):
                    found |= IBAN
            run += 1
            joined += 1
            spread += 1
            apart = letters = 0
            led |= run == 1 and byte == 48
            if spread == 1:
                led = byte == 48
                signed = place > 0 and text[place - 1] == _PLUS
                if character - said > _CHARACTERS_BEFORE:
                    said = -_NEVER
        else:
            if run > 0:
                found |= _kinds_of_run(run, last, second_last)
                if joined >= 9 and character - called_id <= _CHARACTERS_BEFORE_ID:
                    found |= NATIONAL_ID
                if run == 2 and last == 2 and _ends_nino(text, place):
                    found |= NATIONAL_ID
                is_date = spread == 8 and run == 2 and _ends_date(text, place)
                quads = quads + 1 if run <= 3 else 0
                if quads >= 4:
                    found |= IP_ADDRESS
                last, second_last = run, last
                run, gap = 0, 0
            joins = byte in (_DOT, _DASH, _SPACE, _OPEN, _CLOSE)
            gap = gap + 1 if joins else _NEVER
            gap_byte = byte
            apart = apart + 1 if joins or byte == _SLASH else _NEVER
            if spread and apart > 3:
                if spread >= FEWEST_PHONE_DIGITS and not is_date:
                    numbered = character
                    if said >= 0:
                        found |= PHONE
                if (signed and spread >= 6) or (led and spread >= 9):
                    found |= PHONE
                spread = 0
            if 97 <= (byte | 0x20) <= 122:
                letters += 1
                word = (word << 5 | (byte & 31)) & 0x7FFF
                if letters == 3 and _WORD_CODES[word]:
                    if _WORD_CODES[word] & 1:
                        said = character
                    if _WORD_CODES[word] & 2 and character - numbered <= _CHARACTERS_BEHIND:
                        found |= PHONE
                    if _WORD_CODES[word] & 4:
                        called_id = character
            else:
                letters = 0
        if byte == _AT and 0 < place < stop - 1:
            if _is_word(text[place - 1]) or text[place - 1] in (_DASH, _PLUS, _DOT, 37):
                found |= EMAIL
        elif byte == _COLON and _may_be_ipv6(text, place):
            found |= IP_ADDRESS
        if place < stop and byte < 0x80 and (_is_word(byte) or byte == _DASH):
            token += 1
            token_digits += 48 <= byte <= 57
            dashes = dashes + 1 if byte == _DASH else 0
            if dashes >= 5 and place + 1 < stop and text[place + 1] == 66:  # -----BEGIN
                found |= PRIVATE_KEY
        elif token:
            if token >= SHORTEST_COIN_BYTES:
                found |= _kinds_of_long_token(text[place - token : place])
            if _may_be_id(text[place - token : place], token_digits):
                found |= NATIONAL_ID
            token = dashes = token_digits = 0
    return found


@numba.njit(nogil=True, cache=True)
def _may_be_ipv6(text: Array, place: int) -> bool:
    # 2xxx: or 3xxx:, the only block of global unicast addresses in use, or eight groups in full
    if place >= 4 and _begins_ipv6(text[place - 4 : place]):
        return True
    for _ in range(7):
        if place >= len(text) - 1 or text[place] != _COLON or not _is_hex(text[place + 1]):
            return False
        start = place + 1
        place = start
        while place < len(text) and place < start + 4 and _is_hex(text[place]):
            place += 1
    return True


@numba.njit(nogil=True, cache=True, inline="always")
def _is_hex(byte: Integer) -> bool:
    return bool(48 <= byte <= 57 or 97 <= (byte | 0x20) <= 102)


@numba.njit(nogil=True, cache=True)
def _begins_ipv6(group: Array) -> bool:
    hexadecimal = True
    for byte in group[1:]:
        hexadecimal &= _is_hex(byte)
    return hexadecimal and (group[0] == 50 or group[0] == 51)


@numba.njit(nogil=True, cache=True)
def _may_be_iban(text: Array, place: int) -> bool:
    # Two letters and two digits, then eleven more in a row or groups of four.
    stop = len(text)
    if not (_is_letter(text[place - 1]) and _is_letter(text[place - 2])):
        return False
    if place + 10 >= stop or not _is_digit(text[place + 1]):
        return False
    if place >= 3 and (_is_letter(text[place - 3]) or _is_digit(text[place - 3])):
        return False
    place += 2
    if text[place] == _SPACE or text[place] == _DASH:
        for ahead in range(1, 5):
            if not (_is_digit(text[place + ahead]) or _is_letter(text[place + ahead])):
                return False
        return bool(text[place + 5] == text[place])
    length = 4
    while place < stop and length <= 35 and (_is_digit(text[place]) or _is_letter(text[place])):
        place, length = place + 1, length + 1
    return 15 <= length <= 34


@numba.njit(nogil=True, cache=True, inline="always")
def _is_letter(byte: Integer) -> bool:
    return bool(97 <= (byte | 0x20) <= 122)


@numba.njit(nogil=True, cache=True)
def _kinds_of_run(run: int, last: int, second_last: int) -> int:
    found = 0
    if run == 4 and last == 3 and second_last == 3:
        found |= PHONE
    if run >= 12 or (run == 4 and last == 4 and second_last == 4) or (run == 6 and last == 4):
        found |= CREDIT_CARD
    if (run == 4 and last == 2 and second_last == 3) or run >= 17:
        found |= NATIONAL_ID
    if (run == 2 and last == second_last and 3 <= last <= 4) or (last == 6 and 3 <= run <= 7):
        found |= NATIONAL_ID
    return found


@numba.njit(nogil=True, cache=True)
def _ends_date(text: Array, place: int) -> bool:
    # 2024-01-15
    if place < 10 or text[place - 6] != _DASH or text[place - 3] != _DASH:
        return False
    year, month, day = text[place - 10], text[place - 5], text[place - 2]
    return bool((year == 49 or year == 50) and month <= 49 and day <= 51)


@numba.njit(nogil=True, cache=True)
def _ends_nino(text: Array, place: int) -> bool:
    # AB 12 34 56 C
    return bool(place + 1 < len(text) and text[place] == _SPACE and 65 <= text[place + 1] <= 68)


@numba.njit(nogil=True, cache=True)
def _kinds_of_long_token(token: Array) -> int:
    # A key may stand behind a dash, as in `--token-ghp_…`, so each part counts as a beginning.
    found = 0
    for place in range(len(token) - SHORTEST_COIN_BYTES + 1):
        if place > 0 and token[place - 1] != _DASH:
            continue
        first, second = np.int64(token[place]), np.int64(token[place + 1])
        third = np.int64(token[place + 2])
        length = len(token) - place
        if length >= SHORTEST_KEY_BYTES:
            code = first << 16 | second << 8 | third
            for known in _KEY_CODES:
                if code == known:
                    found |= API_KEY
        part = 0
        while part < length and token[place + part] != _DASH:
            part += 1
        # 1…, 3…, bc1…, 0x…
        if (first == 49 or first == 51) and 26 <= part <= 35:
            found |= CRYPTO_ADDRESS
        if third == 49 and (first | 0x20) == 98 and (second | 0x20) == 99 and 14 <= part <= 74:
            found |= CRYPTO_ADDRESS
        if first == 48 and second == 120 and part == 42:
            found |= CRYPTO_ADDRESS
    return found


@numba.njit(nogil=True, cache=True)
def _may_be_id(token: Array, digits: int) -> bool:
    # Letters of national ids are capitals; India's tax number has four digits, others six or more.
    if not 9 <= len(token) <= 20 or digits == len(token):
        return False
    if digits < 6 and (digits != 4 or len(token) != 10):
        return False
    capital, small = False, False
    for byte in token:
        capital |= 65 <= byte <= 90
        small |= 97 <= byte <= 122
    return capital and not small


@numba.njit(nogil=True, cache=True)
def _is_word(byte: Integer) -> bool:
    letter = 97 <= (byte | 0x20) <= 122
    return bool(letter or 48 <= byte <= 57 or byte == _UNDERSCORE or byte >= 0x80)
