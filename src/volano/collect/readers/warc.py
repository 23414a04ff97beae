"""Web archives: pages of WARC files (their main text), and the plain text of WET files.

A record that cannot be read costs itself alone: reading goes on at the next one that begins
behind it. What is no page (requests, images, answers other than 200) is passed over and counted.
"""

import mmap
import os
import zlib
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from volano.collect.readers.fields import Cursor, Fields, PassedOver, Read
from volano.collect.readers.html import as_utf8, page_fields
from volano.core.jsonlines import Problem

if TYPE_CHECKING:
    from fastwarc.warc import WarcRecord

MAX_RECORD_BYTES = 1 << 25  # as stored and again as unpacked; no page is larger
HTML_TYPES = {"text/html", "application/xhtml+xml"}
PLAIN_TYPES = {"text/plain"}
OK = 200
MAX_TAIL_BYTES = 1 << 26  # of a last member that is unpacked once more
CHUNK_BYTES = 1 << 20
LONGER, EARLY = "longer than", "the file ends"
WRONG_LENGTH = (LONGER, EARLY)
CUT_OFF = "the file ends in the middle of a record"
MAX_HEADER_BYTES = 1 << 16
# Many crawlers undo chunks and compression but keep the headers that announce them.
Decoding = Literal["all", "content", "none"]
DECODINGS: tuple[Decoding, ...] = ("all", "content", "none")
# How a record begins: compressed, each is a member of its own; the mark stands in no record.
_BEGINNINGS = {".gz": b"\x1f\x8b\x08", ".zst": b"\x28\xb5\x2f\xfd"}
_PLAIN_BEGINNING = b"\nWARC/1."


@dataclass
class _Place:
    """Where reading stands: what records are called by, and where an iterator can begin again.

    Of a record inside a compressed member the parser says no more than how far it has unpacked,
    which may be where the next member begins. So a member counts as a beginning once the record
    behind its first one stands elsewhere.
    """

    start: int = 0  # by which records are called, with `count`
    count: int = 0
    begin: int | None = 0  # where to begin again; None behind the last record
    since: int = 0  # records that have been read from there on
    maybe: int | None = None
    damaged: bool = False  # the last stretch was
    anything: bool = False

    def advance(self, place: int, is_mark: bool) -> None:
        """One more record, which the parser says stands at `place`."""
        if self.maybe is not None and place != self.maybe:
            self.begin, self.since = self.maybe, 1
        self.maybe = None
        if place != self.start and is_mark:
            self.start, self.count, self.maybe = place, 0, place
        self.count += 1
        self.since += 1
        self.damaged = False

    def jump(self, begin: int | None) -> None:
        """Go on at another record, or nowhere."""
        self.start, self.count = begin or 0, 0
        self.begin, self.since, self.maybe = begin, 0, None


def read_warc(path: Path, name: str, text_field: str, cursor: Cursor) -> Read:
    """The pages of a file, in its order. A record is called by the file and the byte at which it
    begins, as indexes of web archives have it: crawl.warc.gz:35134. Where many are compressed as
    one, it is the byte at which they begin, and the number of the record: crawl.warc.gz:0.17."""
    at = _Place(*(cursor.state or ()))
    with path.open("rb") as stream:
        while at.begin is not None:
            for read in _until_broken(stream, path, at, name, text_field):
                cursor.state = list(astuple(at))
                yield read


def _until_broken(stream: BinaryIO, path: Path, at: _Place, name: str, text_field: str) -> Read:
    # What one iterator over the records gives; `at` is where the next one has to begin.
    mark = _BEGINNINGS.get(path.suffix, b"WARC/1.")
    begin, to_skip = at.begin or 0, at.since
    try:
        for record in _records(stream, begin):
            at.anything = True
            if to_skip:
                to_skip -= 1
                continue
            place = record.stream_pos
            at.advance(place, os.pread(stream.fileno(), len(mark), place) == mark)
            where = f"{name}:{at.start}" if at.count == 1 else f"{name}:{at.start}.{at.count}"
            maybe_cut = not record.content_length and path.suffix not in _BEGINNINGS
            if maybe_cut and _ends_within_header(stream, place):
                yield Problem(where, CUT_OFF, "")
                continue
            if not _is_wanted(record):
                continue
            try:
                read = _read(record, where, name, text_field, DECODINGS[0])
            except OSError:
                yield _read_again(path, at, where, name, text_field)
                return  # the iterator is spent with the record
            if isinstance(read, Problem) and read.reason.startswith(WRONG_LENGTH):
                # Its length is not to be believed: what it claims may be other records.
                at.jump(_next_beginning(stream, at.start + 1, path.suffix))
                yield read
                return
            yield read
        at.begin = None
        if not at.anything and path.stat().st_size:
            yield Problem(name, "no record of a web archive in it", "")
        elif path.suffix == ".gz" and _ends_within_member(stream, at.start):
            yield Problem(name, CUT_OFF, "")
    except OSError as failure:
        start, is_news = at.start, not at.damaged  # a stretch of damage is one problem
        at.jump(_next_beginning(stream, start + 1, path.suffix))
        at.damaged = at.anything = True
        if is_news:
            yield Problem(f"{name}:{start}", f"damaged from here on ({failure})", "")


def _ends_within_header(stream: BinaryIO, start: int) -> bool:
    # Where the file ends within the header of a record, the parser takes what there is for all.
    header = os.pread(stream.fileno(), MAX_HEADER_BYTES, start)
    whole = b"\r\n\r\n" in header or b"\n\n" in header
    return not whole and len(header) < MAX_HEADER_BYTES


def _ends_within_member(stream: BinaryIO, start: int) -> bool:
    # The parser says nothing of a last member that is cut off before its record has a header.
    if stream.seek(0, os.SEEK_END) - start > MAX_TAIL_BYTES:
        return False
    stream.seek(start)
    rest = stream.read()
    while rest.strip(b"\0"):  # what some tools pad with
        member = zlib.decompressobj(wbits=31)
        try:
            came = True
            while not member.eof and (came or rest):
                came = bool(member.decompress(rest, CHUNK_BYTES))
                rest = member.unconsumed_tail or member.unused_data
        except zlib.error:
            return False  # damaged, which has been told
        if not member.eof:
            return True
    return False


def _read_again(
    path: Path, at: _Place, where: str, name: str, text_field: str
) -> Fields | Problem | PassedOver:
    # A failed attempt has spent the record. Raises OSError if no decoding makes sense of it.
    with path.open("rb") as stream:
        for decoding in DECODINGS[1:]:
            for number, record in enumerate(_records(stream, at.begin or 0), start=1):
                if number < at.since:
                    continue
                try:
                    return _read(record, where, name, text_field, decoding)
                except OSError:
                    if decoding == DECODINGS[-1]:
                        raise
                    break
    raise OSError("it can be found no second time")


def _records(stream: BinaryIO, offset: int) -> "Iterator[WarcRecord]":
    from fastwarc.warc import ArchiveIterator

    stream.seek(offset)
    yield from ArchiveIterator(stream, parse_http=False)


def _is_wanted(record: "WarcRecord") -> bool:
    from fastwarc.warc import WarcRecordType

    wanted = (WarcRecordType.response, WarcRecordType.resource, WarcRecordType.conversion)
    return record.record_type in wanted


def _read(
    record: "WarcRecord", where: str, name: str, text_field: str, decoding: Decoding
) -> Fields | Problem | PassedOver:
    from fastwarc.warc import WarcRecordType

    if record.content_length > MAX_RECORD_BYTES:
        return Problem(where, f"{LONGER} {MAX_RECORD_BYTES:,} bytes", "")
    promised = record.content_length
    record.freeze()
    if record.content_length < promised:
        missing = promised - record.content_length
        return Problem(where, f"{EARLY} {missing:,} bytes early", "")
    kind = record.headers.get("Content-Type", "") or ""
    charset = None
    if record.record_type == WarcRecordType.response:
        if not record.is_http:
            return PassedOver("answers that are not HTTP")
        record.parse_http(auto_decode=decoding)
        status = record.http_headers.status_code if record.http_headers else None
        if status != OK:
            return PassedOver(f"answers of status {status}")
        kind, charset = record.http_content_type or "", record.http_charset
    kind = kind.partition(";")[0].strip().lower()
    if kind not in HTML_TYPES | PLAIN_TYPES:
        return PassedOver(f"records of type {kind or 'unknown'}")
    content = record.reader.read(MAX_RECORD_BYTES + 1)
    if len(content) > MAX_RECORD_BYTES:
        return Problem(where, f"unpacks to more than {MAX_RECORD_BYTES:,} bytes", "")
    stated = _stated(record)
    if kind in HTML_TYPES:
        return page_fields(content, charset, where, name, text_field, stated)
    text = as_utf8(content, charset).decode("utf-8", "replace").replace("\0", "")
    if not text.strip():
        return PassedOver("empty records")
    return Fields(where, name, {text_field: text, **stated})


def _stated(record: "WarcRecord") -> dict[str, Any]:
    headers = record.headers
    found = {
        "id": (record.record_id or "").strip("<>"),
        "url": (headers.get("WARC-Target-URI", "") or "").strip("<>"),
        "crawled": headers.get("WARC-Date", ""),
        "identified_language": headers.get("WARC-Identified-Content-Language", ""),
    }
    return {name: value for name, value in found.items() if value}


def _next_beginning(stream: BinaryIO, begin: int, suffix: str) -> int | None:
    mark = _BEGINNINGS.get(suffix, _PLAIN_BEGINNING)
    with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found = content.find(mark, begin)
    if found < 0:
        return None
    return found + 1 if mark == _PLAIN_BEGINNING else found
