"""In which scripts a text is written: its letters, counted by script.

Python does not tell the script of a character, but Unicode names begin with it (CYRILLIC SMALL
LETTER A), which is exact enough to count by.
"""

import functools
import itertools
import unicodedata
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from volano.text.kernels.buffers import Texts, text_buffers
from volano.text.kernels.characters import KNOWN_CHARACTERS, character_at

Array = npt.NDArray[Any]

# First word of a Unicode name → ISO 15924. Letters of any other script count as "Zyyy".
SCRIPTS = {
    "LATIN": "Latn", "CYRILLIC": "Cyrl", "GREEK": "Grek", "ARMENIAN": "Armn", "HEBREW": "Hebr",
    "ARABIC": "Arab", "SYRIAC": "Syrc", "THAANA": "Thaa", "DEVANAGARI": "Deva", "BENGALI": "Beng",
    "GURMUKHI": "Guru", "GUJARATI": "Gujr", "ORIYA": "Orya", "TAMIL": "Taml", "TELUGU": "Telu",
    "KANNADA": "Knda", "MALAYALAM": "Mlym", "SINHALA": "Sinh", "THAI": "Thai", "LAO": "Laoo",
    "TIBETAN": "Tibt", "MYANMAR": "Mymr", "GEORGIAN": "Geor", "HANGUL": "Hang",
    "ETHIOPIC": "Ethi", "KHMER": "Khmr", "MONGOLIAN": "Mong", "HIRAGANA": "Hira",
    "KATAKANA": "Kana", "CJK": "Hani",
}  # fmt: skip
OTHER = "Zyyy"
NAMES = (OTHER, *SCRIPTS.values())
NO_LETTER = 255
_BLOCKS = [(0x3400, 0x4DBF, "Hani"), (0x4E00, 0x9FFF, "Hani"), (0x20000, 0x323FF, "Hani")]
_BLOCKS += [(0xAC00, 0xD7A3, "Hang")]
_FULL_WIDTH = ("FULLWIDTH", "HALFWIDTH")  # LATIN or KATAKANA comes second


@functools.cache
def script_table() -> Array:
    """Per code point the place of its script in NAMES; NO_LETTER for what is no letter."""
    table = np.full(KNOWN_CHARACTERS, NO_LETTER, np.uint8)
    places = {name: NAMES.index(code) for name, code in SCRIPTS.items()}
    for first, last, script in _BLOCKS:
        table[first : last + 1] = NAMES.index(script)
    beyond = 0x20000  # from here on ideographs alone
    for code in itertools.chain(range(0x3400), range(0xA000, 0xAC00), range(0xD7A4, beyond)):
        character = chr(code)
        if character.isalpha():
            words = unicodedata.name(character, "").split(" ", 2)
            name = words[1] if words[0] in _FULL_WIDTH else words[0]
            table[code] = places.get(name, 0)
    table.flags.writeable = False
    return table


def letters_by_script(texts: Texts, characters: int | None = None) -> Array:
    """Letters of each text, of which so many characters are read: int64, texts × NAMES."""
    bounds, utf8, missing = text_buffers(texts)
    counts = np.zeros((len(missing), len(NAMES)), np.int64)
    _count(bounds, utf8, script_table(), -1 if characters is None else characters, counts)
    return counts


@numba.njit(nogil=True, cache=True)
def _count(bounds: Array, utf8: Array, table: Array, characters: int, counts: Array) -> None:
    for row in range(len(counts)):
        place, left = bounds[row], characters
        while place < bounds[row + 1] and left != 0:
            code, length = character_at(utf8, place)
            if code < len(table) and table[code] != NO_LETTER:
                counts[row, table[code]] += 1
            place += length
            left -= 1
