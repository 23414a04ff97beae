"""JSON Lines, plain or compressed: one object a line, ended by "\\n" alone."""

from pathlib import Path

from volano.collect.readers.fields import Cursor, Fields, Read
from volano.core.jsonlines import (
    EXCERPT_CHARACTERS,
    BadLine,
    LinePlace,
    Problem,
    json_object,
    read_lines,
)


def read_jsonl(path: Path, name: str, cursor: Cursor) -> Read:
    """The records of a file; a line that is none is a problem, and reading goes on."""
    place = LinePlace(*(cursor.state or ()))
    for where, line in read_lines(path, name, place):
        cursor.state = [place.lines, place.offset]
        if isinstance(line, BadLine):
            yield Problem(where, str(line), "")
            continue
        try:
            yield Fields(where, name, json_object(line))
        except BadLine as problem:
            excerpt = line[:EXCERPT_CHARACTERS].decode("utf-8", "replace")
            yield Problem(where, str(problem), excerpt)
