"""Which languages are written in which scripts: what fastText says is doubted where both disagree.

lid.176 has to answer with one of its languages, and answers with Russian for some Latin text.
"""

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from volano.text.kernels.scripts import NAMES, OTHER

Array = npt.NDArray[Any]

_LANGUAGES = {
    "Cyrl": "av ba be bg bxr ce cv kk kv krc ky lez mhr mk mn mrj myv os ru rue sah sh sr tg tt "
    "tyv uk xal az uz tk ku ro",
    "Grek": "el",
    "Armn": "hy",
    "Hebr": "he yi",
    "Arab": "ar arz azb ckb fa lrc mzn pnb ps sd ug ur ku az tg kk ky uz ms",
    "Thaa": "dv",
    "Deva": "bh dty gom hi mai mr ne new sa sd",
    "Beng": "as bn bpy",
    "Guru": "pa",
    "Gujr": "gu",
    "Orya": "or",
    "Taml": "ta",
    "Telu": "te",
    "Knda": "kn",
    "Mlym": "ml",
    "Sinh": "si",
    "Thai": "th",
    "Laoo": "lo",
    "Tibt": "bo",
    "Mymr": "my",
    "Geor": "ka xmf",
    "Hang": "ko",
    "Ethi": "am",
    "Khmr": "km",
    "Mong": "mn",
    "Hira": "ja",
    "Kana": "ja",
    "Hani": "zh yue wuu ja ko",
}
# Written in Latin letters as well; every language that is named nowhere is.
_ALSO_LATIN = frozenset(["az", "uz", "tk", "ku", "ro", "sr", "ms", "kk", "gom", "tt", "sh"])


def scripts_of(language: str) -> frozenset[str]:
    """The scripts in which a language of lid.176 is written."""
    named = {script for script, languages in _LANGUAGES.items() if language in languages.split()}
    if not named or language in _ALSO_LATIN:
        named.add("Latn")
    return frozenset(named)


def main_scripts(letters: Array) -> list[str | None]:
    """The script of most letters of each text (a row of `letters_by_script`), as ISO 15924 has it;
    None for a text without letters."""
    most = letters.argmax(axis=1)
    return [NAMES[place] if row[place] else None for row, place in zip(letters, most, strict=True)]


def fractions_in_script(letters: Array, languages: Sequence[str | None]) -> list[float | None]:
    """Of the letters of each text, those in a script of its language; None without language or
    letters. Letters of scripts without a name here count for every language."""
    found: list[float | None] = []
    for row, language in zip(letters, languages, strict=True):
        total = int(row.sum())
        if language is None or not total:
            found.append(None)
            continue
        scripts = scripts_of(language) | {OTHER}
        own = sum(int(count) for count, name in zip(row, NAMES, strict=True) if name in scripts)
        found.append(round(own / total, 6))
    return found
