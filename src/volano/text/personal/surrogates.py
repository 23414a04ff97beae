"""Plausible values of nobody, in the place of personal data.

The same value becomes the same surrogate under one key, in the form that it had. Each comes from a
range in which nobody lives (RFC 2606, RFC 5737, RFC 3849, the numbers kept for fiction), or is
wrong by design (check digits), or is made up, so that what looks for personal data leaves it
alone: done twice, nothing changes any more. Keys get a tag; a false key has no use.
"""

import re
from collections.abc import Callable
from functools import cache

from volano.text.personal.keyed import digest, plain

_DOMAINS = ("example.com", "example.net", "example.org")
_NETWORKS = ("192.0.2", "198.51.100", "203.0.113")
_CONSONANTS = "bdfgklmnprstvz"
_VOWELS = "aeiou"
_CODAS = ("", "n", "r", "l", "s", "nd", "rn", "x")
_STREETS = ("Street", "Road", "Avenue", "Lane")


def surrogate(kind: str, value: str, key: bytes) -> str:
    """What stands for the value. Deterministic: it depends on kind, value and key alone."""
    return _MAKERS[kind](value, key) if kind in _MAKERS else f"<{kind.upper()}>"


class _Draw:
    """Numbers drawn from a digest, the same for the same value."""

    def __init__(self, key: bytes, kind: str, value: str) -> None:
        self._left = int.from_bytes(digest(key, kind, value), "big")

    def below(self, bound: int) -> int:
        self._left, drawn = divmod(self._left, bound)
        return drawn

    def one_of(self, choices: str) -> str:
        return choices[self.below(len(choices))]


def _email(value: str, key: bytes) -> str:
    draw = _Draw(key, "email", plain("email", value))
    names = f"{_made_up(draw)}.{_made_up(draw)}".lower()
    return f"{names}{draw.below(1000)}@{_DOMAINS[draw.below(3)]}"


def _ip_address(value: str, key: bytes) -> str:
    draw = _Draw(key, "ip_address", value.lower())
    if ":" in value:
        groups = ":".join(f"{draw.below(1 << 16):x}" for _ in range(6))
        return f"2001:db8:{groups}"
    return f"{_NETWORKS[draw.below(3)]}.{draw.below(254) + 1}"


def _phone(value: str, key: bytes) -> str:
    draw = _Draw(key, "phone", plain("phone", value))
    area, line = 200 + draw.below(800), draw.below(100)
    if value.startswith("+"):
        return f"+1 {area}-555-01{line:02}"
    if value.startswith("("):
        return f"({area}) 555-01{line:02}"
    join = next((each for each in ".- " if each in value), "-")
    return f"{area}{join}555{join}01{line:02}"


def _credit_card(value: str, key: bytes) -> str:
    # No issuer has 0.
    draw = _Draw(key, "credit_card", plain("credit_card", value))
    return _like(value, draw, zeros=4)


def _iban(value: str, key: bytes) -> str:
    # The check digits of a true one are 02 to 98. 7 to 9 begin no card, wherever a group begins.
    draw = _Draw(key, "iban", plain("iban", value))
    rest = "".join(each if each in " -" else draw.one_of("0789") for each in value[4:])
    return value[:2] + "00" + rest


def _national_id(value: str, key: bytes) -> str:
    from volano.text.personal.national import could_be_one

    draw = _Draw(key, "national_id", plain("national_id", value))
    made = _like(value, draw, zeros=3)
    if made[:2].isalpha():  # Q begins no number of the United Kingdom and of India
        made = "QQ" + made[2:]
    return made if not could_be_one(made) else re.sub("[0-9]", "0", made)


def _like(value: str, draw: _Draw, zeros: int) -> str:
    # The same separators, digits for digits and letters for letters; the first digits are 0.
    made = []
    for character in value:
        if character.isdigit():
            made.append("0" if zeros > 0 else str(draw.below(10)))
            zeros -= 1
        elif character.isalpha():
            made.append(draw.one_of("BCDFGHJKLMNPQRSTVWXZ"))
        else:
            made.append(character)
    return "".join(made)


def _crypto_address(value: str, key: bytes) -> str:
    draw = _Draw(key, "crypto_address", value)
    if value.startswith("0x"):
        return "0x" + "0" * 8 + "".join(draw.one_of("0123456789abcdef") for _ in range(32))
    begin = value[:3] if value[:2].lower() == "bc" else value[0]
    body = "".join(draw.one_of("23456789qwertyup") for _ in range(len(value) - len(begin)))
    return begin + (body.upper() if begin == "BC1" else body)


def _street_address(value: str, key: bytes) -> str:
    draw = _Draw(key, "street_address", plain("street_address", value))
    return f"{draw.below(999) + 1} Example {_STREETS[draw.below(4)]}"


def _person_name(value: str, key: bytes) -> str:
    # Word by word, so that "Ann Lee" and "Dr. Lee" stay one family.
    def of(match: re.Match[str]) -> str:
        word = match[0]
        if not word[0].isupper():  # van, de
            return word
        draw = _Draw(key, "person_name", word.casefold())
        made = _made_up(draw)
        return made[0] if len(word) == 1 else made

    return re.sub(r"[^\W\d_]+", of, value)


def _made_up(draw: _Draw) -> str:
    from volano.text.personal.names import names

    made = _word(draw.below(1 << 20))
    listed, place = names(), 0
    while made in listed:
        place += 1
        made = _word(draw.below(1 << 20) + place)
    return made


def _word(number: int) -> str:
    parts = []
    for letters in (_CONSONANTS, _VOWELS, _CONSONANTS, _VOWELS):
        number, place = divmod(number, len(letters))
        parts.append(letters[place])
    return "".join(parts).capitalize() + _CODAS[number % len(_CODAS)]


@cache
def made_up_names() -> frozenset[str]:
    """Every name that a surrogate may have, none of which is in the list of names."""
    from volano.text.personal.names import names

    every = len(_CONSONANTS) ** 2 * len(_VOWELS) ** 2 * len(_CODAS)
    return frozenset(_word(number) for number in range(every)) - names().keys()


_MAKERS: dict[str, Callable[[str, bytes], str]] = {
    "crypto_address": _crypto_address,
    "email": _email,
    "iban": _iban,
    "credit_card": _credit_card,
    "national_id": _national_id,
    "phone": _phone,
    "ip_address": _ip_address,
    "street_address": _street_address,
    "person_name": _person_name,
}
