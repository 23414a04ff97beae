"""A secret key, and what it makes of a value: nobody without the key can say whose it was.

A plain hash of a telephone number is found by trying them all. So both actions that keep one value
apart from another, hash and surrogate, need a key. It is read where it is needed and goes into no
recipe and no artifact; its fingerprint does, so that another key makes another artifact.

Source: Krawczyk et al. 1997 (HMAC, RFC 2104), with SHA-256.
"""

import hmac
import os
import re
from pathlib import Path

from volano.core.errors import DataError

VARIABLE = "VOLANO_PII_KEY"
FEWEST_KEY_BYTES = 16
HASH_CHARACTERS = 12  # 48 bits: a corpus of a million persons has 0.2 % risk of one mix-up
_MAKE_ONE = "Put one there, made by `python -c 'import secrets; print(secrets.token_hex(32))'`."


def read_key(source: str) -> bytes:
    """The key that `env:NAME` or `file:PATH` names. Raises DataError."""
    form, _, name = source.partition(":")
    if form == "env" and name:
        if not os.environ.get(name):
            raise DataError(f"no key in the environment variable {name}", "pii.key", _MAKE_ONE)
        key = os.environ[name].encode("utf-8", "surrogateescape")
    elif form == "file" and name:
        try:
            key = Path(name).read_bytes()
        except OSError as failure:
            what = f"no key in the file {name} ({failure.strerror})"
            raise DataError(what, "pii.key", _MAKE_ONE) from None
    else:
        raise DataError(
            "the place of a key is not understood", "pii.key", "Write env:NAME or file:PATH."
        )
    key = key.strip()
    if len(key) < FEWEST_KEY_BYTES:
        what = f"the key at {source} has {len(key)} bytes, of {FEWEST_KEY_BYTES} at least"
        raise DataError(what, "pii.key", _MAKE_ONE)
    return key


def key_fingerprint(key: bytes) -> str:
    """16 hexadecimal digits that tell keys apart and give none away."""
    return digest(key, "fingerprint", "").hex()[:16]


def hashed(kind: str, value: str, key: bytes) -> str:
    """A tag such as <EMAIL:1a2b3c4d5e6f>, the same for every spelling of one value."""
    return f"<{kind.upper()}:{digest(key, kind, plain(kind, value)).hex()[:HASH_CHARACTERS]}>"


def digest(key: bytes, kind: str, value: str) -> bytes:
    """HMAC-SHA256 over both, 32 bytes."""
    return hmac.digest(key, f"{kind}\0{value}".encode("utf-8", "surrogatepass"), "sha256")


def plain(kind: str, value: str) -> str:
    """A value without what is only its spelling: case, separators, line breaks."""
    if kind in ("email", "person_name", "street_address"):
        return " ".join(value.casefold().split())
    if kind == "phone":
        return re.sub(r"[^0-9+x]", "", value.lower())
    if kind in ("credit_card", "iban", "national_id"):
        return re.sub(r"[ .-]", "", value.upper())
    return value.lower() if kind == "ip_address" else value
