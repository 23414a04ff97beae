"""The four records that flow through the wheel, and their Arrow schemas.

Every record says where it comes from (`source`, `licence`) and which documents it was made from
(`source_ids`), so that a checkpoint can be traced to single documents. Derived numbers never
stand here: they are attributes, beside the records (see corpus).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import pyarrow as pa

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.large_string())]))
_IDS = pa.list_(pa.string())
_ORIGIN: list[tuple[str, pa.DataType]] = [
    ("source", pa.string()),
    ("kind", pa.string()),
    ("split", pa.string()),
    ("licence", pa.string()),
    ("consent", pa.string()),
    ("cost_usd", pa.float64()),
    ("source_ids", _IDS),
    ("metadata", pa.string()),
]
DOCUMENT_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.large_string()),
        ("source", pa.string()),
        ("kind", pa.string()),
        ("split", pa.string()),
        ("licence", pa.string()),
        ("package", pa.string()),
        ("path", pa.string()),
        ("url", pa.string()),
        ("date", pa.string()),
        ("source_ids", _IDS),
        ("metadata", pa.string()),
    ]
)
CONVERSATION_SCHEMA = pa.schema([("id", pa.string()), ("messages", MESSAGES), *_ORIGIN])
PREFERENCE_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("prompt", MESSAGES),
        ("chosen", MESSAGES),
        ("rejected", MESSAGES),
        *_ORIGIN,
    ]
)
RATING_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("request_id", pa.string()),
        ("checkpoint", pa.string()),
        ("messages", MESSAGES),
        ("helpful", pa.int8()),
        ("harmless", pa.int8()),
        ("honest", pa.int8()),
        ("thumb", pa.string()),
        ("choice", pa.string()),
        ("edit", pa.large_string()),
        ("who", pa.string()),
        *_ORIGIN,
    ]
)


class Record:
    """What the four have in common: a schema, and a row form for Arrow."""

    schema: ClassVar[pa.Schema]

    def to_row(self) -> dict[str, Any]:
        """The record as Arrow reads it: messages as a list of role and content."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Self:
        """The record of one row of a table; columns it does not know are left out."""
        names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        return cls(**{name: _record_value(name, row[name]) for name in names if name in row})


@dataclass(frozen=True)
class Document(Record):
    """One text with its origin. `split` is train, pool (kept for later turns) or test."""

    id: str
    text: str
    source: str
    kind: str = "text"
    split: str = "train"
    licence: str | None = None
    package: str | None = None
    path: str | None = None
    url: str | None = None
    date: str | None = None
    source_ids: tuple[str, ...] = ()
    metadata: str = "{}"

    schema: ClassVar[pa.Schema] = DOCUMENT_SCHEMA


@dataclass(frozen=True)
class Message:
    """One turn: `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True)
class Conversation(Record):
    """Turns in the `messages` form that trl, datasets and OpenAI's interface share."""

    id: str
    messages: tuple[Message, ...]
    source: str
    kind: str = "conversation"
    split: str = "train"
    licence: str | None = None
    consent: str | None = None
    cost_usd: float | None = None
    source_ids: tuple[str, ...] = ()
    metadata: str = "{}"

    schema: ClassVar[pa.Schema] = CONVERSATION_SCHEMA

    @property
    def origins(self) -> tuple[str, ...]:
        """What a model has seen that learns it: the documents it was made of, or itself."""
        return self.source_ids or (self.id,)


@dataclass(frozen=True)
class Preference(Record):
    """Two continuations of one prompt, the better one named."""

    id: str
    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    source: str
    kind: str = "preference"
    split: str = "train"
    licence: str | None = None
    consent: str | None = None
    cost_usd: float | None = None
    source_ids: tuple[str, ...] = ()
    metadata: str = "{}"

    schema: ClassVar[pa.Schema] = PREFERENCE_SCHEMA

    @classmethod
    def reminder(cls, conversation: Conversation, name: str, source_ids: tuple[str, ...]) -> Self:
        """Of the last turn, twice: nothing is preferred, and what alignment has beside preferences
        (its likelihood term) keeps the turn as it was learnt."""
        return cls(
            id=name,
            prompt=conversation.messages[:-1],
            chosen=conversation.messages[-1:],
            rejected=conversation.messages[-1:],
            source=conversation.source,
            kind="reminder",
            licence=conversation.licence,
            consent=conversation.consent,
            source_ids=source_ids,
            metadata=conversation.metadata,
        )

    @property
    def origins(self) -> tuple[str, ...]:
        """What a model has seen that learns it: the documents it was made of, or itself."""
        return self.source_ids or (self.id,)


@dataclass(frozen=True)
class Rating(Record):
    """What one person thought of one answer: axes from 1 to 5, a thumb, a choice, an edit."""

    id: str
    request_id: str
    checkpoint: str
    messages: tuple[Message, ...]
    source: str
    helpful: int | None = None
    harmless: int | None = None
    honest: int | None = None
    thumb: str | None = None
    choice: str | None = None
    edit: str | None = None
    who: str | None = None
    kind: str = "rating"
    split: str = "train"
    licence: str | None = None
    consent: str | None = None
    cost_usd: float | None = None
    source_ids: tuple[str, ...] = ()
    metadata: str = "{}"

    schema: ClassVar[pa.Schema] = RATING_SCHEMA


RECORDS: dict[str, type[Record]] = {
    "document": Document,
    "conversation": Conversation,
    "preference": Preference,
    "rating": Rating,
}


def table_of(records: Sequence[Record], record: type[Record] | None = None) -> pa.Table:
    """The records as one table in their schema; `record` names the type of an empty sequence."""
    kind = record or type(records[0])
    return pa.Table.from_pylist([each.to_row() for each in records], schema=kind.schema)


def records_of(table: pa.Table, record: type[Record]) -> list[Any]:
    """The rows of a table as records of that type."""
    return [record.from_row(row) for row in table.to_pylist()]


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [
            {"role": part.role, "content": part.content} if isinstance(part, Message) else part
            for part in value
        ]
    return value


def _record_value(name: str, value: Any) -> Any:
    if name in {"messages", "prompt", "chosen", "rejected"}:
        return tuple(Message(turn["role"], turn["content"]) for turn in value or ())
    return tuple(value or ()) if name == "source_ids" else value
