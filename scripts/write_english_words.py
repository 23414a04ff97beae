#!/usr/bin/env python3
"""Writes the data by which text.english splits English words, from the rules of spaCy itself.

    build/peers/bin/python scripts/write_english_words.py     # after `make peers`

spaCy stays out of the product: half a gigabyte of it and of what it needs, and two hundred times
slower than the kernel that reads this file. The curation rules of the field count words as spaCy
splits them, though, so we must split alike. See NOTICE for its licence.
"""

import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

try:
    import spacy
    from datatrove.utils.text import PUNCTUATION_SET, TERMINAL_PUNCTUATION
    from spacy.lang.char_classes import ALPHA, ALPHA_LOWER, ALPHA_UPPER, CONCAT_QUOTES, UNITS
    from spacy.lang.tokenizer_exceptions import URL_PATTERN
    from spacy.pipeline.sentencizer import Sentencizer
except ImportError as missing:
    sys.exit(f"write_english_words: {missing}. Run it by the Python of `make peers`, as above.")

TARGET = Path(__file__).resolve().parent.parent / "src/volano/text/data/english.json"
LAST_CODE = 0x32400  # Unicode assigns no characters of words beyond


def main() -> None:
    """Write the file."""
    tokenizer = spacy.blank("en").tokenizer
    prefix, suffix = tokenizer.prefix_search, tokenizer.suffix_search
    infix, url = tokenizer.infix_finditer, re.compile("(?u)" + URL_PATTERN)
    ends = set(Sentencizer.default_punct_chars)
    before_stop = [
        piece for piece in suffix.__self__.pattern.split("$|") if piece.endswith(r"])\.")
    ]
    (before_stop_class,) = [piece for piece in before_stop if piece.startswith("(?<=[0-9")]
    follows = re.compile(before_stop_class)
    classes: dict[str, Callable[[str], object]] = {
        "prefix": prefix,
        "suffix": suffix,
        "infix": lambda character: list(infix(character)),
        "alpha": re.compile(f"[{ALPHA}]").match,
        "lower": re.compile(f"[{ALPHA_LOWER}]").match,
        "upper": re.compile(f"[{ALPHA_UPPER}]").match,
        "quote": re.compile(f"[{CONCAT_QUOTES}]").match,
        "before_stop": lambda character: follows.match(character + ".", 1),
        "currency": lambda character: not suffix(character) and suffix("0" + character)
        and not re.match(UNITS, character) and character not in "+.",
        "hyphen": lambda character: [m.group() for m in infix(f"a{character}a")] == [character]
        and not list(infix(character)) and character not in ",:<>=/."
        and not list(infix(f"a{character}0")),
        "sentence_end": ends.__contains__,
        "punctuation": lambda character: unicodedata.category(character).startswith("P"),
        "symbol": PUNCTUATION_SET.__contains__,
        "terminal": TERMINAL_PUNCTUATION.__contains__,
    }  # fmt: skip
    characters = [chr(code) for code in range(LAST_CODE) if not 0xD800 <= code < 0xE000]
    rules = {
        word: [piece[65] for piece in pieces]  # 65: ORTH
        for word, pieces in tokenizer.rules.items()
        if not re.search(r"\s", word)
    }
    found = {
        "source": f"spaCy {spacy.__version__} (MIT License, ExplosionAI GmbH), English tokenizer",
        "prefix": prefix.__self__.pattern,
        "suffix": suffix.__self__.pattern,
        "infix": infix.__self__.pattern,
        "url": url.pattern,
        "units": sorted(UNITS.split("|")),
        "exceptions": [" ".join(pieces) for _, pieces in sorted(rules.items())],
        "classes": {name: ranges(filter(test, characters)) for name, test in classes.items()},
    }
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(json.dumps(found, ensure_ascii=True, indent=0) + "\n")
    print(f"{TARGET}: {len(found['exceptions'])} exceptions", file=sys.stderr)


def ranges(characters: Iterable[str]) -> str:
    """Characters as ranges of code points, in hexadecimal."""
    runs: list[list[int]] = []
    for character in characters:
        code = ord(character)
        if runs and runs[-1][1] == code - 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return " ".join(
        f"{first:x}" if first == last else f"{first:x}-{last:x}" for first, last in runs
    )


if __name__ == "__main__":
    main()
