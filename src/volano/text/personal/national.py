"""Numbers that a state gave to a person: by their form, their check digits, and words near them.

`python-stdnum` decides what is a number of which country. Where bare digits could be anything, a
word has to say what they are; where the form and the check digits leave little doubt, none is
asked for.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from typing import NamedTuple

from volano.text.personal.contact import without_overlaps

# Any word in digits and capitals. What stands before is asked behind the first character: a pattern
# that begins with characters is looked for three times as fast.
_TOKEN = re.compile(
    r"[0-9A-Z](?<![\w.+/-].)[0-9A-Z-]{1,17}(?:\.[0-9]{3,4}){0,2}(?:[.-][0-9]{2})?(?![\w-]|\.[0-9])"
)
_REACH = 50  # characters behind a word in which it says what a number is
_LONGEST = 30  # characters of a number, with its separators

# Numbers that stand in forms and leaflets, and so belong to nobody.
_NOBODY = frozenset({"123456789", "111111111", "987654321", "078051120", "219099999"})

# Sure by form and check digits alone: the modules of stdnum, one of which has to agree.
_SURE = {
    r"[0-9]{3}-[0-9]{2}-[0-9]{4}": ("us.ssn", "us.itin"),
    r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}": ("br.cpf",),
    r"756\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}": ("ch.ssn",),
    r"[0-9]{6}[A-FYXWVU-][0-9]{3}[0-9A-Y]": ("fi.hetu",),
    r"[0-9]{6}-[0-9]{7}": ("kr.rrn",),
    r"[0-9]{17}[0-9X]": ("cn.ric",),
    r"[0-9]{8}-?[A-Z]": ("es.dni",),
    r"[XYZ]-?[0-9]{7}-?[A-Z]": ("es.nie",),
    r"[A-Z]{6}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z]": ("it.codicefiscale",),
    r"[A-Z]{4}[0-9]{6}[HM][A-Z]{5}[0-9A-Z][0-9]": ("mx.curp",),
}


class Said(NamedTuple):
    """A form that counts only behind one of its words."""

    words: tuple[str, ...]  # lower case
    form: str
    check: str  # the module of stdnum that has to agree; none for what has no check digit


_SAID = (
    Said(("ssn", "social security"), r"[0-9]{3} [0-9]{2} [0-9]{4}|[0-9]{9}", "us.ssn"),
    Said(("itin", "taxpayer"), r"9[0-9]{2} [0-9]{2} [0-9]{4}|9[0-9]{8}", "us.itin"),
    Said(
        ("social insurance", "sin number", "sin no"),
        r"[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{3}",
        "ca.sin",
    ),
    Said(("nhs",), r"[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{4}", "gb.nhs"),
    Said(
        ("national insurance", "nino", "ni number", "ni no"),
        r"(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]"
        r"(?:[0-9]{6}| [0-9]{2} [0-9]{2} [0-9]{2} )[A-D]",
        "",
    ),
    Said(("cpf",), r"[0-9]{11}", "br.cpf"),
    Said(("personnummer", "pnr"), r"(?:[0-9]{2})?[0-9]{6}-[0-9]{4}", "se.personnummer"),
    Said(
        ("nir", "sécurité sociale", "securite sociale", "social security"),
        r"[12] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}",
        "fr.nir",
    ),
    Said(
        ("steuer-id", "steueridentifikationsnummer", "steuernummer", "idnr", "tax id"),
        r"[0-9]{2} ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}",
        "de.idnr",
    ),
    Said(("bsn", "burgerservicenummer"), r"[0-9]{9}", "nl.bsn"),
    Said(("pesel",), r"[0-9]{11}", "pl.pesel"),
    Said(("rijksregisternummer", "registre national"), r"[0-9]{11}", "be.nn"),
    Said(("cpr",), r"[0-9]{6}-?[0-9]{4}", "dk.cpr"),
    Said(("fødselsnummer", "personnummer"), r"[0-9]{6} ?[0-9]{5}", "no.fodselsnummer"),
    Said(("tfn", "tax file"), r"[0-9]{3} ?[0-9]{3} ?[0-9]{3}", "au.tfn"),
    Said(("aadhaar", "aadhar", "uidai"), r"[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}", "in_.aadhaar"),
    Said(("pan", "permanent account"), r"[A-Z]{3}P[A-Z][0-9]{4}[A-Z]", "in_.pan"),
    Said(("identity number",), r"[0-9]{13}", "za.idnr"),
    Said(("kimlik", "tckn"), r"[0-9]{11}", "tr.tckimlik"),
    Said(("israeli id", "teudat zehut"), r"[0-9]{9}", "il.idnr"),
)


def national_ids(text: str) -> Iterator[tuple[int, int]]:
    """Social security, tax and identity numbers of persons."""
    return without_overlaps({*_sure(text), *_said(text)})


def could_be_one(number: str) -> bool:
    """Whether it is a valid number of any form, whatever stands before it."""
    return any(
        re.fullmatch(form, number) and any(_is_valid(each, number) for each in checks)
        for form, checks in (*_SURE.items(), *((each.form, (each.check,)) for each in _SAID))
    )


def _sure(text: str) -> Iterator[tuple[int, int]]:
    for match in _TOKEN.finditer(text):
        if 9 <= len(match[0]) <= 18:
            for form, checks in _sure_forms():
                if form.fullmatch(match[0]) and any(_is_valid(each, match[0]) for each in checks):
                    yield match.span()
                    break


def _said(text: str) -> Iterator[tuple[int, int]]:
    lowered = text.lower()
    for said in _SAID:
        if any(word in lowered for word in said.words):
            words, form = _said_patterns(said)
            for word in words.finditer(text):
                last = word.end() + _REACH
                for match in form.finditer(text, word.end(), last + _LONGEST):
                    cut = match.end() == last + _LONGEST
                    if match.start() <= last and not cut and _is_valid(said.check, match[0]):
                        yield match.span()


@cache
def _sure_forms() -> list[tuple[re.Pattern[str], tuple[str, ...]]]:
    return [(re.compile(form), checks) for form, checks in _SURE.items()]


@cache
def _said_patterns(said: Said) -> tuple[re.Pattern[str], re.Pattern[str]]:
    return re.compile(rf"\b(?:{'|'.join(said.words)})\b", re.I), _bounded(said.form)


def _bounded(form: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.+/-])(?:{form})(?![\w-]|\.[0-9])")


def _is_valid(check: str, written: str) -> bool:
    if re.sub(r"\D", "", written) in _NOBODY:
        return False
    return not check or _checker(check)(written)


@cache
def _checker(name: str) -> Callable[[str], bool]:
    checker: Callable[[str], bool] = import_module(f"stdnum.{name}").is_valid
    return checker
