"""Which lines of a redacted export the database holds already, in the words before the redaction.

An id alone does not tell: what stands under it has to come out as the line does, time and source
apart, once it is redacted in the same way.
"""

from collections.abc import Sequence
from typing import Any

from volano.core.feedback import Event, Exchange
from volano.feedback.database import Database
from volano.feedback.export import in_force, told
from volano.feedback.redaction import MARK, pseudonym
from volano.feedback.rows import cleaned
from volano.feedback.selection import Selection


def not_redacted(
    database: Database, exchange: Exchange | None, events: Sequence[Event]
) -> tuple[Exchange | None, tuple[Event, ...]]:
    """Of an exchange and events on one request, what the database does not hold unredacted."""
    request_id = exchange.request_id if exchange is not None else events[0].request_id
    shown, said = [], database.consents()
    for stored, about in database.exchanges(Selection(request_id=request_id)):
        judged: list[Exchange | Event] = [stored, *about]
        for each in judged:
            # As it was exported before and after its person took their consent back.
            shown += [_content(told(each)), _content(in_force(told(each), each, said))]
    asked = None if exchange is None or _as_exported(exchange) in shown else exchange
    return asked, tuple(each for each in events if _as_exported(each) not in shown)


def _as_exported(what: Exchange | Event) -> dict[str, Any]:
    values = told(what, raw=True)
    if values.get("who", "").startswith(MARK):
        values["who"] = pseudonym(values["who"])
    return _content(values)


def _content(values: dict[str, Any]) -> dict[str, Any]:
    # Cleaned, because that makes lists of tuples, as redaction does.
    return cleaned({name: each for name, each in values.items() if name not in {"time", "source"}})
