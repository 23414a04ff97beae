"""E-mail addresses and telephone numbers as people write them to each other.

In documentation most of what looks like one is none, so text.pii is narrow there. What somebody
types into a chat is the other way round: one that is missed is learnt by a model, and a number that
is lost costs little. So here an address may stand in any script, under any top-level domain, in a
link (%40), spelt out (jane at-sign in brackets, full-width letters) or be broken by what nobody
sees; a number may have no country code, the separators of any country, or none.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

UNSEEN = "\u00ad\u200b\u200c\u200d\u2060\ufeff"
_SPELT = re.compile(rf"%40|[ ]?[(\[{{]at[)\]}}][ ]?|[ ]?[(\[{{]dot[)\]}}][ ]?|[{UNSEEN}]+", re.I)
_ADDRESS = re.compile(r"[\w.%+'-]{1,64}(?:@| @ )((?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24})")
# Nobody lives there, and these are no persons.
_NOBODY = re.compile(r"(?:^|\.)(?:example(?:\.(?:com|org|net|edu))?|localhost|localdomain)$", re.I)
_SERVICE_USERS = ("git@", "noreply@", "no-reply@")
_NUMBER = re.compile(r"(?<![\w.+-])(?:\+ ?)?\(?[0-9][0-9 ()./-]{5,20}[0-9](?![\w-]|\.[0-9])")
# A fraction, a date, and single digits in a row are written so too.
_NO_NUMBER = re.compile(
    r"[0-9]+\.[0-9]+|[12][0-9]{3}[-/.][01]?[0-9][-/.][0-3]?[0-9]\b.*|(?:.*\b[0-9]\b){3}.*"
)
_FICTION = re.compile(r"1?[2-9][0-9]{2}55501[0-9]{2}")
_FEWEST, _MOST = 7, 15  # digits of a number (ITU-T E.164)


class Plain(NamedTuple):
    """A text as it is meant, and where each of its characters begins and ends in the original."""

    text: str
    begins: Sequence[int]
    ends: Sequence[int]


def plainly(text: str) -> Plain:
    """The text without what is unseen, full-width letters as plain ones, a spelt-out @ as one."""
    if text.isascii() and not _SPELT.search(text):  # nearly all of them
        return Plain(text, range(len(text)), range(1, len(text) + 1))
    pieces: list[tuple[str, int, int]] = []
    place = 0
    for match in _SPELT.finditer(text):
        pieces += [(_folded(text[at]), at, at + 1) for at in range(place, match.start())]
        said = match[0].strip().lower()
        meant = "." if "dot" in said else "" if said.strip(UNSEEN) == "" else "@"
        pieces += [(meant, match.start(), match.end())] if meant else []
        place = match.end()
    pieces += [(_folded(text[at]), at, at + 1) for at in range(place, len(text))]
    return Plain(
        "".join(piece for piece, _, _ in pieces),
        [begin for _, begin, _ in pieces],
        [end for _, _, end in pieces],
    )


def _folded(character: str) -> str:
    folded = unicodedata.normalize("NFKC", character)
    return folded if len(folded) == 1 else character


def said_addresses(text: str) -> Iterator[tuple[int, int]]:
    """E-mail addresses, but those of nobody."""
    for match in _ADDRESS.finditer(text):
        if not _NOBODY.search(match[1]) and not match[0].lower().startswith(_SERVICE_USERS):
            yield match.span()


def said_numbers(text: str) -> Iterator[tuple[int, int]]:
    """Telephone numbers that are in use somewhere, by the `phonenumbers` library."""
    for match in _NUMBER.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        plain = digits in "01234567890" or of_nobody(digits) or _NO_NUMBER.fullmatch(match[0])
        if _FEWEST <= len(digits) <= _MOST and not plain and is_number(match[0], digits):
            yield match.span()


def of_nobody(number: str) -> bool:
    """Whether it is kept for fiction in North America (555-0100 to 555-0199), or begins as none."""
    digits = re.sub(r"\D", "", number)
    return _FICTION.fullmatch(digits) is not None or digits.startswith("000")


def is_number(written: str, digits: str) -> bool:
    """Whether it is in use somewhere; with no sign of a country, in North America."""
    if written.startswith("+"):
        return _is_valid(f"+{digits}", None)
    if digits.startswith("00"):
        return _is_valid(f"+{digits[2:]}", None)
    if digits.startswith("0"):  # with the trunk prefix of some country
        return any(_is_valid(digits, region) for region in _regions())
    near_power = any((int(digits) + more) & (int(digits) + more - 1) == 0 for more in (-1, 0, 1))
    return not near_power and _is_valid(digits, "US")  # the one country that writes none


@cache
def _regions() -> tuple[str, ...]:
    import phonenumbers

    return tuple(sorted(phonenumbers.SUPPORTED_REGIONS))


def _is_valid(number: str, region: str | None) -> bool:
    import phonenumbers

    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number, region))
    except phonenumbers.NumberParseException:
        return False
