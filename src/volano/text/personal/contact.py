"""How a person is reached: e-mail, telephone, IP address, as documents write them."""

import ipaddress
import re
import string
from collections.abc import Iterable, Iterator

from volano.text.kernels.candidates import FEWEST_PHONE_DIGITS
from volano.text.said import is_number, of_nobody

_EMAIL = re.compile(
    r"(?<![\w.%+-])[A-Za-z0-9_][A-Za-z0-9._%+-]{0,63}@"
    r"((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24})(?![\w(\[-])"
)
# The generic domains that carry nearly all mail; two letters are a country.
_GENERIC_DOMAINS = frozenset(
    re.findall(
        r"\w+",
        "com org net edu gov mil int info biz name pro mobi aero coop museum jobs travel asia cat "
        "app dev page cloud tech online site website xyz club shop store blog email group team "
        "agency company software systems solutions services network digital media science academy "
        "foundation institute university live news space world life today",
    )
)
_RESERVED = re.compile(
    r"(?:^|\.)(?:example\.(?:com|org|net|edu)|example|test|invalid|localhost|localdomain|local)$",
    re.I,
)
_SERVICE_USERS = ("git@", "noreply@", "no-reply@")
_BEFORE_AT = string.ascii_letters + string.digits + "._%+-"
_MOST_BEFORE_AT = 64


def emails(text: str) -> Iterator[tuple[int, int]]:
    """E-mail addresses at domains where somebody may live."""
    # Only what ends at an "@" can begin one, and only where it begins whole: the pattern itself
    # would try every word.
    place, end = text.find("@"), 0
    while place >= 0:
        before = text[max(0, place - _MOST_BEFORE_AT - 1) : place]
        begin = place - len(before) + len(before.rstrip(_BEFORE_AT))
        match = None
        if end <= begin < place <= begin + _MOST_BEFORE_AT:
            match = _EMAIL.match(text, begin)
        end = end if match is None else match.end()
        place = text.find("@", place + 1 if match is None else end)
        if match is not None and _is_mail(match):
            yield match.span()


def _is_mail(match: re.Match[str]) -> bool:
    domain = match[1].lower()
    ending = domain.rsplit(".", 1)[1]
    if len(ending) != 2 and ending not in _GENERIC_DOMAINS:
        return False
    return not _RESERVED.search(domain) and not match[0].lower().startswith(_SERVICE_USERS)


# What may stand before is asked behind the first character, here and below: a pattern that begins
# with characters is looked for three times as fast.
_PHONE = re.compile(
    r"[+(0-9](?<![\w.+(-].)(?:(?<=\+)[0-9](?:[ ().-]{0,3}[0-9]){5,14}"
    r"|(?<=1)[-. ](?:\([0-9]{3}\)[ -]?|[0-9]{3}[-.])[0-9]{3}[-.][0-9]{4}"
    r"|(?:(?<=\()[0-9]{3}\)[ -]?|(?<=[0-9])[0-9]{2}[-.])[0-9]{3}[-.][0-9]{4})"
    r"(?:(?: ?x| ?ext\.? ?)[0-9]{1,6})?(?![\w-]|\.[0-9])"
)
_SIGNED_FLOAT = re.compile(r"\+[0-9]+\.[0-9]+")


def phones(text: str) -> Iterator[tuple[int, int]]:
    """Telephone numbers: international, as North America writes them, with the 0 that most other
    countries write, or said to be one."""
    return without_overlaps([*_written_phones(text), *_trunk_phones(text), *said_phones(text)])


def without_overlaps(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The spans in order; of two that overlap the one that begins first, or is longer."""
    end = 0
    for begin, stop in sorted(spans, key=lambda span: (span[0], -span[1])):
        if begin >= end:
            end = stop
            yield begin, stop


def _written_phones(text: str) -> Iterator[tuple[int, int]]:
    import phonenumbers

    for match in _PHONE.finditer(text):
        if _SIGNED_FLOAT.fullmatch(match[0]):
            continue
        try:
            number = phonenumbers.parse(match[0], None if match[0][0] == "+" else "US")
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number) and not of_nobody(match[0]):
            yield match.span()


# Groups behind a 0: 020 7946 0958, 06.12.34.56.78, (030) 901820. Amounts and codes have none.
_TRUNK = re.compile(
    r"[0(](?<![\w.+(/,-].)"
    r"(?:(?<=\()0[0-9]{1,4}\)(?:[ ./-]?[0-9]{2,8}){1,4}|(?<=0)[0-9]{1,4}(?:[ ./-][0-9]{2,5}){2,4})"
    r"(?!\w|[ ,./-]?[0-9])"
)
_LIKE_SSN = re.compile(r"[0-9]{3}-[0-9]{2}-[0-9]{4}")  # those of leaflets are left alone


def _trunk_phones(text: str) -> Iterator[tuple[int, int]]:
    for match in _TRUNK.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        counted = digits in "0102030405060708" or digits.startswith("00")
        counted |= _LIKE_SSN.fullmatch(match[0]) is not None
        if 9 <= len(digits) <= 11 and not counted and is_number(match[0], digits):
            yield match.span()


# Words that say that the digits behind them are a telephone number: nouns right before them,
# verbs with a few words between. The byte scan knows their first letters.
_NOUN = (
    r"\b(?:(?:tele)?phones?|tel|mobile|cell(?:phone|ular)?|fax|hotline|whatsapp|desk|landline|"
    r"handset|sms)"
    r"(?:[ ](?:number|no|nr))?(?:[ ](?:is|at|on))?[.:#]*[ ]{0,4}$"
)
_VERB = (
    r"(?:\b(?:call|phone|ring|reach|dial|text|message|contact|whatsapp)"
    r"(?:[ ][a-z]+){0,2}?(?:[ ](?:on|at|to|is))?|\b(?:my|your|our|his|her|their)[ ]registered)"
    r":?[ ]$"
)
_BEFORE_PHONE = re.compile(f"(?P<noun>{_NOUN})|{_VERB}", re.I | re.A)
_BEHIND_PHONE = re.compile(r"[ -]{1,3}\(?(?:office|fax|mobile|phone|cell|home|work)\b", re.I | re.A)
_BEFORE_CHARACTERS = 40
_SAID = re.compile(
    r"[+(0-9](?<![\w.+(/-].)(?:(?<=\+) ?\(?[0-9]|(?<=\()[0-9]|(?<=[0-9]))"
    r"(?:[ ()./-]{0,3}[0-9]){6,14}"
    r"(?:(?: ?x| ?ext\.? ?)[0-9]{1,6})?(?!\w|\.[0-9])"
)
_DATE_OR_MORE = re.compile(
    r"[12][0-9]{3}[-/.][01]?[0-9][-/.][0-3]?[0-9]\b.*|[0-3]?[0-9][-/.][0-3]?[0-9][-/.][12][0-9]{3}"
    r"|[0-9]+\.[0-9]+|(?:.*\b[0-9]\b){3}.*"
)
_MOST_PHONE_DIGITS = 15  # ITU-T E.164
_FEWEST_IN_ONE = 9  # shorter runs without a separator are counts, even behind "phone"


def said_phones(text: str) -> Iterator[tuple[int, int]]:
    """Numbers in any national form that a word before or behind says to be a telephone's."""
    for match in _SAID.finditer(text):
        begin, end = match.span()
        written = re.split("x|ext", match[0])[0].strip()
        digits = re.sub(r"\D", "", written)
        if not FEWEST_PHONE_DIGITS <= len(digits) <= _MOST_PHONE_DIGITS or _DATE_OR_MORE.fullmatch(
            written.strip("() ")
        ):
            continue
        if len(set(digits)) < 3 or digits in "01234567890123" or of_nobody(digits):
            continue
        before = _BEFORE_PHONE.search(text[max(0, begin - _BEFORE_CHARACTERS) : begin])
        said = before is not None or _BEHIND_PHONE.match(text, end) is not None
        # Behind a verb, digits without a separator may count anything.
        if written.isdigit() and not (before and before["noun"] and len(digits) >= _FEWEST_IN_ONE):
            said = said and is_number(written, digits)
        if said:
            yield begin, end


_IPV4 = re.compile(
    r"[0-9](?<![\w.-][0-9])[0-9]{0,2}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(?![\w-]|\.[0-9])"
)
_IPV6 = re.compile(r"[23](?<![\w:.][23])[0-9A-Fa-f]{3}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])")
# Eight groups in full, looked for from the first colon on: that is the fast way.
_SEVEN_GROUPS = re.compile(r":(?<=[0-9A-Fa-f]:)[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){6}(?![\w:])")
_FIRST_GROUP = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{1,4}$")
_FEWEST_CHARACTERS = 24  # 1:2:3:4:5:6:7:8 is a list
_VERSION_BEFORE = re.compile(r"(?:\bversions?|\bv|\brelease|[=<>~!]=|[<>])[ :=]{0,2}$", re.I)


def ip_addresses(text: str) -> Iterator[tuple[int, int]]:
    """IP addresses that are routed, and are no version numbers."""
    for match in _IPV4.finditer(text):
        parts = match[0].split(".")
        if sum(int(part) < 10 for part in parts) >= 3 or _VERSION_BEFORE.search(
            text, max(0, match.start() - 12), match.start()
        ):
            continue
        if _is_global(match[0]):
            yield match.span()
    found = {match.span() for match in _IPV6.finditer(text)}
    for match in _SEVEN_GROUPS.finditer(text):
        first = _FIRST_GROUP.search(text[max(0, match.start() - 5) : match.start()])
        # ff00::/8 are masks, and addresses of many at once
        if first is not None and first[0][:2].lower() != "ff":
            begin = match.start() - len(first[0])
            if match.end() - begin >= _FEWEST_CHARACTERS:
                found.add((begin, match.end()))
    for begin, end in sorted(found):
        if _is_global(text[begin:end]):
            yield begin, end


def _is_global(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:  # 999.1.1.1, or a leading zero
        return False
