"""Tables as text (.csv, .tsv): one record a row, its fields named by the first row.

Quotes are kept to strictly (RFC 4180): a field that opens one and never closes it would otherwise
swallow the rows behind it unnoticed. Errors cost the row in which they are noticed.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from volano.collect.readers.fields import Cursor, Fields, Read
from volano.core.half_character import SURROGATE
from volano.core.jsonlines import EXCERPT_CHARACTERS, Problem, read_chunks

MAX_FIELD_CHARACTERS = 1 << 25  # no text is longer; a quote that is never closed may be
DELIMITERS = ",;\t|"  # of a .csv: the one that its header has most of


class _LongLine(ValueError): ...


def read_csv(path: Path, name: str, cursor: Cursor) -> Read:
    """The rows of a file. A row is called by the line on which it begins: a.csv:17."""
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    lines = _Lines(path)
    header: list[str] = []
    delimiter = ","
    rows: Iterator[list[str]] = iter(())
    while True:
        where = f"{name}:{lines.number + 1}"
        try:
            if header and cursor.state and lines.number < cursor.state[0]:
                lines = _Lines(path, *cursor.state)  # the header has been read again; go on there
                rows = csv.reader(lines, delimiter=delimiter, strict=True)
                continue
            if not header:
                first = next(lines)
                delimiter = _delimiter(first, name)
                rows = csv.reader(lines, delimiter=delimiter, strict=True)
                header = next(csv.reader([first], delimiter=delimiter, strict=True))
                twice = {each for each in header if each and header.count(each) > 1}
                if any(SURROGATE.search(each) for each in header):
                    yield Problem(where, "the header is not UTF-8", _shown(first))
                    return
                if twice:
                    yield Problem(where, f"two columns are called '{min(twice)}'", _shown(first))
                    return
                continue
            row = next(rows)
            cursor.state = [lines.number, lines.offset]
        except StopIteration:
            return
        except EOFError as failure:
            yield Problem(where, f"truncated or damaged file ({failure})", "")
            return
        except (csv.Error, _LongLine) as failure:
            cursor.state = [lines.number, lines.offset] if header else None
            yield Problem(where, f"not CSV ({failure})", _shown(lines.last))
            if not header:
                return
            continue
        if not row:
            continue
        if len(row) != len(header):
            reason = f"the header has {len(header)} fields, the row {len(row)}"
            yield Problem(where, reason, _shown(lines.last))
        elif any(SURROGATE.search(field) for field in row):
            yield Problem(where, "not UTF-8", _shown(lines.last))
        else:
            named = {column: value for column, value in zip(header, row, strict=True) if column}
            yield Fields(where, name, named)


class _Lines:
    # The lines of a file with their ends, as csv.reader wants them; `last` is the one just read.
    # Bytes that are no UTF-8 become lone surrogates, so that they cost their own row alone.

    def __init__(self, path: Path, number: int = 0, offset: int = 0) -> None:
        self.number, self.offset, self.last = number, offset, ""
        self._lines = _byte_lines(path, offset)

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line, size = next(self._lines)
        self.number += 1
        self.offset += size
        if line is None:
            raise _LongLine(f"a line longer than {MAX_FIELD_CHARACTERS:,} bytes")
        self.last = line.decode("utf-8", "surrogateescape")
        if self.number == 1:
            self.last = self.last.removeprefix("\ufeff")
        return self.last


def _byte_lines(path: Path, offset: int) -> Iterator[tuple[bytes | None, int]]:
    # Each line, None if it is too long, and how many bytes it has.
    parts: list[bytes] = []
    size = 0
    for chunk in read_chunks(path, offset):
        *ended, rest = chunk.split(b"\n")
        for line in ended:
            size += len(line)
            whole = None if size > MAX_FIELD_CHARACTERS else b"".join([*parts, line, b"\n"])
            yield whole, size + 1
            parts, size = [], 0
        size += len(rest)
        parts = [*parts, rest] if size <= MAX_FIELD_CHARACTERS else []
    if size:
        yield None if size > MAX_FIELD_CHARACTERS else b"".join(parts), size


def _delimiter(header: str, name: str) -> str:
    if ".tsv" in name.lower():
        return "\t"
    return max(DELIMITERS, key=header.count)  # the first of equals, so a comma where there is none


def _shown(line: str) -> str:
    return line[:EXCERPT_CHARACTERS].encode("utf-8", "replace").decode()
