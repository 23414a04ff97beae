"""Which reader a file is read by: its suffix says it, or how the file begins, or a setting."""

from collections.abc import Sequence
from pathlib import Path

from volano.collect.readers.csv import read_csv
from volano.collect.readers.epub import read_epub
from volano.collect.readers.fields import Cursor, PassedOver, Read, counted
from volano.collect.readers.git import SUFFIX as GIT_SUFFIX
from volano.collect.readers.git import read_git
from volano.collect.readers.gutenberg import is_gutenberg, read_gutenberg
from volano.collect.readers.html import read_html
from volano.collect.readers.jsonl import read_jsonl
from volano.collect.readers.parquet import read_arrow, read_parquet
from volano.collect.readers.pdf import read_pdf
from volano.collect.readers.reddit import read_reddit
from volano.collect.readers.stackexchange import is_stackexchange, read_stackexchange
from volano.collect.readers.text import plain_suffix, read_text
from volano.collect.readers.warc import read_warc
from volano.collect.readers.wikipedia import is_wikipedia, read_wikipedia
from volano.collect.remote import local_file
from volano.collect.section import CollectSection
from volano.collect.suffixes import (
    ARROW_SUFFIXES,
    CSV_SUFFIXES,
    EPUB_SUFFIXES,
    HTML_SUFFIXES,
    JSONL_SUFFIXES,
    PARQUET_SUFFIXES,
    PDF_SUFFIXES,
    WARC_SUFFIXES,
    XML_SUFFIXES,
)
from volano.core.jsonlines import Problem, read_chunks
from volano.core.step import Entry

HEAD_BYTES = 1 << 16  # by which a file is told


def read_entries(
    entries: Sequence[Entry],
    settings: CollectSection,
    scratch: Path,
    cursor: Cursor | None = None,
) -> Read:
    """The records of some files, in order. `scratch` is a folder of the readers' own, which need
    not exist; `cursor` is where to begin, and is kept behind each record that is given. Raises
    DataError where a file is not what was listed."""
    cursor = cursor or Cursor()
    if settings.format == "reddit":
        read = read_reddit(entries, settings.text_field, settings.min_score, scratch)
        yield from counted(read, cursor)
        return
    first, state = cursor.state or (0, None)
    for place, entry in enumerate(entries[first:], start=first):
        within = Cursor(state if place == first else None)
        with local_file(entry, scratch / "fetched") as path:
            for each in _read(entry._replace(path=path), settings, scratch / str(place), within):
                cursor.state = [place, within.state]
                yield each


def _read(entry: Entry, settings: CollectSection, scratch: Path, cursor: Cursor) -> Read:
    path, name, text_field = entry.path, entry.key, settings.text_field
    suffix = plain_suffix(name)
    if suffix in XML_SUFFIXES:
        return _read_xml(path, name, settings, scratch, cursor)
    if suffix in JSONL_SUFFIXES:
        return read_jsonl(path, name, cursor)
    if suffix in CSV_SUFFIXES:
        return read_csv(path, name, cursor)
    if suffix in PARQUET_SUFFIXES:
        return read_parquet(path, name, cursor)
    if suffix in WARC_SUFFIXES:
        return read_warc(path, name, text_field, cursor)
    return counted(_read_anew(path, name, suffix, settings), cursor)


def _read_anew(path: Path, name: str, suffix: str, settings: CollectSection) -> Read:
    text_field = settings.text_field
    if suffix == GIT_SUFFIX:
        return read_git(path, name, text_field)
    if suffix in EPUB_SUFFIXES:
        return read_epub(path, name, text_field, settings.licence)
    if suffix in PDF_SUFFIXES:
        return read_pdf(path, name, text_field)
    if suffix in ARROW_SUFFIXES:
        return read_arrow(path, name)
    if suffix in HTML_SUFFIXES:
        return read_html(path, name, text_field)
    if settings.format == "gutenberg" or (suffix == ".txt" and is_gutenberg(_head(path))):
        return read_gutenberg(path, name, text_field, settings.licence)
    return read_text(path, name, text_field)


def _head(path: Path) -> bytes:
    head = b""
    try:
        for chunk in read_chunks(path):  # a packed file may begin with empty ones
            head += chunk
            if len(head) >= HEAD_BYTES:
                break
    except EOFError:
        pass  # the reader says what is wrong
    return head


def _read_xml(
    path: Path, name: str, settings: CollectSection, scratch: Path, cursor: Cursor
) -> Read:
    head = _head(path)
    if settings.format == "wikipedia" or (settings.format == "auto" and is_wikipedia(head)):
        yield from read_wikipedia(path, name, settings.text_field, settings.licence, cursor)
    elif settings.format == "stackexchange" or is_stackexchange(head):
        threads = read_stackexchange(
            path, name, settings.text_field, settings.min_score, settings.site, scratch
        )
        yield from counted(threads, cursor)
    elif not head:
        yield Problem(name, "empty, or damaged at its very beginning", "")
    else:
        yield PassedOver("XML files that are no dump of a wiki or of StackExchange")
