"""From the fields of a record that someone else wrote to a document, or to the reason why not."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from volano.collect.section import CollectSection
from volano.collect.splits import is_held_out
from volano.core.errors import did_you_mean
from volano.core.jsonlines import EXCERPT_CHARACTERS, BadLine, Problem
from volano.core.records import Document

SPLITS = {"train", "pool", "test"}
# The longest novel has 13 MB. Curation takes some 25 bytes of memory for each of a text, and a
# worker shall do with a gigabyte.
MAX_TEXT_BYTES = 1 << 24
TOO_LONG = f"longer than {MAX_TEXT_BYTES:,} bytes (split it)"
STATED = {"kind": "kind", "licence": "licence", "license": "licence", "url": "url", "date": "date"}


class Fields(NamedTuple):
    """One record as it was read: where it stands, its source file, and its fields by name."""

    where: str  # "crawl/a.jsonl:17"; the file alone, if all of it is one record
    source: str
    values: Mapping[str, Any]

    @property
    def default_id(self) -> str:
        """What it is called if it has no id of its own: "crawl/a.jsonl#17"."""
        return self.source + self.where[len(self.source) :].replace(":", "#")


class PassedOver(NamedTuple):
    """A record that is sound but no document, such as an image in a web archive. Counted by what
    it is."""

    what: str


Read = Iterator[Fields | Problem | PassedOver]


@dataclass
class Cursor:
    """How far a file has been read, so that a run that was killed goes on there.

    A reader begins behind `state` (None: at the beginning) and sets it before it gives a record, to
    the place behind that. What a state holds is the reader's own business; JSON can keep it.
    """

    state: Any = None


def counted(read: Read, cursor: Cursor) -> Read:
    """A reader that knows no place to go on at: it begins anew, and what was given is left out."""
    done = cursor.state or 0
    for number, each in enumerate(read, start=1):
        if number > done:
            cursor.state = number
            yield each


@dataclass(frozen=True)
class DocumentMaker:
    """Makes documents by the field names that the settings give."""

    text_field: str
    id_field: str
    held_out_fraction: float
    text_format: str = "plain"
    licence: str | None = None

    @classmethod
    def of(cls, settings: CollectSection) -> "DocumentMaker":
        """The maker for a recipe's settings."""
        return cls(
            settings.text_field,
            settings.id_field,
            settings.held_out_fraction,
            settings.text_format,
            settings.licence,
        )

    def document(self, fields: Fields) -> Document | Problem:
        """The document, or the problem that keeps it from being one.

        A field that has no place of its own in a document goes into its metadata.
        """
        values = fields.values
        try:
            text = checked_text(values, self.text_field)
        except BadLine as problem:
            begun = {name: _begun(value) for name, value in values.items()}
            excerpt = json.dumps(begun, ensure_ascii=True, default=str)
            return Problem(fields.where, str(problem), excerpt[:EXCERPT_CHARACTERS])
        split = values.get("split")
        if split not in SPLITS:
            split = "test" if is_held_out(text, self.held_out_fraction) else "train"
        identifier = values.get(self.id_field)
        has_id = isinstance(identifier, str | int) and not isinstance(identifier, bool)
        stated = {
            place: str(values[name])
            for name, place in STATED.items()
            if values.get(name) not in (None, "")
        }
        placed = {self.text_field, "split" if values.get("split") in SPLITS else "", *STATED}
        rest = {
            name: value
            for name, value in sorted(values.items())
            if name not in placed and not (name == self.id_field and has_id)
        }
        return Document(
            id=str(identifier) if has_id and str(identifier) else fields.default_id,
            text=text,
            source=fields.source,
            kind=stated.get("kind", "text"),
            split=str(split),
            licence=stated.get("licence", self.licence),
            path=fields.source,
            url=stated.get("url"),
            date=stated.get("date"),
            metadata=_as_json(rest),
        )


def checked_text(values: Mapping[str, Any], name: str) -> str:
    """The text in a record's field. Raises BadLine where there is none that can be learnt from."""
    if name not in values:
        known = list(values)
        raise BadLine(f"no field '{name}' ({did_you_mean(name, known)})" if known else "empty")
    text = values[name]
    if not isinstance(text, str):
        found = "null" if text is None else type(text).__name__
        raise BadLine(f"field '{name}' is {found}, not text")
    if not text.strip():
        raise BadLine("empty text")
    if 4 * len(text) > MAX_TEXT_BYTES and len(text.encode("utf-8", "replace")) > MAX_TEXT_BYTES:
        raise BadLine(TOO_LONG)
    if "\0" in text:
        raise BadLine(f"NUL at character {text.index(chr(0))}: binary, not text")
    return text


def _begun(value: Any) -> Any:
    return value[:EXCERPT_CHARACTERS] if isinstance(value, str) else value


def _as_json(values: Mapping[str, Any]) -> str:
    try:
        return json.dumps(values, ensure_ascii=False, default=str, allow_nan=False)
    except ValueError:
        # Python writes NaN, which no other reader of JSON takes.
        loose = json.dumps(values, ensure_ascii=False, default=str)
        return json.dumps(json.loads(loose, parse_constant=lambda _: None), ensure_ascii=False)
