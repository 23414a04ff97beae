"""Money: cards, bank accounts and crypto addresses, each decided by its check digits."""

import hashlib
import re
from collections.abc import Iterator
from functools import cache

from volano.text.personal.keccak import keccak256

_CARD = re.compile(
    r"[0-9](?<![\w.+-].)(?:[0-9]{11,18}|[0-9]{3}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{1,7}"
    r"|[0-9]{3}([ -])[0-9]{6}\2[0-9]{4,5})(?![\w-]|\.[0-9])"
)
# Visa, Mastercard, American Express, Discover, JCB, Diners, with the lengths that they issue.
_ISSUER = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})|(?:5[1-5]|2[2-7])[0-9]{14}|3[47][0-9]{13}"
    r"|6(?:011|5[0-9]{2}|4[4-9][0-9])[0-9]{12}|35[0-9]{14}|3(?:0[0-5]|[68][0-9])[0-9]{11}"
    r"|(?:2131|1800)[0-9]{11}"
)
# Debit cards (Maestro) and UnionPay begin as many numbers do, so a word has to say it.
_OTHER_ISSUER = re.compile(r"(?:5[06-8]|6[0-9]|0604)[0-9]{8,17}")
_CARD_WORD = re.compile(r"\b(?:card|credit|debit|maestro|visa|mastercard)\b", re.I | re.A)
_BEFORE = 40  # characters in which a word may say what a number is


def cards(text: str) -> Iterator[tuple[int, int]]:
    """Payment cards: Luhn's sum and the issuer's prefix."""
    for match in _CARD.finditer(text):
        digits = re.sub(r"[ -]", "", match[0])
        known = _ISSUER.fullmatch(digits) or (
            _OTHER_ISSUER.fullmatch(digits)
            and _CARD_WORD.search(text, max(0, match.start() - _BEFORE), match.start())
        )
        if known and passes_luhn(digits):
            yield match.span()


def passes_luhn(digits: str) -> bool:
    """Whether the last digit is the check digit that ISO/IEC 7812-1 asks for."""
    doubled = [2 * int(digit) for digit in digits[-2::-2]]
    return (sum(map(int, digits[-1::-2])) + sum(n - 9 if n > 9 else n for n in doubled)) % 10 == 0


# In one piece, or printed in groups of four.
_IBAN = re.compile(
    r"[A-Z](?<![A-Za-z0-9].)[A-Z][0-9]{2}"
    r"(?:[A-Z0-9]{11,30}|(?:([ -])[A-Z0-9]{4})(?:\1[A-Z0-9]{4}){1,6}(?:\1[A-Z0-9]{1,3})?)"
    r"(?![A-Za-z0-9])"
)
_IBAN_LOWER = re.compile(r"[a-z](?<![A-Za-z0-9].)[a-z][0-9]{2}[a-z0-9]{11,30}(?![A-Za-z0-9])")


def ibans(text: str) -> Iterator[tuple[int, int]]:
    """International bank account numbers: country, its length and form, mod 97 (ISO 13616)."""
    from stdnum import iban

    for pattern in (_IBAN, _IBAN_LOWER):
        for match in pattern.finditer(text):
            length = _iban_lengths().get(match[0][:2].upper())
            # The group behind the last one may be a word of the sentence.
            place, characters = match.start(), 0
            while length and characters < length and place < match.end():
                characters += text[place] not in " -"
                place += 1
            whole = characters == length and (place == match.end() or text[place] in " -")
            if whole and iban.is_valid(text[match.start() : place], check_country=False):
                yield match.start(), place


@cache
def _iban_lengths() -> dict[str, int]:
    from stdnum import numdb

    found = {}
    letters = [chr(code) for code in range(65, 91)]
    for code in (one + other for one in letters for other in letters):
        ((_, about),) = numdb.get("iban").info(code)[:1]
        if "bban" in about:
            found[code] = 4 + sum(map(int, re.findall(r"[0-9]+", about["bban"])))
    return found


_COIN = re.compile(
    r"[013bB](?<!\w.)(?:(?<=[13])[1-9A-HJ-NP-Za-km-z]{25,34}|(?<=b)c1[02-9ac-hj-np-z]{11,71}"
    r"|(?<=B)C1[02-9AC-HJ-NP-Z]{11,71}|(?<=0)x[0-9a-fA-F]{40})(?!\w)"
)
_COIN_WORD = re.compile(r"\b(?:eth|ethereum|ether|wallet|erc-?20|usdt|usdc)\b", re.I | re.A)
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32_SUMS = {0: 1, 1: 0x2BC830A3}  # BIP 173, and BIP 350 from witness version 1 on


def coins(text: str) -> Iterator[tuple[int, int]]:
    """Addresses of Bitcoin (base58check, bech32, bech32m) and Ethereum (EIP-55)."""
    for match in _COIN.finditer(text):
        written = match[0]
        if written.startswith("0x"):
            near = text[max(0, match.start() - _BEFORE) : match.end() + 20]
            right = _is_ethereum(written[2:], said=bool(_COIN_WORD.search(near)))
        elif written[:3] in ("bc1", "BC1"):
            right = _is_bech32(written.lower())
        else:
            right = _is_base58check(written)
        if right:
            yield match.span()


def _is_base58check(written: str) -> bool:
    number = 0
    for character in written:
        number = number * 58 + _BASE58.index(character)
    if number >= 1 << 200:
        return False
    data = number.to_bytes(25, "big")  # version, 20 bytes, 4 of their hash
    digest = hashlib.sha256(hashlib.sha256(data[:-4]).digest()).digest()
    return data[0] in (0, 5) and digest[:4] == data[-4:]


def _is_bech32(written: str) -> bool:
    data = [_BECH32.index(character) for character in written[3:]]
    summed = 1
    for value in [3, 3, 0, 2, 3, *data]:  # "bc" as BIP 173 expands it
        top = summed >> 25
        summed = (summed & 0x1FFFFFF) << 5 ^ value
        for place, generator in enumerate(
            (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
        ):
            summed ^= generator if top >> place & 1 else 0
    return summed == _BECH32_SUMS[min(data[0], 1)]


def _is_ethereum(digits: str, said: bool) -> bool:
    if digits in (digits.lower(), digits.upper()):  # no checksum: a SHA-1 looks the same
        return said and not digits.startswith("00000000")  # nobody has the key of such a one
    digest = keccak256(digits.lower().encode()).hex()
    return all(
        one.isdigit() or one.isupper() == (int(other, 16) >= 8)
        for one, other in zip(digits, digest, strict=False)
    )
