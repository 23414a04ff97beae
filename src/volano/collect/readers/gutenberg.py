"""Texts of Project Gutenberg: the book alone, without the header, footer and licence around it."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

from volano.collect.readers.fields import Fields, Read
from volano.collect.readers.text import read_whole
from volano.core.jsonlines import EXCERPT_CHARACTERS, Problem

LICENCE = "Public domain in the USA"
SITE = "https://www.gutenberg.org/ebooks"
HEAD_CHARACTERS = 40_000  # the longest headers, of the 1990s, have half of that
# A title may wrap. Until about 2000 the "small print" stood above the book.
_START = re.compile(
    r"^\*\*\* ?START OF (?:THE|THIS) PROJECT GUTENBERG E-?BOOK[^*]{0,500}\*\*\*[^\n]*"
    r"|^\*END\*? ?THE SMALL PRINT![^\n]*",
    re.MULTILINE | re.IGNORECASE,
)
_END = re.compile(
    r"^\*\*\* ?END OF (?:THE|THIS) PROJECT GUTENBERG E-?BOOK"
    r"|^[ \t]*(?:THE )?END OF (?:THE |THIS )?PROJECT GUTENBERG(?:'S)? (?:E-?TEXT|E-?BOOK|EDITION)",
    re.MULTILINE | re.IGNORECASE,
)
_LAST_LINE = re.compile(
    r"\n\s*End of (?:the |this )?Project Gutenberg[^\n]*(?:\n[^\n]+)?\s*$", re.I
)
_CREDITS = re.compile(
    r"\A\s*(?:\[?(?:Produced|E-?text prepared|Transcribed|Prepared|Scanned)\b[^\n]*\bby\b)"
    r"[^\n]*(?:\n[^\n]+)*\n\n",
    re.IGNORECASE,
)
_FIELD = re.compile(
    r"^(Title|Author|Language|Release Date):[ \t]*(.*(?:\n[ \t]+\S.*)*)", re.M | re.I
)
_NUMBER = re.compile(r"\[?E-?(?:book|text) #(\d+)\]?", re.IGNORECASE)
_ENCODING = re.compile(rb"^Character set encoding:\s*([\w-]+)", re.M | re.I)


def is_gutenberg(head: bytes) -> bool:
    """A text that begins so has the header of Project Gutenberg, whole."""
    return _START.search(head.decode("utf-8", "replace")) is not None


def read_gutenberg(path: Path, name: str, text_field: str, licence: str | None) -> Read:
    """The book of one file."""
    for content in read_whole(path, name):
        if isinstance(content, Problem):
            yield content
            continue
        text = _decoded(content).removeprefix("\ufeff").replace("\r\n", "\n")
        start = _START.search(text, 0, HEAD_CHARACTERS)
        if start is None:
            yield Problem(name, "no header of Project Gutenberg", text[:EXCERPT_CHARACTERS])
            continue
        end = _END.search(text, start.end())
        book = text[start.end() : end.start() if end else None]
        book = _CREDITS.sub("", book.lstrip("\n") + "\n\n", count=1)
        book = _LAST_LINE.sub("", book.rstrip()).strip("\n")
        yield Fields(name, name, {text_field: book, **_stated(text[: start.start()], licence)})


def _stated(header: str, licence: str | None) -> dict[str, Any]:
    found = {key.lower(): " ".join(value.split()) for key, value in _FIELD.findall(header)}
    number = _NUMBER.search(header)
    # A few books are under copyright, and given away by leave of their author.
    free = "COPYRIGHTED PROJECT GUTENBERG" not in header.upper()
    values = {
        "id": f"gutenberg:{number[1]}" if number else "",
        "url": f"{SITE}/{number[1]}" if number else "",
        "title": found.get("title", ""),
        "author": found.get("author", ""),
        "stated_language": found.get("language", ""),
        "date": _iso_date(_NUMBER.sub("", found.get("release date", "")).strip(" ,")),
        "licence": licence or (LICENCE if free else ""),
    }
    return {key: value for key, value in values.items() if value}


def _iso_date(written: str) -> str:
    for form, shape in (("%B %d, %Y", "%Y-%m-%d"), ("%B, %Y", "%Y-%m"), ("%B %Y", "%Y-%m")):
        try:
            return datetime.strptime(written, form).strftime(shape)
        except ValueError:
            continue
    return written


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        stated = _ENCODING.search(content[:HEAD_CHARACTERS])
        encoding = stated[1].decode() if stated else "cp1252"
    if encoding.lower() in {"iso-8859-1", "latin1", "latin-1", "ascii", "us-ascii", "utf-8"}:
        encoding = "cp1252"  # as browsers have it: these files use its quotation marks
    try:
        return content.decode(encoding, "replace")
    except LookupError:
        return content.decode("cp1252", "replace")
