"""What leaves the database for people and other programs: personal data only if asked for by name.

One line per exchange, with its events; `logs` reads it back.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from volano.core.feedback import NO_CONSENT, TRAINING, Event, Exchange
from volano.feedback.database import Database
from volano.feedback.redaction import Redaction, pseudonym
from volano.feedback.selection import Selection

# Never a place for a text: made by programs, read by programs.
IDS = ("id", "request_id", "other_request_id", "shown_first", "time", "kind")


def export_lines(
    database: Database, selection: Selection, *, raw: bool = False
) -> Iterator[dict[str, Any]]:
    """The selected exchanges. Unless `raw`, personal data is redacted and people are hashed.

    Who has taken consent back since stands there without it: an export knows no later word.
    """
    said = database.consents()
    for exchange, events in database.exchanges(selection):
        yield {
            **in_force(told(exchange, raw=raw), exchange, said),
            "events": [in_force(told(event, raw=raw), event, said) for event in events],
        }


def in_force(
    values: dict[str, Any], what: Exchange | Event, said: Mapping[str, str]
) -> dict[str, Any]:
    """The values with `none` for consent where this person took it back; `said`: what each person
    said last."""
    taken_back = what.who is not None and said.get(what.who, TRAINING) != TRAINING
    return values | {"consent": NO_CONSENT} if taken_back else values


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
