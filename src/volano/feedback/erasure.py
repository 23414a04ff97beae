"""Erasing what a person said, or one request, and leaving a line that says so.

A follow-up that quotes an erased exchange goes with it: among its messages stand that exchange's
prompt and answer, one after the other, as a chat sends them again with every question. So does
whatever quotes the follow-up. A quote is known by its words alone, whoever is named as its asker.

The line has a time, how many, and the ids of the erased events; of the person or the request only
the SHA-256. An id in it is never taken again, so that an old log does not undo the wish.
"""

import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal, TypeAlias, TypeVar, cast

from sqlalchemy import Connection, delete, insert, or_, select

from volano.core.deletion import Deletion
from volano.core.errors import DataError
from volano.feedback.schema import consents, erased, events, exchanges
from volano.feedback.schema import deletions as deletions_table

V = TypeVar("V")
Quote: TypeAlias = tuple[str, str]  # a prompt and its answer
CHUNK_ROWS = 500
REQUEST, FOLLOW_UP = "request", "follow_up"  # why an exchange went: asked for, or it quotes one


def erase(
    connection: Connection, by: Literal["person", "request"], subject: str, time: str, where: str
) -> Deletion:
    """Erase inside the caller's transaction. Raises DataError where there is nothing to erase."""
    mine = exchanges.c.who == subject if by == "person" else exchanges.c.request_id == subject
    # Locked first (PostgreSQL): nobody adds an event to an exchange that is about to go.
    asked = connection.execute(_QUOTABLE.where(mine).with_for_update()).all()
    gone = {row.request_id: REQUEST for row in asked}
    gone |= dict.fromkeys(_follow_ups(connection, asked), FOLLOW_UP)
    gone_events = _events_on(connection, gone)
    if by == "person":
        own = select(events.c.id).where(events.c.who == subject)
        gone_events |= set(connection.execute(own).scalars())
    for ids in _chunks(sorted(gone_events)):
        connection.execute(delete(events).where(events.c.id.in_(ids)))
    for ids in _chunks(sorted(gone)):
        connection.execute(delete(exchanges).where(exchanges.c.request_id.in_(ids)))
    agreed = 0
    if by == "person":
        agreed = connection.execute(delete(consents).where(consents.c.who == subject)).rowcount
    if not gone and not gone_events and not agreed:
        raise DataError(f"no feedback of {by} '{subject}'", where, "See `volano feedback list`.")
    found = Deletion(
        id=uuid.uuid4().hex,
        time=time,
        by=by,
        subject_sha256=sha256(subject),
        exchanges=len(gone),
        events=tuple(sorted(gone_events)),
        follow_ups=len(gone) - len(asked),
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
    keys = [("event", each) for each in found.events]
    keys += [(why, sha256(each)) for each, why in sorted(gone.items())]
    if keys:
        connection.execute(
            insert(erased),
            [{"kind": kind, "key": key, "deletion_id": found.id} for kind, key in keys],
        )
    return found


_QUOTABLE = select(exchanges.c.request_id, exchanges.c.messages, exchanges.c.answer)


def _follow_ups(connection: Connection, asked: Sequence[Any]) -> set[str]:
    """The requests that quote one of these exchanges, or one that does."""
    gone = {row.request_id for row in asked}
    quotable = {_quotable(row) for row in asked}
    # A row without an answer in its messages quotes nothing, and need not be read.
    query = _QUOTABLE.where(exchanges.c.messages.contains('"role": "assistant"', autoescape=True))
    found: set[str] = set()
    while quotable:
        fresh: list[Any] = []
        rows = connection.execute(query.execution_options(yield_per=CHUNK_ROWS))
        for row in rows:
            if row.request_id not in gone and not quotable.isdisjoint(_quotes(row)):
                fresh.append(row)
                gone.add(row.request_id)
        found |= {row.request_id for row in fresh}
        quotable = {_quotable(row) for row in fresh}
    for ids in _chunks(sorted(found)):
        connection.execute(_QUOTABLE.where(exchanges.c.request_id.in_(ids)).with_for_update()).all()
    return found


def _quotable(row: Any) -> Quote:
    return json.loads(row.messages)[-1]["content"].strip(), row.answer.strip()


def _quotes(row: Any) -> Iterator[Quote]:
    # Stripped: clients cut the blanks around an answer before they send it again.
    for prompt, answer in pairwise(json.loads(row.messages)):
        if answer["role"] == "assistant":
            yield prompt["content"].strip(), answer["content"].strip()


def _events_on(connection: Connection, requests: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for ids in _chunks(sorted(requests)):
        on_them = or_(events.c.request_id.in_(ids), events.c.other_request_id.in_(ids))
        found |= set(connection.execute(select(events.c.id).where(on_them)).scalars())
    return found


def deletions(connection: Connection) -> list[Deletion]:
    """Every deletion, oldest first."""
    taken: dict[str, list[str]] = {}
    follow_ups: dict[str, int] = {}
    query = select(erased.c.deletion_id, erased.c.kind, erased.c.key)
    query = query.where(erased.c.kind.in_(["event", FOLLOW_UP]))
    for row in connection.execute(query.order_by(erased.c.key)):
        if row.kind == FOLLOW_UP:
            follow_ups[row.deletion_id] = follow_ups.get(row.deletion_id, 0) + 1
        else:
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
            follow_ups=follow_ups.get(row.id, 0),
        )
        for row in connection.execute(select(table).order_by(table.c.time, table.c.id))
    ]


def erased_among(
    connection: Connection, request_ids: Iterable[str], event_ids: Iterable[str]
) -> str | None:
    """One of the ids that was erased, if any was."""
    named = {("event", each): each for each in event_ids}
    for each in request_ids:
        named |= {(why, sha256(each)): each for why in (REQUEST, FOLLOW_UP)}
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


def _chunks(values: list[V]) -> Iterator[list[V]]:
    for start in range(0, len(values), CHUNK_ROWS):
        yield values[start : start + CHUNK_ROWS]
