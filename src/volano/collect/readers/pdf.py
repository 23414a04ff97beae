"""PDF files that hold text: what a printer's lines say, put together again into paragraphs.

PDFium reads them, in a process of its own: it is made of C++ and other people's files make it
crash. A PDF of scanned pages has no text layer and is passed over.
"""

import functools
import re
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from volano.collect.readers.fields import Fields, PassedOver, Read
from volano.collect.readers.text import read_whole
from volano.core.errors import MissingExtra
from volano.core.half_character import SURROGATE
from volano.core.isolated import Isolated, Lost
from volano.core.jsonlines import Problem

SECONDS_PER_FILE = 300.0
MAX_PAGES = 20_000
MAX_TEXT_CHARACTERS = 1 << 28
EDGE_LINES = 2  # at the top and the bottom of a page, where running titles stand
MIN_REPEATS = 3
RUNNING_FRACTION = 1 / 3  # of the pages: left and right pages often differ
FULL_LINE_FRACTION = 0.7  # of the usual longest line; a shorter one ends its paragraph
NO_TEXT = PassedOver("PDFs without a text layer")
_HYPHENS = ("-", "\u2010", "\u00ad")
_DIVIDED = re.compile("[\ufffe\x02](?:\r?\n)?")  # what PDFium makes of a hyphen that ends a line
_BULLET = re.compile(r"[•●▪◦‣–·*-]\s|\(?\d{1,3}[.)]\s")
_DATE = re.compile(r"D:(\d{4})(\d{2})(\d{2})")


class PdfText(NamedTuple):
    """The text of each page with its line breaks, and what the file states of itself."""

    pages: list[str]
    stated: dict[str, str]


def read_pdf(path: Path, name: str, text_field: str) -> Read:
    """The one document of a file."""
    if find_spec("pypdfium2") is None:
        remedy = "Install it: pip install 'volano[pdf]'."
        raise MissingExtra("PDF is read by pypdfium2, which is missing", name, remedy)
    for content in read_whole(path, name):
        if isinstance(content, Problem):
            yield content
            return
        try:
            found = PdfText(*_child().call(pdf_text, content))
        except Lost as failure:
            yield Problem(name, f"cannot be read as PDF ({failure})", "")
            return
        text = text_of_pages(found.pages)
        yield Fields(name, name, {text_field: text, **found.stated}) if text else NO_TEXT


def pdf_text(content: bytes) -> tuple[list[str], dict[str, str]]:
    """The fields of PdfText. Runs in the other process; raises ValueError where there is no text
    to be had."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as failure:
        encrypted = "password" in str(failure).lower()
        raise ValueError("encrypted" if encrypted else str(failure)) from None
    if len(document) > MAX_PAGES:
        raise ValueError(f"more than {MAX_PAGES:,} pages")
    pages = []
    size = 0
    for number in range(len(document)):
        try:
            page = document[number]
        except pypdfium2.PdfiumError:  # one broken page does not spoil a book
            pages.append("")
            continue
        layer = page.get_textpage()
        pages.append(layer.get_text_range())
        size += len(pages[-1])
        if size > MAX_TEXT_CHARACTERS:
            raise ValueError(f"longer than {MAX_TEXT_CHARACTERS:,} characters")
        layer.close()
        page.close()
    return pages, _stated(document.get_metadata_dict(skip_empty=True))


def text_of_pages(pages: Sequence[str]) -> str:
    """Pages as one text, a line per paragraph: without running titles, words put together again
    that were divided at the end of a line."""
    lines_of_pages = [
        [line for raw in _DIVIDED.sub("-\n", page).splitlines() if (line := _clean(raw))]
        for page in pages
    ]
    running = _running_titles(lines_of_pages)
    lines = [
        line
        for page in lines_of_pages
        for place, line in enumerate(page)
        if not (_at_edge(place, len(page)) and _shape(line) in running)
    ]
    if not lines:
        return ""
    words = set(re.findall(r"\b\w+-\w+", "\n".join(lines)))
    lengths = sorted(map(len, lines))
    full = FULL_LINE_FRACTION * lengths[int(0.9 * (len(lengths) - 1))]
    paragraphs = [[lines[0]]]
    for before, line in pairwise(lines):
        if before.endswith(_HYPHENS) and line[0].isalpha():
            paragraphs[-1][-1] = _joined(paragraphs[-1][-1], line, words)
        elif len(before) >= full and not _BULLET.match(line):
            paragraphs[-1].append(line)
        else:
            paragraphs.append([line])
    return "\n".join(" ".join(paragraph) for paragraph in paragraphs)


def _joined(before: str, line: str, words: set[str]) -> str:
    head, hyphen = before[:-1], before[-1]
    left = re.search(r"\w+$", head)
    right = re.match(r"\w+", line)
    # "well-" and "known": the hyphen stays where the text elsewhere writes it within a line, and
    # before a capital.
    written = left and right and f"{left[0]}-{right[0]}" in words
    stays = hyphen != "\u00ad" and (written or not line[0].islower())
    return (before if stays else head) + line


def _running_titles(pages: Sequence[Sequence[str]]) -> set[str]:
    counted = Counter(
        shape
        for page in pages
        for shape in {_shape(line) for place, line in enumerate(page) if _at_edge(place, len(page))}
    )
    bound = max(MIN_REPEATS, RUNNING_FRACTION * sum(bool(page) for page in pages))
    return {shape for shape, count in counted.items() if count >= bound}


def _at_edge(place: int, count: int) -> bool:
    return place < EDGE_LINES or place >= count - EDGE_LINES


def _shape(line: str) -> str:
    return re.sub(r"\d+|\b[ivxlc]+\b", "#", line.lower())


def _clean(line: str) -> str:
    return " ".join(SURROGATE.sub("\ufffd", line.replace("\0", "")).split())


def _stated(metadata: dict[str, Any]) -> dict[str, str]:
    date = _DATE.match(metadata.get("CreationDate", ""))
    values = {
        "title": _clean(metadata.get("Title", "")),
        "author": _clean(metadata.get("Author", "")),
        "date": "-".join(date.groups()) if date else "",
    }
    return {key: value for key, value in values.items() if value}


@functools.cache
def _child() -> Isolated:
    return Isolated(SECONDS_PER_FILE)  # kept from file to file; ends with the process that has it
