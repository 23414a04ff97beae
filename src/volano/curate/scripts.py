"""Which languages are written in which scripts: what fastText says is doubted where both disagree.

lid.176 has to answer with one of its languages, and answers with Russian for some Latin text.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
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


@functools.cache
def scripts_of(language: str) -> frozenset[str]:
    """The scripts in which a language of lid.176 is written."""
    named = {script for script, languages in _LANGUAGES.items() if language in languages.split()}
    if not named or language in _ALSO_LATIN:
        named.add("Latn")
    return frozenset(named)


def main_scripts(letters: Array) -> list[str | None]:
    """The script of most letters of each text (a row of `letters_by_script`), as ISO 15924 has it;
    None for a text without letters."""
    names = np.array([*NAMES, None], object)
    found: list[str | None] = names[
        np.where(letters.any(axis=1), letters.argmax(axis=1), -1)
    ].tolist()
    return found


def fractions_in_script(letters: Array, languages: Sequence[str | None]) -> list[float | None]:
    """Of the letters of each text, those in a script of its language; None without language or
    letters. Letters of scripts without a name here count for every language."""
    known = sorted({language for language in languages if language is not None})
    place = {language: number for number, language in enumerate(known)}
    rows = np.array([place.get(language or "", -1) for language in languages], np.int64)
    scripts = [scripts_of(language) | {OTHER} for language in known]
    counts = np.array([[name in each for name in NAMES] for each in scripts]).reshape(
        -1, len(NAMES)
    )
    own = np.where(counts[rows], letters, 0).sum(axis=1) if known else np.zeros(len(rows))
    total = letters.sum(axis=1)
    told = (rows >= 0) & (total > 0)
    fractions = np.round(own / np.maximum(total, 1), 6).tolist()
    return [value if is_told else None for value, is_told in zip(fractions, told, strict=True)]
