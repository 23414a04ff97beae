"""Which licence a licence file holds, as an SPDX name, told by sentences that only it has."""

import re
from collections.abc import Mapping

# In this order: the texts of the first ones quote the later ones.
_MARKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("AGPL-3.0", ("gnu affero general public license version 3",)),
    ("LGPL-3.0", ("gnu lesser general public license version 3",)),
    ("LGPL-2.1", ("gnu lesser general public license version 2.1",)),
    ("GPL-3.0", ("gnu general public license version 3",)),
    ("GPL-2.0", ("gnu general public license version 2",)),
    ("MPL-2.0", ("mozilla public license version 2.0",)),
    ("Apache-2.0", ("apache license version 2.0",)),
    ("EPL-2.0", ("eclipse public license - v 2.0",)),
    ("BSL-1.0", ("boost software license - version 1.0",)),
    ("CC0-1.0", ("cc0 1.0 universal",)),
    ("CC-BY-SA-4.0", ("attribution-sharealike 4.0 international",)),
    ("CC-BY-4.0", ("attribution 4.0 international",)),
    ("Unlicense", ("this is free and unencumbered software released into the public domain",)),
    ("PSF-2.0", ("python software foundation license version 2",)),
    ("Zlib", ("altered source versions must be plainly marked",)),
    (
        "MIT",
        (
            "permission is hereby granted, free of charge, to any person obtaining a copy",
            "the above copyright notice and this permission notice",
        ),
    ),
    ("ISC", ("permission to use, copy, modify, and", "provided that the above copyright notice")),
    (
        "BSD-4-Clause",
        ("redistribution and use in source and binary forms", "all advertising materials"),
    ),
    (
        "BSD-3-Clause",
        ("redistribution and use in source and binary forms", "endorse or promote products"),
    ),
    ("BSD-2-Clause", ("redistribution and use in source and binary forms",)),
)
_NAME = re.compile(
    r"(?:un)?licen[cs]e(?:s)?(?:[._-].*)?|copying(?:[._-].*)?|[\w.-]*[._-]licen[cs]e(?:\.\w+)?",
    re.I,
)
_IDENTIFIER = re.compile(
    r"SPDX-License-Identifier:\s*([\w.+-]+(?: +(?:AND|OR|WITH) +[\w.+-]+)*)", re.IGNORECASE
)
HEAD_CHARACTERS = 2_000  # where a file names its own licence
BEGIN_CHARACTERS = 1_500  # where a licence names itself; further down it may name others


def is_licence_file(name: str) -> bool:
    """A file of this name (without folders) holds a licence: LICENSE-MIT, COPYING.LESSER …"""
    return _NAME.fullmatch(name) is not None and not name.lower().endswith((".py", ".js", ".go"))


def licence_of(text: str) -> str | None:
    """The SPDX name of a licence's text; None where it is none of those known here.

    Whether "or any later version" holds is said in the files, not in the licence, and stays open.
    """
    plain = " ".join(re.sub(r"[*#=\n]", " ", text.lower()).replace(",", " ,").split())
    plain = plain.replace(" ,", ",").replace("license, version", "license version")
    begin = plain[:BEGIN_CHARACTERS]
    for name, marks in _MARKS:
        # One mark is a title, which counts at the beginning; sentences count anywhere.
        if all(mark in (begin if "version" in mark or "v 2" in mark else plain) for mark in marks):
            return name
    return None


def stated_licence(text: str) -> str | None:
    """The licence that a source file names in its head, as SPDX has it."""
    found = _IDENTIFIER.search(text[:HEAD_CHARACTERS])
    return " ".join(found[1].split()) if found else None


def joint_licence(found: Mapping[str, str]) -> str | None:
    """What the licence files of one folder, by name, say together: LICENSE-MIT beside
    LICENSE-APACHE is a choice; the Lesser GPL comes with the GPL; all others hold together."""
    names = set(found.values())
    if any(name.startswith("LGPL") for name in names):
        names = {name for name in names if not name.startswith("GPL")}
    choice = len(found) > 1 and all(
        re.fullmatch(r"licen[cs]e[._-].+", each, re.I) for each in found
    )
    return (" OR " if choice else " AND ").join(sorted(names)) or None
