"""Web archives: pages of WARC files (their main text), and the plain text of WET files.

A record that cannot be read costs itself alone: reading goes on at the next one that begins
behind it. What is no page (requests, images, answers other than 200) is passed over and counted.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from volano.collect.readers.fields import Fields, PassedOver, Read
from volano.collect.readers.html import as_utf8, page_fields
from volano.core.jsonlines import Problem

if TYPE_CHECKING:
    from fastwarc.warc import WarcRecord

MAX_RECORD_BYTES = 1 << 25  # as stored and again as unpacked; no page is larger
HTML_TYPES = {"text/html", "application/xhtml+xml"}
PLAIN_TYPES = {"text/plain"}
OK = 200
# Many crawlers undo chunks and compression but keep the headers that announce them.
Decoding = Literal["all", "content", "none"]
DECODINGS: tuple[Decoding, ...] = ("all", "content", "none")
# How a record begins: compressed, each is a member of its own; the mark stands in no record.
_BEGINNINGS = {".gz": b"\x1f\x8b\x08", ".zst": b"\x28\xb5\x2f\xfd"}
_PLAIN_BEGINNING = b"\r\n\r\nWARC/1."


def read_warc(path: Path, name: str, text_field: str) -> Read:
    """The pages of a file, in its order. A record is called by the file and the byte at which it
    begins, as indexes of web archives have it: crawl.warc.gz:35134."""
    offset: int | None = 0
    done = -1  # the beginning of the last record that was read
    damaged = False  # since then
    with path.open("rb") as stream:
        while offset is not None:
            try:
                for record in _records(stream, offset):
                    if record.stream_pos == done:
                        continue
                    offset = done = record.stream_pos
                    damaged = False
                    try:
                        read = _read(record, f"{name}:{done}", name, text_field, DECODINGS[0])
                    except OSError:
                        yield _read_again(path, done, name, text_field)
                        break  # the iterator is spent with the record
                    yield read
                else:
                    return
            except OSError as failure:
                if not damaged:  # a stretch of damage is one problem
                    yield Problem(f"{name}:{offset}", f"damaged from here on ({failure})", "")
                damaged = True
                offset, done = _next_beginning(stream, offset + 1, path.suffix), -1


def _read_again(
    path: Path, offset: int, name: str, text_field: str
) -> Fields | Problem | PassedOver:
    # A failed attempt has spent the record. Raises OSError if no decoding makes sense of it.
    with path.open("rb") as stream:
        for decoding in DECODINGS[1:]:
            for record in _records(stream, offset):
                try:
                    return _read(record, f"{name}:{offset}", name, text_field, decoding)
                except OSError:
                    if decoding == DECODINGS[-1]:
                        raise
                    break
    raise OSError("it can be found no second time")


def _records(stream: BinaryIO, offset: int) -> "Iterator[WarcRecord]":
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    stream.seek(offset)
    wanted = WarcRecordType.response | WarcRecordType.resource | WarcRecordType.conversion
    yield from ArchiveIterator(stream, record_types=wanted, parse_http=False)


def _read(
    record: "WarcRecord", where: str, name: str, text_field: str, decoding: Decoding
) -> Fields | Problem | PassedOver:
    from fastwarc.warc import WarcRecordType

    if record.content_length > MAX_RECORD_BYTES:
        return Problem(where, f"longer than {MAX_RECORD_BYTES:,} bytes", "")
    promised = record.content_length
    record.freeze()
    if record.content_length < promised:
        return Problem(where, f"the file ends {promised - record.content_length:,} bytes early", "")
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
    return found + len(mark) - len(b"WARC/1.") if mark == _PLAIN_BEGINNING else found
