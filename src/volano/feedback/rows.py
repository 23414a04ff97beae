"""Exchanges and events as rows of the database, and back."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

from volano.core.errors import DataError
from volano.core.feedback import Event, Exchange
from volano.core.records import Message

# PostgreSQL keeps no NUL in a text, and half of a character is valid in neither database.
_UNKEEPABLE = re.compile("[\x00\ud800-\udfff]")
REPLACEMENT = "\ufffd"


def now() -> str:
    """This moment in UTC, as the database has it."""
    return _written(datetime.now(UTC))


def utc_time(text: str, where: str) -> str:
    """A time in ISO 8601 as the database has it, so that texts sort as times do. Without a zone it
    is UTC. Raises DataError where it is none."""
    try:
        read = datetime.fromisoformat(text)
        return _written(read if read.tzinfo else read.replace(tzinfo=UTC))
    except (ValueError, TypeError, OverflowError):  # the last: beyond year 1 or 9999 in UTC
        remedy = "Write it as 2026-01-31 or 2026-01-31T12:00:00+00:00."
        raise DataError(f"'{text}' is no time in ISO 8601", where, remedy) from None


def row_of_exchange(exchange: Exchange) -> dict[str, Any]:
    """The row of an exchange. Raises DataError where its time is none."""
    row = asdict(exchange)
    row["messages"] = _json([asdict(turn) for turn in exchange.messages])
    row["settings"] = _json(dict(exchange.settings))
    row["time"] = utc_time(exchange.time, f"exchange {exchange.request_id}")
    return cleaned(row)


def exchange_of_row(row: Any) -> Exchange:
    """The exchange of a row."""
    values = row._asdict()
    messages = tuple(Message(**turn) for turn in json.loads(values["messages"]))
    return Exchange(**{**values, "messages": messages, "settings": json.loads(values["settings"])})


def row_of_event(event: Event) -> dict[str, Any]:
    """The row of an event. Raises DataError where its time is none."""
    row = asdict(event)
    row["time"] = utc_time(event.time, f"event {event.id}")
    return cleaned(row)


def event_of_row(row: Any) -> Event:
    """The event of a row."""
    values: Mapping[str, Any] = row._asdict()
    return Event(**{field.name: values[field.name] for field in fields(Event)})


def cleaned(row: dict[str, Any]) -> dict[str, Any]:
    """The row with U+FFFD for what no database keeps."""
    return {name: _keepable(value) for name, value in row.items()}


def _keepable(value: Any) -> Any:
    if isinstance(value, str):
        return _UNKEEPABLE.sub(REPLACEMENT, value)
    if isinstance(value, dict):
        return {_keepable(key): _keepable(each) for key, each in value.items()}
    return [_keepable(each) for each in value] if isinstance(value, list | tuple) else value


def _written(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds")


def _json(value: Any) -> str:
    return json.dumps(_keepable(value), ensure_ascii=False, sort_keys=True)
