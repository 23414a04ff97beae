"""Postal addresses: a number and a street, and the lines that go on from there.

What is an address differs by country and no list holds all streets. An address counts where
something says so: a word for a street beside a number (12 High Street, Rua do Sol 5,
Hauptstraße 3), a flat or a suite, a box number, or words that lead up to one ("lives at", "my
address is"). A street without a number, a city or a postcode alone is none.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache

from volano.text.kernels.known_words import LETTERS, WordTable, word_table

STREET, PREFIX, BOX, UNIT, SAYS, ENDING = (1 << n for n in range(6))
TRIGGERS = STREET | PREFIX | BOX | UNIT | SAYS | ENDING
_STREETS = (
    "Street", "St", "Str", "Road", "Rd", "Avenue", "Ave", "Lane", "Ln", "Drive", "Dr", "Boulevard",
    "Blvd", "Court", "Ct", "Place", "Pl", "Square", "Sq", "Way", "Close", "Crescent", "Terrace",
    "Highway", "Hwy", "Parkway", "Pkwy", "Circle", "Trail", "Alley",
)  # fmt: skip
_PREFIXES = (
    "Rua", "Rue", "rue", "Via", "Calle", "Avenida", "Avda", "Av", "Piazza", "Plaza", "Strada", "ul",
    "Ulica", "Avenue", "Boulevard", "utca", "Praça", "Rambla", "Corso", "Viale", "Chemin",
)  # fmt: skip
_BOXES = ("Box", "PSC", "Postbox", "Postfach", "APO", "FPO", "DPO")
_UNITS = ("Apt", "Suite", "Apartment", "Flat")
_SAYING = ("address", "Address", "lives", "lived", "live", "located", "addresses")
_ENDINGS = (
    "straße", "strasse", "gasse", "straat", "gata", "gatan", "gade", "vej", "vägen", "vegen",
    "veien", "katu", "kuja", "laan", "weg", "platz", "allee",
)  # fmt: skip

_W = rf"[{LETTERS}][{LETTERS}'’.-]*"
_CAPITAL = rf"[A-Z\u00C0-\u00DE\u0100-\u017F\u1E00-\u1EFF][{LETTERS}'’.-]*"
_ORDINAL = r"[0-9]{1,3}(?:st|nd|rd|th)"
_NOWHERE = re.compile(r"\bExample\b")  # 12 Example Street: what surrogates are made of
_BEFORE = 60  # characters that an address may begin before the word that tells of it
# What may stand right before a word for a street, to the end of what is looked at.
_NUMBERED = re.compile(
    rf"(?<![\w.,-])[0-9]{{1,6}}[A-Za-z]?(?:[ ][0-9]{{1,5}})?"
    rf"(?:[ ](?:[NSEW]\.?|{_CAPITAL}|{_ORDINAL})){{1,4}}[ ]$"
)
_NUMBERS_BEFORE = re.compile(r"(?<![\w.,-])[0-9]{1,6}(?:[ ][0-9]{1,5})?,?[ ]$")
_NAME_BEFORE = re.compile(
    rf"(?<![\w.,-])(?:[0-9]{{1,6}}[ ])?(?:[0-9]{{1,5}}[ ])?(?:{_CAPITAL}[ ]){{0,3}}{_W}"
    rf"[ ][0-9]{{1,5}}\.?[,\s]{{1,4}}$"
)
_STREET_BEFORE = re.compile(rf"(?<![\w.,-])(?:[0-9]{{1,6}}[ ])?(?:{_CAPITAL}[ ]){{0,3}}$")
_OF = r"(?:d[aeiou]s?|d['’]|del|della|delle|la|le|les|el|al|of|the|van|von|z|dos)"
_NAMED = rf"(?:[ ]{_OF}){{0,2}}(?:[ ]{_CAPITAL})"
_NO_YEAR = r"(?!1[0-9]{3}\b|20[0-9]{2}\b)[0-9]{1,5}\b"
_PREFIXED = re.compile(rf"\w+\.?{_NAMED}{{1,4}}?[ ][0-9]{{1,5}}\b\.?")
_PREFIXED_BARE = re.compile(rf"rue(?:[ ]{_W}){{1,3}}|\w+\.?{_NAMED}{{1,4}}")
_NUMBER_BEHIND = re.compile(r"[ ][0-9]{1,5}[A-Za-z]?\b\.?")
_BOX = re.compile(
    r"(?:PSC[ ][0-9]{1,5},?[ ]Box[ ][0-9]{1,5}|(?:Post)?[Bb]ox[ ][0-9]{1,6}|Postfach[ ][0-9]{1,6}"
    r"|[AFD]PO[ ]A[AEP][ ][0-9]{5})"
)
_BOX_BEFORE = re.compile(
    rf"(?:[0-9]{{1,6}}[ ])?(?:P\.?[ ]?O\.?[ ]|PSC[ ][0-9]{{1,5}},?[ ]|Unit[ ][0-9]{{1,5}}[ ]"
    rf"|US[A-Z]{{1,4}}[ ]{_CAPITAL}\n)$"
)
_UNIT = re.compile(
    r"[\s,]{1,4}(?:[?>] ?){0,3}(?:Apt|Suite|Apartment|Flat|Unit)\b\.?[ ][0-9A-Za-z]{1,5}\b"
)
_SAID = re.compile(
    r"(?:[Aa]ddress(?:es)?(?:[ ]to|[ ]is|:|[^\n.]{0,20}:|\?[ ]it[ ]is)|(?:lives|located)[ ]at"
    r"|live[ds]?[ ](?:at|in))\s{1,8}"
)
_SAID_ADDRESS = re.compile(
    rf"[0-9]{{1,6}}[A-Za-z]?(?:[ ][0-9]{{1,5}})?{_NAMED}{{1,4}}(?:[ ][0-9]{{1,5}}\b)?"
    rf"|{_CAPITAL}{_NAMED}{{0,2}}[ ]{_NO_YEAR}"
)
# The lines below: towns, states and countries, where a postcode ends them.
_BREAK = r"\s*\n(?:[?>] ?){0,3}[ ]{0,4}"  # also in a quoted letter
_TOWN = re.compile(
    rf"(?:,?[ ]|{_BREAK}|,[ ]?\n?[ ]?)"
    rf"(?:{_CAPITAL}(?:[ ](?:{_W}|\([A-Z]\w+\))){{0,3}},?(?:[ ]|{_BREAK},?[ ]?)){{0,4}}"
    rf"(?:[A-Z]{{2}}[ ])?[0-9]{{4,6}}(?:-[0-9]{{3,4}})?(?![\w-])"
)


def street_addresses(text: str) -> Iterator[tuple[int, int]]:
    """Postal addresses. In columns, addresses_at spares the search for the words of the list."""
    pattern = re.compile(rf"[{LETTERS}]+")
    return addresses_at(text, (m.start() for m in pattern.finditer(text) if _flag(m[0])))


def addresses_at(text: str, places: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The addresses around the words of the list at these places."""
    pattern, end = re.compile(rf"[{LETTERS}]+"), 0
    for place in places:
        if place < end:
            continue
        word = pattern.match(text, place)
        span = _core(text, place, word.end(), _flag(word[0]), end) if word else None
        if span is None or _NOWHERE.search(text, *span):
            continue
        begin, stop = span
        for _ in range(3):
            more = _UNIT.match(text, stop) or _TOWN.match(text, stop)
            if more is None:
                break
            stop = more.end()
        end = stop
        yield begin, stop


def _core(text: str, place: int, stop: int, flag: int, earliest: int) -> tuple[int, int] | None:
    start = max(earliest, place - _BEFORE)
    before = text[start:place]
    if flag & STREET:
        found = _NUMBERED.search(before)
        if found is not None:
            return start + found.start(), stop + (text[stop : stop + 1] == ".")
    if flag & PREFIX:
        numbers = _NUMBERS_BEFORE.search(before)
        behind = _PREFIXED.match(text, place)
        if behind is None and numbers is not None:
            behind = _PREFIXED_BARE.match(text, place)
        if behind is not None:
            return (start + numbers.start() if numbers else place), behind.end()
    if flag & ENDING:
        number = _NUMBER_BEHIND.match(text, stop)
        if number is not None:
            ahead = _STREET_BEFORE.search(before)
            return (start + ahead.start() if ahead else place), number.end()
    if flag & BOX:
        box = _BOX.match(text, place)
        ahead = _BOX_BEFORE.search(before)
        if box is not None and (ahead is not None or not box[0].startswith("Box")):
            return start + ahead.start() if ahead else place, box.end()
    if flag & UNIT:
        unit = _UNIT.match(text, max(0, place - 1))
        ahead = _NAME_BEFORE.search(before)
        if unit is not None and ahead is not None:
            return start + ahead.start(), unit.end()
    if flag & SAYS:
        said = _SAID.match(text, place)
        given = _SAID_ADDRESS.match(text, said.end()) if said else None
        if given is not None:
            return given.span()
    return None


def _flag(word: str) -> int:
    listed = _words()
    if word in listed:
        return listed[word]
    ends = len(word) > 5 and word[0].isupper() and word.endswith(_ENDINGS)
    return ENDING if ends else 0


@cache
def _words() -> dict[str, int]:
    found: dict[str, int] = {}
    for words, flag in (
        (_STREETS, STREET), (_PREFIXES, PREFIX), (_BOXES, BOX), (_UNITS, UNIT), (_SAYING, SAYS),
    ):  # fmt: skip
        for word in words:
            found[word] = found.get(word, 0) | flag
    return found


@cache
def triggers() -> WordTable:
    """The words around which an address may stand, for text.kernels.known_words."""
    return word_table(_words(), dict.fromkeys(_ENDINGS, ENDING))
