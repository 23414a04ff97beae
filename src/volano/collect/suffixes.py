"""Which kinds of file there are, told by the suffix of their names."""

from pathlib import PurePosixPath

from volano.collect.readers.text import (
    CODE_SUFFIXES,
    COMPRESSION_SUFFIXES,
    PROSE_SUFFIXES,
    plain_suffix,
)
from volano.collect.section import Format

JSONL_SUFFIXES = frozenset({".jsonl", ".ndjson"})
PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})
ARROW_SUFFIXES = frozenset({".arrow", ".feather"})
CSV_SUFFIXES = frozenset({".csv", ".tsv"})
WARC_SUFFIXES = frozenset({".warc", ".wet"})
HTML_SUFFIXES = frozenset({".html", ".htm", ".xhtml"})
EPUB_SUFFIXES = frozenset({".epub"})
PDF_SUFFIXES = frozenset({".pdf"})
XML_SUFFIXES = frozenset({".xml"})
WEB_SUFFIXES = WARC_SUFFIXES | HTML_SUFFIXES
TABLE_SUFFIXES = JSONL_SUFFIXES | PARQUET_SUFFIXES | ARROW_SUFFIXES | CSV_SUFFIXES
BOOK_SUFFIXES = EPUB_SUFFIXES | PDF_SUFFIXES
KNOWN_SUFFIXES = (
    TABLE_SUFFIXES | WEB_SUFFIXES | XML_SUFFIXES | BOOK_SUFFIXES | PROSE_SUFFIXES | CODE_SUFFIXES
)
KNOWN = (
    ".jsonl, .csv, .parquet, .arrow, .warc, .wet, .html, .epub, .pdf, .xml (of a dump), .txt, .md, "
    ".rst, .py and other text or code, plain, .gz, .bz2, .xz or .zst"
)


def is_known(name: str, form: Format) -> bool:
    """A file of this name can be read, if files are what the setting says."""
    suffix = plain_suffix(name)
    if form == "auto":
        return suffix in KNOWN_SUFFIXES
    if form == "reddit":  # RC_2019-01.zst has no suffix but that of its packing
        packed = PurePosixPath(name.lower()).suffix in COMPRESSION_SUFFIXES
        return suffix in JSONL_SUFFIXES or (packed and suffix not in KNOWN_SUFFIXES)
    return suffix in (PROSE_SUFFIXES if form == "gutenberg" else XML_SUFFIXES)
