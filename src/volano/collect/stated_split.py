"""Whether anything can be held out of what a recipe collects, told before it is collected.

A fraction or a number of functions holds out; so does a record that states its own split. Whether
any does is looked up in the files, so that nobody waits for a corpus that will hold nothing out.
"""

import pyarrow as pa
import pyarrow.parquet as pq

from volano.collect.readers.text import plain_suffix
from volano.collect.section import CollectSection
from volano.collect.sources import list_sources
from volano.collect.suffixes import CSV_SUFFIXES, JSONL_SUFFIXES, PARQUET_SUFFIXES, TABLE_SUFFIXES
from volano.core.errors import DataError
from volano.core.jsonlines import read_chunks
from volano.core.step import Entry

FIELD = b"split"


def holds_out(settings: CollectSection) -> bool:
    """False where no document can come out as held out; True where one may.

    True as well where it takes collecting to know: of files that are elsewhere, damaged or missing.
    """
    if settings.source == "python_installation":
        return settings.held_out_functions > 0 and "function" in settings.kinds
    if settings.held_out_fraction > 0:
        return True
    try:
        return any(_may_state_split(each) for each in list_sources(settings).entries)
    except (DataError, OSError, EOFError, pa.ArrowException):
        return True  # collecting says what is wrong with them


def _may_state_split(entry: Entry) -> bool:
    suffix = plain_suffix(entry.key)
    if suffix not in TABLE_SUFFIXES:
        return False
    if entry.url is not None:
        return True
    if suffix in PARQUET_SUFFIXES:
        return FIELD.decode() in pq.read_schema(entry.path).names
    field = b'"%b"' % FIELD if suffix in JSONL_SUFFIXES else FIELD
    before = b""
    for chunk in read_chunks(entry.path):
        head, newline, _ = chunk.partition(b"\n") if suffix in CSV_SUFFIXES else (chunk, b"", b"")
        if field in before + head:
            return True
        if newline:  # the header is all that names columns
            return False
        before = chunk[-len(field) :]
    return False
