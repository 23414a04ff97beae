#!/usr/bin/env python3
"""Writes the names of persons that text.personal.names knows, with what else each of them is.

    build/peers/bin/python scripts/write_names.py CENSUS_FOLDER PROSE…     # after `make peers`

CENSUS_FOLDER holds the three name files of the US Census of 1990 (dist.all.last, dist.male.first,
dist.female.first; public domain). Names of other countries, and the countries and capitals that
are no names, come from the lists of Faker (MIT License, see NOTICE), as far as they are written in
Latin letters. PROSE is JSONL.gz with a field `text`: a name that stands there in small letters is
also a word (May, Will, Mark), and by itself no sign of a person.
"""

import collections
import gzip
import importlib
import json
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from faker.providers import address, date_time, person

TARGET = Path(__file__).resolve().parent.parent / "src/volano/text/data/names.txt.gz"
LETTERS = r"[A-Za-z\u00C0-\u02FF\u1E00-\u1EFF]+"
ALONE = rf"(?<![\w@./<_-]){LETTERS}(?![\w@/_>-]|\.\w)"  # in no address and no identifier
MOST_SURNAMES = 20_000  # of the census, which bear 78 % of its people
MOST_COMMON = 400  # first names and surnames of the census from which surrogates are drawn
FEWEST_AS_WORD, SURELY_A_WORD = 3, 10  # occurrences in small letters
# Towns and regions that are first names too, besides the countries, capitals and states of Faker.
PLACES = re.findall(
    r"\w+",
    "York Lincoln Holland Chelsea Orlando Dallas Houston Austin Denver Boston London Kent Devon "
    "Essex Cambridge Oxford Brooklyn Bronx Memphis Phoenix Savannah Madison Jackson Troy Sierra "
    "Asia Africa Europe America Israel Windsor Lancaster Chester Wellington Hamilton Salvador "
    "Florence Sydney Milan Vienna Bristol Trenton Cleveland Charlotte Chandler Avalon Angeles "
    "Valencia Verona Odessa Zion Santiago",
)


def main() -> None:
    """Write the file."""
    census, prose = Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
    flags: dict[str, set[str]] = collections.defaultdict(set)
    for file, letter, most in (
        ("dist.male.first", "f", 10**6),
        ("dist.female.first", "f", 10**6),
        ("dist.all.last", "l", MOST_SURNAMES),
    ):
        for place, line in enumerate((census / file).read_text().split("\n")[:most]):
            if line.strip():
                name = line.split()[0].title()
                flags[name].add(letter)
                if place < MOST_COMMON:
                    flags[name].add("L" if letter == "l" else "F")
    for name, letter in of_faker():
        for part in name.split("-") if letter == "f" else [name]:
            flags[part].add(letter)
    places = {*of_places(), *PLACES}
    small, capital = counts(prose)
    for name in flags:
        word = name.lower()
        if small[word] >= FEWEST_AS_WORD and (
            small[word] >= SURELY_A_WORD or 2 * small[word] > capital[name]
        ):
            flags[name].add("w")
        if name in places:
            flags[name].add("p")
    fit = {n: "".join(sorted(f)) for n, f in flags.items() if re.fullmatch(LETTERS, n)}
    lines = [f"{name} {fit[name]}\n" for name in sorted(fit) if len(name) > 1 and name[0].isupper()]
    TARGET.write_bytes(gzip.compress("".join(lines).encode(), 9, mtime=0))
    print(f"{TARGET.name}: {len(lines):,} names, {TARGET.stat().st_size:,} bytes")


def of_faker() -> Iterator[tuple[str, str]]:
    """Names of its locales, "f" for first names and "l" for surnames."""
    for each in pkgutil.iter_modules(person.__path__):
        provider = importlib.import_module(f"faker.providers.person.{each.name}").Provider
        for attribute in dir(provider):
            letter = "l" if "last" in attribute else "f" if "first" in attribute else ""
            values = getattr(provider, attribute)
            if letter and isinstance(values, tuple | list | dict | set):
                yield from ((v, letter) for v in values if isinstance(v, str) and "{" not in v)


def of_places() -> Iterator[str]:
    """Countries, their capitals, and the states of North America."""
    for country in date_time.Provider.countries:
        yield from (country.name, country.capital)
    for locale in ("en_US", "en_CA", "en_AU", "en"):
        provider = importlib.import_module(f"faker.providers.address.{locale}").Provider
        for attribute in ("states", "provinces", "countries"):
            yield from getattr(provider, attribute, ())
    assert address


def counts(paths: list[Path]) -> tuple[collections.Counter[str], collections.Counter[str]]:
    """Of every word in small letters, and of every other."""
    small: collections.Counter[str] = collections.Counter()
    capital: collections.Counter[str] = collections.Counter()
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
            for line in lines:
                for word in re.findall(ALONE, json.loads(line)["text"]):
                    (small if word.islower() else capital)[word] += 1
    return small, capital


if __name__ == "__main__":
    main()
