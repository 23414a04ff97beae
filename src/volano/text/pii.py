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
- telephone numbers without a country code that are neither written the North American way nor
  said to be one ("call …", "Fax: …"): in documentation those are numbers.
- cards, bank accounts and crypto addresses whose check digits are wrong, and national ids that
  could be any number and stand behind no word that says what they are.

What people write in a conversation is looked at less narrowly (see said).

Names of persons and postal addresses are looked for only where they are asked for: their rules
know words, not what is meant, and in technical text most of what they find is none.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from volano.core.errors import DataError, did_you_mean
from volano.text.kernels import candidates
from volano.text.kernels.buffers import Texts
from volano.text.kernels.known_words import WordPlaces, WordTable, known_words
from volano.text.personal import names, places
from volano.text.personal.accounts import cards, coins, ibans
from volano.text.personal.contact import emails, ip_addresses, phones, said_phones, without_overlaps
from volano.text.personal.keyed import hashed
from volano.text.personal.model_names import model_names
from volano.text.personal.national import national_ids
from volano.text.personal.secrets import api_keys, private_keys
from volano.text.personal.surrogates import surrogate
from volano.text.said import plainly, said_addresses, said_numbers

Action = Literal["replace", "redact", "hash", "surrogate", "off"]
KEYED: tuple[Action, ...] = ("hash", "surrogate")
Finder = Callable[[str], Iterator[tuple[int, int]]]
REDACTED = "[REDACTED]"

# In the order of precedence: where two spans overlap, the kind named first keeps it.
KINDS: dict[str, int] = {
    "private_key": candidates.PRIVATE_KEY,
    "api_key": candidates.API_KEY,
    "crypto_address": candidates.CRYPTO_ADDRESS,
    "email": candidates.EMAIL,
    "iban": candidates.IBAN,
    "credit_card": candidates.CREDIT_CARD,
    "national_id": candidates.NATIONAL_ID,
    "phone": candidates.PHONE,
    "ip_address": candidates.IP_ADDRESS,
    "street_address": candidates.STREET_ADDRESS,
    "person_name": candidates.PERSON_NAME,
}
# Those that technical text is not hurt by; the others have to be asked for.
DEFAULT_KINDS = tuple(kind for kind in KINDS if kind not in ("street_address", "person_name"))
TAGS = {kind: f"<{kind.upper()}>" for kind in KINDS}
_TAG = re.compile(rf"<(?:{'|'.join(map(str.upper, KINDS))})(?::[0-9a-f]{{12}})?>")


class Span(NamedTuple):
    """Characters `begin` to `end` of a text, as Python counts them."""

    begin: int
    end: int
    kind: str


def find_spans(
    text: str, kinds: Iterable[str] = DEFAULT_KINDS, *, conversation: bool = False
) -> list[Span]:
    """The personal data of the given kinds, in the order of the text, without overlaps.

    In a conversation whatever looks like an e-mail address or a telephone number is one, however it
    is written (see said): there, a decorator or a large number that is lost costs little.
    """
    chosen = check_kinds(kinds)
    if conversation:
        return _spans_in_conversation(text, chosen)
    (found,) = candidates.pii_candidates(pa.array([text], pa.large_string()))
    return _spans(text, chosen, int(found) | _LISTED, _FINDERS)


def _spans_in_conversation(text: str, kinds: list[str]) -> list[Span]:
    plain = plainly(text)
    (found,) = candidates.pii_candidates(pa.array([plain.text], pa.large_string()))
    # What the scan proposes is written the usual way.
    either = KINDS["email"] | KINDS["phone"] | _LISTED
    finders = _FINDERS | {
        "email": said_addresses,
        "phone": lambda text: without_overlaps([*said_numbers(text), *said_phones(text)]),
    }
    return [
        Span(plain.begins[begin], plain.ends[end - 1], kind)
        for begin, end, kind in _spans(plain.text, kinds, int(found) | either, finders)
    ]


def find_spans_in(
    texts: Texts, kinds: Iterable[str] = DEFAULT_KINDS, *, name_model: str | None = None
) -> dict[int, list[Span]]:
    """The spans of each row that has any, by row. Rows without a candidate cost no regex.

    name_model: a spaCy pipeline whose persons count as person_name too, where that is asked for.
    """
    chosen = check_kinds(kinds)
    by_model: dict[int, list[tuple[int, int]]] = {}
    if name_model is not None and "person_name" in chosen:
        by_model = dict(enumerate(model_names(texts.to_pylist(), name_model)))
    scanned = candidates.pii_candidates(texts, sum(KINDS[kind] for kind in chosen))
    listed = {kind: _Listed.of(texts, *_TRIGGERS[kind]) for kind in chosen if kind in _TRIGGERS}
    for kind, words in listed.items():
        scanned[words.rows()] |= KINDS[kind]
    scanned[[row for row, spans in by_model.items() if spans]] |= KINDS["person_name"]
    found = {}
    for row in np.flatnonzero(scanned):
        text = texts[int(row)].as_py()
        finders = dict(_FINDERS) if listed else _FINDERS
        for kind, words in listed.items():
            finders[kind] = partial(_AT_PLACES[kind], places=words.of_row(int(row), text))
        if by_model.get(int(row)):
            finders["person_name"] = _both(finders["person_name"], by_model[int(row)])
        spans = _spans(text, chosen, int(scanned[row]), finders)
        if spans:
            found[int(row)] = spans
    return found


def _both(finder: Finder, spans: list[tuple[int, int]]) -> Finder:
    return lambda text: without_overlaps([*finder(text), *spans])


class _Listed(NamedTuple):
    """Where the words of a list stand in a column."""

    words: WordPlaces

    @classmethod
    def of(cls, texts: Texts, table: Callable[[], WordTable], wanted: int) -> "_Listed":
        return cls(known_words(texts, table(), wanted))

    def rows(self) -> npt.NDArray[Any]:
        return np.unique(self.words.rows)

    def of_row(self, row: int, text: str) -> list[int]:
        """Places in characters."""
        begin, end = np.searchsorted(self.words.rows, [row, row + 1])
        found: list[int] = self.words.places[begin:end].tolist()
        if text.isascii():
            return found
        utf8, characters, last = text.encode(), 0, 0
        for at, place in enumerate(found):
            characters += len(utf8[last:place].decode())
            found[at], last = characters, place
        return found


def redact(
    text: str, spans: Iterable[Span], action: Action = "replace", key: bytes | None = None
) -> str:
    """The text with something else in place of each span; "off" changes nothing.

    replace: its typed tag, such as <EMAIL>; redact: REDACTED; hash: its tag with a keyed hash;
    surrogate: a plausible value of nobody. The last two raise DataError without a key.
    """
    if action == "off":
        return text
    if key is None and action in KEYED:
        raise DataError(f"no key to {action} with", "pii", "Give one (text.personal.keyed).")
    pieces, end = [""], 0
    for span in spans:
        pieces.append(text[end : span.begin])
        made = _instead(span.kind, text[span.begin : span.end], action, key or b"")
        if action == "surrogate":  # one that grows together with what stands beside it may be found
            glued = end == span.begin > 0 or text[span.begin - 1 : span.begin].isalnum()
            made = f"{' ' * glued}{made}{' ' * text[span.end : span.end + 1].isalnum()}"
        pieces.append(made)
        end = span.end
    return "".join([*pieces, text[end:]])


def _instead(kind: str, value: str, action: Action, key: bytes) -> str:
    if action == "hash":
        return hashed(kind, value, key)
    if action == "surrogate":
        return surrogate(kind, value, key)
    return TAGS[kind] if action == "replace" else REDACTED


def redact_all(
    texts: Sequence[str],
    kinds: Iterable[str] = DEFAULT_KINDS,
    action: Action = "replace",
    key: bytes | None = None,
    *,
    conversation: bool = False,
    name_model: str | None = None,
) -> dict[int, str]:
    """The texts that held personal data, by place, without it: in what comes out none is found.

    One redact may not do: what is taken out may have hidden what stood right beside it, and a
    surrogate may grow together with its neighbours; such a one becomes a tag.
    """
    done: dict[int, str] = {}
    waiting = list(range(len(texts))) if action != "off" else []
    while waiting:
        now = [done.get(place, texts[place]) for place in waiting]
        if conversation:
            found = {
                row: find_spans(each, kinds, conversation=True) for row, each in enumerate(now)
            }
        else:
            model = None if done else name_model  # which would take a surrogate for a person
            found = find_spans_in(pa.array(now, pa.large_string()), kinds, name_model=model)
        again = action if action != "surrogate" or not done else "replace"
        for row, spans in found.items():
            if spans:
                done[waiting[row]] = redact(now[row], spans, again, key)
        waiting = [waiting[row] for row, spans in found.items() if spans]
    return done


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
    # What stands for personal data is none, whatever its hash looks like.
    taken = [Span(*match.span(), "") for match in _TAG.finditer(text)]
    for kind in kinds:
        if flags & KINDS[kind]:
            before = list(taken)  # those of one kind do not overlap
            # Names and addresses go by the words around them, which may be an e-mail address.
            seen = _masked(text, taken) if taken and kind in _TRIGGERS else text
            for begin, end in finders[kind](seen):
                place = bisect_left(before, begin, key=lambda span: span.end - 1)
                if place == len(before) or before[place].begin >= end:
                    taken.append(Span(begin, end, kind))
            taken.sort()
    return [span for span in taken if span.kind]


def _masked(text: str, spans: list[Span]) -> str:
    pieces, end = [], 0
    for span in spans:
        pieces += [text[end : span.begin], "\0" * (span.end - span.begin)]
        end = span.end
    return "".join([*pieces, text[end:]])


_FINDERS: dict[str, Finder] = {
    "private_key": private_keys,
    "api_key": api_keys,
    "crypto_address": coins,
    "email": emails,
    "iban": ibans,
    "credit_card": cards,
    "national_id": national_ids,
    "phone": phones,
    "ip_address": ip_addresses,
    "street_address": places.street_addresses,
    "person_name": names.person_names,
}
# The kinds that words of a list propose instead of the scan: the list, and the finder from there.
_TRIGGERS = {
    "street_address": (places.triggers, places.TRIGGERS),
    "person_name": (names.triggers, names.TRIGGERS),
}
_AT_PLACES: dict[str, Callable[..., Iterator[tuple[int, int]]]] = {
    "street_address": places.addresses_at,
    "person_name": names.names_at,
}
_LISTED = candidates.PERSON_NAME | candidates.STREET_ADDRESS
