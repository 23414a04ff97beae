"""What leaves the database for people and other programs: personal data only if asked for by name.

One line per exchange, with its events; `logs` reads it back.
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from volano.core.feedback import Event, Exchange
from volano.feedback.database import Database
from volano.feedback.redaction import Redaction, pseudonym
from volano.feedback.selection import Selection

# Never a place for a text: made by programs, read by programs.
IDS = ("id", "request_id", "other_request_id", "shown_first", "time", "kind")


def export_lines(
    database: Database, selection: Selection, *, raw: bool = False
) -> Iterator[dict[str, Any]]:
    """The selected exchanges. Unless `raw`, personal data is redacted and people are hashed."""
    for exchange, events in database.exchanges(selection):
        yield {
            **told(exchange, raw=raw),
            "events": [told(event, raw=raw) for event in events],
        }


def told(what: Exchange | Event, *, raw: bool = False) -> dict[str, Any]:
    """An exchange or an event as JSON, without what is not set."""
    values = {name: each for name, each in asdict(what).items() if each is not None}
    if raw:
        return values
    redaction = Redaction()
    shown = {name: each if name in IDS else redaction.value(each) for name, each in values.items()}
    if "who" in values:
        shown["who"] = pseudonym(values["who"])
    return shown
