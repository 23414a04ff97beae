"""Personal data in text: where it stands, of which kind, and what takes its place.

A pattern proposes, a check decides: Luhn's sum and the issuer's prefix for cards, the
`phonenumbers` library for telephones, `ipaddress` for addresses, a known top-level domain for
e-mail. Technical prose is full of things that look alike, so these are left alone on purpose:

- e-mail at names that RFC 2606 and RFC 6761 reserve (example.com, *.test, localhost) and the
  service users git@ and noreply@: nobody lives there. `a@b.T` is a matrix product.
- IP addresses that are not globally routable: loopback, private, link-local, multicast and
  documentation ranges (127.0.0.1, 10/8, 192.0.2.0/24, 2001:db8::/32 …).
- dotted quads that read as a version or a section: three of the four parts below 10 (which also
  spares public resolvers such as 8.8.4.4), or behind "version", "v" or "==".
- telephone numbers without a country code that are not written the North American way, and runs
  of digits without any separator: in documentation those are numbers.

What people write in a conversation is looked at less narrowly (see said).

Names and postal addresses are not looked for: no rule finds them without a model.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa

from volano.core.errors import DataError, did_you_mean
from volano.text.kernels import candidates
from volano.text.kernels.buffers import Texts
from volano.text.said import plainly, said_addresses, said_numbers

Action = Literal["replace", "redact", "off"]
Finder = Callable[[str], Iterator[tuple[int, int]]]
REDACTED = "[REDACTED]"

# In the order of precedence: where two spans overlap, the kind named first keeps it.
KINDS: dict[str, int] = {
    "private_key": candidates.PRIVATE_KEY,
    "api_key": candidates.API_KEY,
    "email": candidates.EMAIL,
    "credit_card": candidates.CREDIT_CARD,
    "phone": candidates.PHONE,
    "ip_address": candidates.IP_ADDRESS,
}
TAGS = {kind: f"<{kind.upper()}>" for kind in KINDS}


class Span(NamedTuple):
    """Characters `begin` to `end` of a text, as Python counts them."""

    begin: int
    end: int
    kind: str


def find_spans(
    text: str, kinds: Iterable[str] = tuple(KINDS), *, conversation: bool = False
) -> list[Span]:
    """The personal data of the given kinds, in the order of the text, without overlaps.

    In a conversation whatever looks like an e-mail address or a telephone number is one, however it
    is written (see said): there, a decorator or a large number that is lost costs little.
    """
    chosen = check_kinds(kinds)
    if conversation:
        return _spans_in_conversation(text, chosen)
    (found,) = candidates.pii_candidates(pa.array([text], pa.large_string()))
    return _spans(text, chosen, int(found), _FINDERS)


def _spans_in_conversation(text: str, kinds: list[str]) -> list[Span]:
    plain = plainly(text)
    (found,) = candidates.pii_candidates(pa.array([plain.text], pa.large_string()))
    either = KINDS["email"] | KINDS["phone"]  # what the scan proposes is written the usual way
    finders = _FINDERS | {"email": said_addresses, "phone": said_numbers}
    return [
        Span(plain.begins[begin], plain.ends[end - 1], kind)
        for begin, end, kind in _spans(plain.text, kinds, int(found) | either, finders)
    ]


def find_spans_in(texts: Texts, kinds: Iterable[str] = tuple(KINDS)) -> dict[int, list[Span]]:
    """The spans of each row that has any, by row. Rows without a candidate cost no regex."""
    chosen = check_kinds(kinds)
    flags = candidates.pii_candidates(texts, sum(KINDS[kind] for kind in chosen))
    found = {}
    for row in np.flatnonzero(flags):
        spans = _spans(texts[int(row)].as_py(), chosen, int(flags[row]), _FINDERS)
        if spans:
            found[int(row)] = spans
    return found


def redact(text: str, spans: Iterable[Span], action: Action = "replace") -> str:
    """The text with each span replaced by its typed tag, or by REDACTED; "off" changes nothing."""
    if action == "off":
        return text
    pieces, end = [], 0
    for span in spans:
        pieces += [text[end : span.begin], TAGS[span.kind] if action == "replace" else REDACTED]
        end = span.end
    return "".join([*pieces, text[end:]])


def check_kinds(kinds: Iterable[str]) -> list[str]:
    """The kinds in the order of precedence. Raises DataError for one that is not known."""
    kinds = list(kinds)
    for kind in kinds:
        if kind not in KINDS:
            raise DataError(
                f"unknown kind of personal data '{kind}'", "pii", did_you_mean(kind, KINDS)
            )
    return [kind for kind in KINDS if kind in kinds]


def _spans(text: str, kinds: list[str], flags: int, finders: Mapping[str, Finder]) -> list[Span]:
    taken: list[Span] = []
    for kind in kinds:
        if flags & KINDS[kind]:
            for begin, end in finders[kind](text):
                if all(end <= other.begin or begin >= other.end for other in taken):
                    taken.append(Span(begin, end, kind))
    return sorted(taken)


# ---- what each kind looks like, and what decides


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


_BEFORE_AT, _BEHIND_AT = 64, 600  # characters that the pattern can reach


def _emails(text: str) -> Iterator[tuple[int, int]]:
    # Around each "@" only: the pattern itself would try every word.
    place, end = text.find("@"), 0
    while place >= 0:
        match = _EMAIL.search(text, max(end, place - _BEFORE_AT), place + _BEHIND_AT)
        if match is None:
            place = text.find("@", place + 1)
            continue
        end = match.end()
        place = text.find("@", end)
        if _is_mail(match):
            yield match.span()


def _is_mail(match: re.Match[str]) -> bool:
    domain = match[1].lower()
    ending = domain.rsplit(".", 1)[1]
    if len(ending) != 2 and ending not in _GENERIC_DOMAINS:
        return False
    return not _RESERVED.search(domain) and not match[0].lower().startswith(_SERVICE_USERS)


_API_KEY = re.compile(
    r"(?<![A-Za-z0-9_])(?:"
    r"(?:AKIA|ASIA)[A-Z0-9]{16}"  # Amazon
    r"|AIza[A-Za-z0-9_-]{35}"  # Google
    r"|gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_[A-Za-z0-9_]{22,255}"
    r"|glpat-[A-Za-z0-9_-]{20,64}"  # GitLab
    r"|xox[abeoprs]-[A-Za-z0-9-]{16,255}"  # Slack
    r"|[sr]k_live_[A-Za-z0-9]{20,247}"  # Stripe
    # OpenAI, Anthropic: plain words with dashes have no capital and no digit
    r"|sk-(?=[A-Za-z0-9_-]{0,200}[0-9])(?=[A-Za-z0-9_-]{0,200}[A-Z])[A-Za-z0-9_-]{20,255}"
    r"|hf_[A-Za-z0-9]{30,64}|npm_[A-Za-z0-9]{36}|pypi-AgEI[A-Za-z0-9_-]{50,255}"
    r")(?![A-Za-z0-9_])"
)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN ((?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?)-----.*?(?:-----END \1-----|\Z)", re.S
)


def _matches(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in pattern.finditer(text))


_CARD = re.compile(
    r"(?<![\w.+-])(?:[0-9]{13,19}|[0-9]{4}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{1,7}"
    r"|[0-9]{4}([ -])[0-9]{6}\2[0-9]{4,5})(?![\w-]|\.[0-9])"
)
# Visa, Mastercard, American Express, Discover, JCB, Diners, with the lengths that they issue.
_ISSUER = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})|(?:5[1-5]|2[2-7])[0-9]{14}|3[47][0-9]{13}"
    r"|6(?:011|5[0-9]{2}|4[4-9][0-9])[0-9]{12}|35[0-9]{14}|3(?:0[0-5]|[68][0-9])[0-9]{11}"
)


def _cards(text: str) -> Iterator[tuple[int, int]]:
    for match in _CARD.finditer(text):
        digits = re.sub(r"[ -]", "", match[0])
        if _ISSUER.fullmatch(digits) and passes_luhn(digits):
            yield match.span()


def passes_luhn(digits: str) -> bool:
    """Whether the last digit is the check digit that ISO/IEC 7812-1 asks for."""
    doubled = [2 * int(digit) for digit in digits[-2::-2]]
    return (sum(map(int, digits[-1::-2])) + sum(n - 9 if n > 9 else n for n in doubled)) % 10 == 0


_PHONE = re.compile(
    r"(?<![\w.+(-])(?:\+[0-9][0-9 ().-]{5,18}[0-9]"
    r"|(?:\+?1[-. ])?(?:\([0-9]{3}\)[ -]?|[0-9]{3}[-.])[0-9]{3}[-.][0-9]{4})(?![\w-]|\.[0-9])"
)
_SIGNED_FLOAT = re.compile(r"\+[0-9]+\.[0-9]+")


def _phones(text: str) -> Iterator[tuple[int, int]]:
    import phonenumbers

    for match in _PHONE.finditer(text):
        if _SIGNED_FLOAT.fullmatch(match[0]):
            continue
        try:
            number = phonenumbers.parse(match[0], None if match[0][0] == "+" else "US")
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            yield match.span()


# What may stand before is asked behind the first digit: a pattern that begins with digits is looked
# for three times as fast.
_IPV4 = re.compile(
    r"[0-9](?<![\w.-][0-9])[0-9]{0,2}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(?![\w-]|\.[0-9])"
)
_IPV6 = re.compile(r"[23](?<![\w:.][23])[0-9A-Fa-f]{3}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])")
_VERSION_BEFORE = re.compile(r"(?:\bversions?|\bv|\brelease|[=<>~!]=|[<>])[ :=]{0,2}$", re.I)


def _addresses(text: str) -> Iterator[tuple[int, int]]:
    for match in _IPV4.finditer(text):
        parts = match[0].split(".")
        if sum(int(part) < 10 for part in parts) >= 3 or _VERSION_BEFORE.search(
            text, max(0, match.start() - 12), match.start()
        ):
            continue
        if _is_global(match[0]):
            yield match.span()
    for match in _IPV6.finditer(text):
        if _is_global(match[0]):
            yield match.span()


def _is_global(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:  # 999.1.1.1, or a leading zero
        return False


_FINDERS: dict[str, Finder] = {
    "private_key": partial(_matches, _PRIVATE_KEY),
    "api_key": partial(_matches, _API_KEY),
    "email": _emails,
    "credit_card": _cards,
    "phone": _phones,
    "ip_address": _addresses,
}
