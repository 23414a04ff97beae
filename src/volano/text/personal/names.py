"""Names of persons, by a gazetteer and by what people write before a name.

No list holds every name, and many names are words too. So a word of the list counts as a name by
itself only if prose does not use it in small letters and it is no country, capital or state; one
that is also a word (May, Will, Mark) counts before a surname, behind a title ("Dr."), or behind
words that introduce somebody ("my name is", "Dear"), where a name need not be in the list at all.
A surname without any of these is left alone.
"""

import gzip
import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files

from volano.text.kernels.known_words import LETTERS, WordTable, word_table
from volano.text.personal.surrogates import made_up_names

FIRST, SURNAME, WORD, PLACE, TITLE, SAYS, COMMON_FIRST, COMMON_SURNAME = (1 << n for n in range(8))
TRIGGERS = FIRST | TITLE | SAYS
_FLAGS = {
    "f": FIRST, "l": SURNAME, "w": WORD, "p": PLACE, "F": COMMON_FIRST, "L": COMMON_SURNAME,
}  # fmt: skip
_TITLES = (
    "Mr", "Mrs", "Ms", "Miss", "Mx", "Dr", "Prof", "Professor", "Sir", "Madam", "Lord", "Lady",
    "Rev", "Reverend", "Captain", "Sergeant", "Herr", "Frau", "Monsieur", "Madame", "Señor",
    "Señora",
)  # fmt: skip
_SAYING = (
    "name", "Name", "named", "Dear", "I", "regards", "Regards", "sincerely", "Sincerely", "Signed",
)  # fmt: skip
_NO_NAMES = frozenset(
    re.findall(
        r"\w+",
        "The A An And Or Not No Yes In On At Of For To Is It This That Sir Madam All Team Customer "
        "Friend Friends Colleague Colleagues Editor Reader Mr Mrs Ms Dr Am If Monday Tuesday "
        "Wednesday Thursday Friday Saturday Sunday January February March April May June July "
        "August September October November December American English French German Danish Dutch "
        "Swedish Norwegian Finnish Polish Russian Italian Spanish Portuguese Greek Turkish Czech "
        "Hungarian Romanian Irish Scottish Welsh British Swiss Austrian Belgian Chinese Japanese "
        "Korean Indian Pakistani Israeli Arab Roman Jewish Christian Muslim Catholic Rua Los Las "
        "San Santa Santo Saint Via Calle Avenida Rue Plaza",
    )
)
# Languages, programs and other things: no sign of a person by themselves.
_THINGS = (
    "Ada", "Ember", "Haskell", "Julia", "Mac", "Nil", "Pascal", "Ruby", "Safari", "Sep", "String",
)  # fmt: skip
# Behind these stands a place.
_BEFORE_PLACES = re.compile(
    r"(?:[0-9]|\b(?:San|Santa|Santo|St\.?|Saint|Los|Las|Fort|Port|Mount|New|North|South|East|West|"
    r"Rua|Via|Calle|Avenida|Rue|rue|ul\.|Lake|Cape))[ ]$"
)
_BEHIND_PLACES = re.compile(r",?[ ](?:[0-9]|u\.|utca|[úu]t(?:ja)?\b|t[ée]r\b)")
# What ends the name of a firm or of a place, not of a person.
_NOT_OF_PERSONS = frozenset(
    re.findall(
        r"\w+",
        "Inc Ltd LLC Corp Corporation Company Co Group University College School Institute "
        "Hospital Street St Road Rd Avenue Ave Lane Bridge River Lake Park County City Island "
        "Islands Bay Beach Creek Foundation Society Association Church Cathedral Award Prize Cup "
        "League Law License Library Museum Center Centre Theatre Theater Building Tower Airport "
        "Station Bank Press Records Orchestra Band Project Office House Hall Castle Way Drive "
        "Court Square Place Green Bypass Cliffs Extensions Suite",
    )
)

_SMALL = LETTERS[3:]
_CAPITAL = (
    rf"(?:[A-Z\u00C0-\u00DE\u0100-\u017F\u1E00-\u1EFF](?:[a-z]{{1,3}}[A-Z])?[{_SMALL}]*"
    rf"(?![{LETTERS}]))"
)
_PART = rf"{_CAPITAL}(?:['’-]{_CAPITAL})*"
_PARTICLE = r"(?:(?:van|von|der|den|de|da|di|du|dos|del|della|la|le|bin|ibn|al|ten|ter|zu|y)[ ])"
_NAME = re.compile(
    rf"(?:[A-Z]\.[ ]?){{0,3}}{_PART}(?:[ ](?:[A-Z]\.?[ ]){{0,2}}{_PARTICLE}{{0,2}}{_PART})*"
)
_WORD = re.compile(rf"[{LETTERS}]+")
_BEHIND_TITLE = re.compile(r"[A-Za-zñ]+\.?[ ]")
_BEHIND_SAYING = re.compile(
    r"(?:[Nn]ame(?:[ ]is|['’]s|:)[ ]{1,8}|named[ ](?:(?:him|her|them|it)[ ])?|Dear[ ]"
    r"|I(?:['’]m|[ ]am)[ ]|[Rr]egards,\s{1,3}|[Ss]incerely,\s{1,3}|Signed[,:]?\s{1,3})"
)
_MOST_WORDS = 4


def person_names(text: str) -> Iterator[tuple[int, int]]:
    """Names of persons. In columns, names_at spares the search for the words of the list."""
    listed = names()
    places = (m.start() for m in _WORD.finditer(text) if listed.get(m[0], 0) & TRIGGERS)
    return names_at(text, places)


def names_at(text: str, places: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The names that begin at, or behind, the words of the list at these places."""
    listed, end = names(), 0
    for place in places:
        if place < end:
            continue
        word = _WORD.match(text, place)
        flags = listed.get(word[0], 0) if word else 0
        introduced = None
        if flags & TITLE:
            introduced = _BEHIND_TITLE.match(text, place)
        elif flags & SAYS:
            introduced = _BEHIND_SAYING.match(text, place)
        if introduced is not None:
            span = _name_at(text, introduced.end(), introduced[0])
        elif flags & FIRST and not (place and (text[place - 1] in "'’-_./@")):
            span = _name_at(text, place, "")
        else:
            span = None
        if span is not None:
            end = span[1]
            yield span


def _name_at(text: str, place: int, introduction: str) -> tuple[int, int] | None:
    match = _NAME.match(text, place)
    if match is None or not match[0][0].isupper():
        return None
    listed = names()
    words = match[0].split(" ")
    kept: list[str] = []
    for word in words[:_MOST_WORDS]:
        if word in _NO_NAMES or listed.get(word.strip("."), 0) & TITLE:
            break
        # Behind two words only what is a name itself: "Thomas Wouters Add".
        if len(kept) > 1 and len(kept[-1]) > 2 and kept[-1][0].isupper() and word not in listed:
            break
        kept.append(word)
    # A name ends with a capital: no initial, no particle.
    while kept and (kept[-1].endswith(".") or not kept[-1][0].isupper()):
        kept.pop()
    if not kept or len(kept[-1]) == 1 or any(word in _NOT_OF_PERSONS for word in words):
        return None
    if not _is_name(kept, introduction) or _is_made_up(kept):
        return None
    length = len(" ".join(kept))
    if not introduction and (
        _BEFORE_PLACES.search(text, max(0, place - 10), place)
        or _BEHIND_PLACES.match(text, place + length)
    ):
        return None
    if text[place + length : place + length + 1] in ("_", "(", "/", "@", "="):  # code
        return None
    return place, place + length


def _is_name(words: list[str], introduction: str) -> bool:
    listed = names()
    first, last = (_flags(listed, words[0]), _flags(listed, words[-1]))
    plain = not first & (WORD | PLACE)
    if introduction.startswith("I") and not introduction.startswith("I "):
        return bool(first & FIRST)
    if introduction.startswith("I "):
        return bool(first & FIRST and (plain or len(words) > 1))
    if introduction:
        return True
    if len(words) == 1:
        return bool(first & FIRST and plain)
    if plain:
        return bool(first & FIRST)
    return bool(last & SURNAME and not last & (WORD | PLACE))


def _is_made_up(words: list[str]) -> bool:
    # A surrogate, which may stand behind a title as the name did.
    made = made_up_names()
    parts = [part for word in words for part in _WORD.findall(word)]
    return all(len(part) == 1 or part.islower() or part in made for part in parts)


def _flags(listed: dict[str, int], word: str) -> int:
    if word in listed:
        return listed[word]
    flags = [listed.get(part, 0) for part in re.split("['’-]", word)]
    return flags[0] if len(flags) > 1 else 0


@cache
def names() -> dict[str, int]:
    """Every word of the list with its flags."""
    data = (files("volano.text") / "data" / "names.txt.gz").read_bytes()
    found = {}
    for line in gzip.decompress(data).decode().splitlines():
        name, letters = line.split(" ")
        found[name] = sum(_FLAGS[letter] for letter in letters)
    for word in _THINGS:
        found[word] = found.get(word, 0) | WORD
    for words, flag in ((_TITLES, TITLE), (_SAYING, SAYS)):
        for word in words:
            found[word] = flag
    return found


@cache
def triggers() -> WordTable:
    """The words at which a name may begin, for text.kernels.known_words."""
    return word_table({word: flags for word, flags in names().items() if flags & TRIGGERS})
