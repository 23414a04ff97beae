"""Users' JSONL files, plain or compressed, read line by line: a bad line is named, not fatal."""

import bz2
import glob
import gzip
import json
import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from volano.core.corpus import QUARANTINE_SCHEMA
from volano.core.errors import DataError
from volano.core.files import file_digest
from volano.core.half_character import half_character
from volano.core.recipe import require_file
from volano.core.records import Message
from volano.core.step import Entry, Listing

R = TypeVar("R")
ROLES = ("system", "user", "assistant")
EXCERPT_CHARACTERS = 200
CHUNK_BYTES = 1 << 16
ZSTD_BITE_BYTES = 1 << 12
MAX_ZSTD_WINDOW_BYTES = 1 << 31  # as `zstd --long=31` packs; taken only where a file asks for it
MAX_LINE_BYTES = 1 << 26  # four times the longest text; a file without line breaks may be longer
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class BadLine(ValueError):
    """Why one line is no record; the text goes into the quarantine."""


@dataclass(frozen=True)
class Problem:
    """One line that could not be read."""

    where: str
    reason: str
    excerpt: str


def list_files(patterns: Sequence[str]) -> Listing:
    """The files that paths and globs name, with their digests. Raises DataError if one has none."""
    entries = []
    for pattern in patterns:
        matches = sorted(glob.glob(pattern, recursive=True)) or [pattern]
        for path in (require_file(Path(match)) for match in matches):
            entries.append(Entry(path.name, path, path.stat().st_size, file_digest(path)))
    return Listing(tuple(entries))


def read_records(
    paths: Sequence[Path], record_of: Callable[[dict[str, Any], str], R]
) -> tuple[list[R], list[Problem]]:
    """The records of all lines, and the lines that are none.

    `record_of` takes a line's object and where it stands, and raises BadLine with the reason where
    it is no record. A truncated file is one problem; what came before it counts. Raises DataError
    where not one line was good.
    """
    records: list[R] = []
    problems: list[Problem] = []
    for path in paths:
        for where, line in read_lines(path, path.name):
            try:
                if isinstance(line, BadLine):
                    raise line
                records.append(record_of(json_object(line), where))
            except BadLine as failure:
                excerpt = line.decode("utf-8", "replace") if isinstance(line, bytes) else ""
                problems.append(Problem(where, str(failure), excerpt[:EXCERPT_CHARACTERS]))
    if not records:
        where = ", ".join(path.name for path in paths)
        reason = f"no line is a record (first: {problems[0].reason})" if problems else "empty"
        raise DataError(reason, where, "Give one JSON object per line.")
    return records, problems


def messages_of(value: object) -> tuple[Message, ...]:
    """The messages of a JSON value. Raises BadLine where it is no list of role and content."""
    if not isinstance(value, list) or not value:
        raise BadLine("no list of messages, each with role and content")
    messages = []
    for place, turn in enumerate(value):
        if not isinstance(turn, dict) or turn.get("role") not in ROLES:
            raise BadLine(f"message {place}: role is none of {', '.join(ROLES)}")
        if not isinstance(turn.get("content"), str):
            raise BadLine(f"message {place}: content is not text")
        messages.append(Message(turn["role"], turn["content"]))
    return tuple(messages)


def quarantine_table(problems: Sequence[Problem]) -> pa.Table:
    """The problems as a corpus keeps them."""
    rows = [{"where": p.where, "reason": p.reason, "excerpt": p.excerpt} for p in problems]
    return pa.Table.from_pylist(rows, schema=QUARANTINE_SCHEMA)


@dataclass
class LinePlace:
    """How far a file has been read: lines, and bytes of what it unpacks to."""

    lines: int = 0
    offset: int = 0


def read_lines(
    path: Path, name: str, place: LinePlace | None = None
) -> Iterator[tuple[str, bytes | BadLine]]:
    """`name:number` and the bytes of each line that is not blank; only "\\n" ends a line.

    A file that stops short, and a line above MAX_LINE_BYTES, are a BadLine in their place. Reading
    begins at `place`, which is behind each line when it is given.
    """
    place = place or LinePlace()
    parts: list[bytes] = []
    size = 0
    try:
        for chunk in read_chunks(path, place.offset):
            first, *others = chunk.split(b"\n")
            # A line is joined once it has ended: joining at every chunk is quadratic in its length.
            parts.append(first)
            size += len(first)
            for other in others:
                place.lines += 1
                place.offset += size + 1
                yield from _line(f"{name}:{place.lines}", parts, size)
                parts, size = [other], len(other)
            if size > MAX_LINE_BYTES:
                parts = []
    except EOFError as failure:
        yield f"{name}:{place.lines + 1}", BadLine(f"truncated or damaged file ({failure})")
        return
    place.lines += 1
    place.offset += size
    yield from _line(f"{name}:{place.lines}", parts, size)


def _line(where: str, parts: list[bytes], size: int) -> Iterator[tuple[str, bytes | BadLine]]:
    if size > MAX_LINE_BYTES:
        yield where, BadLine(f"longer than {MAX_LINE_BYTES:,} bytes")
        return
    line = b"".join(parts)
    parts.clear()  # or a long line would be in memory twice
    if line.strip():
        yield where, line.removeprefix(BYTE_ORDER_MARK) if where.endswith(":1") else line


def read_chunks(path: Path, skip: int = 0) -> Iterator[bytes]:
    """The file's bytes, decompressed as its suffix says (.gz, .bz2, .xz, .zst), from byte `skip` of
    what it unpacks to; EOFError where a compressed file stops short or is damaged."""
    try:
        yield from _chunks(path, skip)
    except (zlib.error, lzma.LZMAError) as failure:
        raise EOFError(str(failure)) from None
    except OSError as failure:
        if failure.errno is not None:
            raise
        raise EOFError(str(failure)) from None  # how gzip and bz2 say that the data are damaged


def _chunks(path: Path, skip: int) -> Iterator[bytes]:
    opening = _OPENINGS.get(path.suffix)
    with opening(path) if opening else path.open("rb") as stream:
        if path.suffix in {".zst", ".zstd"}:
            # Small bites, because one packed byte may hold thousands.
            bites = iter(lambda: stream.read(ZSTD_BITE_BYTES), b"")
            yield from _behind(_unpacked_zstd(bites), skip)
            return
        # read would lose all that it has gathered of a chunk in which the file stops short
        chunks = iter(lambda: stream.read1(CHUNK_BYTES), b"")
        if opening:
            yield from _behind(chunks, skip)
        else:
            stream.seek(skip)
            yield from chunks


def _behind(chunks: Iterator[bytes], skip: int) -> Iterator[bytes]:
    # What is packed can only be unpacked from its beginning.
    for chunk in chunks:
        if skip < len(chunk):
            yield chunk[skip:]
        skip = max(0, skip - len(chunk))


_OPENINGS: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}


def _unpacked_zstd(packed: Iterator[bytes]) -> Iterator[bytes]:
    import zstandard

    # stream_reader would take a truncated file for a short one; only the object knows its end.
    frame = None
    for chunk in packed:
        while chunk:
            frame = (
                frame
                or zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW_BYTES).decompressobj()
            )
            try:
                yield frame.decompress(chunk)
            except zstandard.ZstdError as failure:
                raise EOFError(str(failure)) from None
            chunk = frame.unused_data if frame.eof else b""
            frame = None if frame.eof else frame
    if frame is not None:
        raise EOFError("the last frame has no end")


def json_object(line: bytes) -> dict[str, Any]:
    """The object on one line of JSON. Raises BadLine where it is none."""
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as failure:
        raise BadLine(f"not UTF-8 at byte {failure.start}") from None
    except (ValueError, RecursionError) as failure:
        raise BadLine(f"not JSON ({failure})") from None
    if b"\\ud" in line.lower() and half_character(value) is not None:
        raise BadLine("an escape such as \\ud800 is half a character")
    if not isinstance(value, dict):
        raise BadLine(f"a JSON {type(value).__name__} instead of an object")
    return value
