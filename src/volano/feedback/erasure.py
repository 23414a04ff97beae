"""Erasing what a person said, or one request, and leaving a line that says so.

The line has a time, how many, and the ids of the erased events; of the person or the request only
the SHA-256. An id in it is never taken again, so that an old log does not undo the wish.
"""

import hashlib
import uuid
from collections.abc import Iterable, Iterator
from typing import Literal, cast

from sqlalchemy import Connection, delete, insert, or_, select

from volano.core.deletion import Deletion
from volano.core.errors import DataError
from volano.feedback.schema import consents, erased, events, exchanges
from volano.feedback.schema import deletions as deletions_table

CHUNK_ROWS = 500


def erase(
    connection: Connection, by: Literal["person", "request"], subject: str, time: str, where: str
) -> Deletion:
    """Erase inside the caller's transaction. Raises DataError where there is nothing to erase."""
    mine = exchanges.c.who == subject if by == "person" else exchanges.c.request_id == subject
    # Locked first (PostgreSQL): nobody adds an event to an exchange that is about to go.
    requests = connection.execute(
        select(exchanges.c.request_id).where(mine).with_for_update()
    ).scalars()
    gone_requests = sorted(requests)
    on_mine = select(exchanges.c.request_id).where(mine)
    lost = or_(events.c.request_id.in_(on_mine), events.c.other_request_id.in_(on_mine))
    if by == "person":
        lost = or_(lost, events.c.who == subject)
    gone_events = sorted(connection.execute(select(events.c.id).where(lost)).scalars())
    agreed = 0
    connection.execute(delete(events).where(lost))
    connection.execute(delete(exchanges).where(mine))
    if by == "person":
        agreed = connection.execute(delete(consents).where(consents.c.who == subject)).rowcount
    if not gone_requests and not gone_events and not agreed:
        raise DataError(f"no feedback of {by} '{subject}'", where, "See `volano feedback list`.")
    found = Deletion(
        id=uuid.uuid4().hex,
        time=time,
        by=by,
        subject_sha256=sha256(subject),
        exchanges=len(gone_requests),
        events=tuple(gone_events),
    )
    connection.execute(
        insert(deletions_table).values(
            id=found.id,
            time=time,
            by=by,
            subject_sha256=found.subject_sha256,
            exchanges=found.exchanges,
            events=len(gone_events),
        )
    )
    keys = [("event", each) for each in gone_events]
    keys += [("request", sha256(each)) for each in gone_requests]
    if keys:
        connection.execute(
            insert(erased),
            [{"kind": kind, "key": key, "deletion_id": found.id} for kind, key in keys],
        )
    return found


def deletions(connection: Connection) -> list[Deletion]:
    """Every deletion, oldest first."""
    taken: dict[str, list[str]] = {}
    query = select(erased.c.deletion_id, erased.c.key).where(erased.c.kind == "event")
    for row in connection.execute(query.order_by(erased.c.key)):
        taken.setdefault(row.deletion_id, []).append(row.key)
    table = deletions_table
    return [
        Deletion(
            id=row.id,
            time=row.time,
            by=cast(Literal["person", "request"], row.by),
            subject_sha256=row.subject_sha256,
            exchanges=row.exchanges,
            events=tuple(taken.get(row.id, ())),
        )
        for row in connection.execute(select(table).order_by(table.c.time, table.c.id))
    ]


def erased_among(
    connection: Connection, request_ids: Iterable[str], event_ids: Iterable[str]
) -> str | None:
    """One of the ids that was erased, if any was."""
    named = {("event", each): each for each in event_ids}
    named |= {("request", sha256(each)): each for each in request_ids}
    for chunk in _chunks(list(named)):
        keys = [key for _, key in chunk]
        query = select(erased.c.kind, erased.c.key).where(erased.c.key.in_(keys))
        for row in connection.execute(query):
            if (row.kind, row.key) in named:
                return named[(row.kind, row.key)]
    return None


def sha256(text: str) -> str:
    """SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _chunks(values: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    for start in range(0, len(values), CHUNK_ROWS):
        yield values[start : start + CHUNK_ROWS]
