"""The feedback database: exchanges and events are added, and never changed.

A call that returns has its rows on disk. Every call is one transaction, and any thread may make it.
SQLite is the default and needs no server; PostgreSQL is asked for by its URL and does the same.
"""

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Table, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import IntegrityError

from volano.core.deletion import Deletion
from volano.core.errors import DataError
from volano.core.feedback import NO_CONSENT, TRAINING, Event, Exchange
from volano.feedback import erasure, rows, schema
from volano.feedback.connection import (
    WRITES,
    DatabaseUnavailable,
    connect,
    cut_log,
    explain_failures,
    file_mark,
    queued,
    read_url,
    shown,
)
from volano.feedback.events import BadField
from volano.feedback.redaction import pseudonym
from volano.feedback.selection import EVERYTHING, Selection

CHUNK_ROWS = 500  # SQLite takes a limited number of values in one statement


class UnknownRequest(DataError):
    """Feedback about a request that the database does not hold."""


class OtherQuestion(BadField):
    """A comparison with the answer to another question."""


class TakenId(DataError):
    """The id stands for something else already."""


class ErasedId(DataError):
    """What the id stood for was erased at somebody's wish, and does not come back."""


class Added(NamedTuple):
    """How many rows a call really added; the others were there, with the same content."""

    exchanges: int
    events: int


class Database:
    """Open one with `Database.open(url)`; it is a core.feedback.Recorder."""

    def __init__(self, engine: Engine, url: URL) -> None:
        self.where = shown(url)
        self._engine = engine
        self._path = Path(str(url.database)) if url.drivername == "sqlite" else None
        self._mark = file_mark(self._path) if self._path else None
        # SQLite has one writer: threads that queue here do not poll its lock.
        self._writer = threading.Lock() if self._path else None
        self._uncut = False  # what was erased still stands in SQLite's log

    @classmethod
    def open(cls, url: str, *, create: bool = True) -> "Database":
        """The database at a URL, or in a SQLite file; made where there is none, if `create`.

        Raises DataError for a URL that is none, MissingExtra without its driver, StoreError where
        it is not ours, not writable or newer, DatabaseUnavailable where it cannot be reached.
        """
        read = read_url(url)
        with explain_failures(shown(read)):
            database = cls(connect(read, create=create), read)
            database._prepare()
        return database

    def require_writable(self) -> None:
        """Raise StoreError where what is said could not be kept: better at once than per answer."""
        with explain_failures(self.where), self._transaction() as connection:
            if self._path is not None:  # SQLite takes the lock of a file that it cannot write
                version = connection.exec_driver_sql("pragma user_version").scalar_one()
                connection.exec_driver_sql(f"pragma user_version = {int(version)}")

    def close(self) -> None:
        """Let go of every connection."""
        if self._uncut:
            self._cut_log()
        self._engine.dispose()

    def record(self, exchanges: Sequence[Exchange]) -> None:
        """Keep the exchanges. Raises TakenId where a request id is taken by another exchange."""
        self.add(exchanges, ())

    def add_event(self, event: Event) -> None:
        """Keep one event. Raises UnknownRequest where its exchange is not in the database."""
        self.add((), [event])

    def add(self, exchanges: Sequence[Exchange], events: Sequence[Event]) -> Added:
        """Keep exchanges, and events on them or on earlier ones: all, or none.

        What is there with the same content, time and source apart, is no error and adds nothing.
        Raises UnknownRequest, OtherQuestion, TakenId, ErasedId, or DatabaseUnavailable.
        """
        asked = [rows.row_of_exchange(each) for each in exchanges]
        said = [rows.row_of_event(each) for each in events]
        for again in (True, False):
            try:
                with self._writing() as connection:
                    self._refuse_erased(connection, asked, said)
                    new_exchanges = self._insert(connection, schema.exchanges, "request_id", asked)
                    self._refuse_unknown(connection, said)
                    self._refuse_other_questions(connection, said)
                    return Added(new_exchanges, self._insert(connection, schema.events, "id", said))
            except IntegrityError:
                # PostgreSQL: the exchange was erased between our look and our insert; look again.
                if not again:
                    raise DatabaseUnavailable(
                        "other writers were in the way", self.where, "Try again."
                    ) from None
        raise AssertionError("unreachable")

    def exchange(self, request_id: str) -> Exchange | None:
        """The exchange of a request, if it is there."""
        with self._reading() as connection:
            found = connection.execute(
                select(schema.exchanges).where(schema.exchanges.c.request_id == request_id)
            ).first()
        return None if found is None else rows.exchange_of_row(found)

    def count(self, selection: Selection = EVERYTHING) -> int:
        """How many exchanges are selected."""
        query = select(func.count()).select_from(schema.exchanges)
        with self._reading() as connection:
            return int(connection.execute(query.where(*selection.of_exchanges())).scalar_one())

    def exchanges(
        self, selection: Selection = EVERYTHING
    ) -> Iterator[tuple[Exchange, list[Event]]]:
        """The selected exchanges, oldest first, each with its selected events, oldest first."""
        table, about = schema.exchanges, schema.events
        query = select(table).where(*selection.of_exchanges())
        with self._reading() as connection:
            for chunk in self._partitions(connection, query.order_by(table.c.time, table.c[0])):
                ids = [row.request_id for row in chunk]
                events: dict[str, list[Event]] = {each: [] for each in ids}
                for row in connection.execute(
                    select(about)
                    .where(about.c.request_id.in_(ids), *selection.of_attached_events())
                    .order_by(about.c.time, about.c.id)
                ):
                    events[row.request_id].append(rows.event_of_row(row))
                for row in chunk:
                    yield rows.exchange_of_row(row), events[row.request_id]

    def events(
        self, selection: Selection = EVERYTHING
    ) -> Iterator[tuple[Event, Exchange, Exchange | None]]:
        """The selected events, oldest first, each with its exchange and, of a comparison, the
        other one."""
        table, about = schema.events, schema.exchanges
        query = select(table).where(*selection.of_events())
        with self._reading() as connection:
            for chunk in self._partitions(connection, query.order_by(table.c.time, table.c.id)):
                ids = {each for row in chunk for each in (row.request_id, row.other_request_id)}
                ids.discard(None)
                found = connection.execute(select(about).where(about.c.request_id.in_(ids)))
                known = {row.request_id: rows.exchange_of_row(row) for row in found}
                for row in chunk:
                    judged = {row.request_id, row.other_request_id} - {None}
                    if judged <= known.keys():  # PostgreSQL: else erased since this reading began
                        other = known.get(row.other_request_id)
                        yield rows.event_of_row(row), known[row.request_id], other

    def set_consent(self, who: str, consent: str) -> None:
        """Write down what a person agrees to from now on; what they said last counts."""
        row = {"who": who, "consent": consent, "time": rows.now()}
        with self._writing() as connection:
            connection.execute(insert(schema.consents).values(rows.cleaned(row)))

    def consent_of(self, who: str) -> str | None:
        """What a person said last of consent; None where they never said."""
        return self.consents([who]).get(who)

    def consents(self, people: Sequence[str] | None = None) -> dict[str, str]:
        """What each person said last of consent, of those who ever said."""
        with self._reading() as connection:
            return _consents(connection, people)

    def person(self, name: str) -> str:
        """Who is called so in here: the first of `people`; the name itself where nobody is."""
        return next(iter(self.people(name)), name)

    def people(self, name: str) -> list[str]:
        """All who are called so in here, where the name may be the pseudonym that lists and exports
        show, and a person may be there by name and, from an export, by pseudonym."""
        known: set[str] = set()
        with self._reading() as connection:
            for table in (schema.exchanges, schema.events, schema.consents):
                found = connection.execute(select(table.c.who).distinct()).scalars()
                known.update(each for each in found if each is not None)
        if name in known:
            return [name, *(each for each in sorted(known - {name}) if _is(each, name))]
        return [each for each in sorted(known) if _is(each, name) or pseudonym(each) == name]

    def erase_person(self, who: str) -> Deletion:
        """Erase a person's exchanges and events, follow-ups that quote them (see erasure), and all
        events on those exchanges."""
        with self._writing(erases=True) as connection:
            return erasure.erase(connection, "person", who, rows.now(), self.where)

    def erase_request(self, request_id: str) -> Deletion:
        """Erase one exchange, follow-ups that quote it (see erasure), and all events on them, or
        that compare them."""
        with self._writing(erases=True) as connection:
            return erasure.erase(connection, "request", request_id, rows.now(), self.where)

    def deletions(self) -> list[Deletion]:
        """Every deletion, oldest first."""
        with self._reading() as connection:
            return erasure.deletions(connection)

    def _partitions(self, connection: Connection, query: Any) -> Iterator[Sequence[Any]]:
        # Above memory: a server-side cursor in PostgreSQL, rows on demand in SQLite.
        return connection.execute(query.execution_options(yield_per=CHUNK_ROWS)).partitions(
            CHUNK_ROWS
        )

    def _insert(
        self, connection: Connection, table: Table, key: str, asked: list[dict[str, Any]]
    ) -> int:
        dialect: Any = postgresql if self._path is None else sqlite
        column = table.c[key]
        added = 0
        for chunk in _chunks(asked):
            ids = {row[key] for row in chunk}
            before = connection.execute(select(column).where(column.in_(ids))).scalars().all()
            if len(before) < len(ids):
                # Another writer may be faster: then this does nothing, and the look below decides.
                connection.execute(dialect.insert(table).on_conflict_do_nothing(), chunk)
            stored = {
                row[key]: dict(row)
                for row in connection.execute(select(table).where(column.in_(ids))).mappings()
            }
            for row in chunk:
                kept = stored[row[key]]
                if row["consent"] == NO_CONSENT and _took_back(connection, row["who"]):
                    kept["consent"] = NO_CONSENT  # an export says so; nothing is changed by it
                if _content(kept) != _content(row):
                    what = f"{key} '{row[key]}' stands for something else"
                    raise TakenId(what, self.where, "Feedback is never changed: give a new id.")
            added += len(ids) - len(before)
        return added

    def _refuse_unknown(self, connection: Connection, said: list[dict[str, Any]]) -> None:
        column = schema.exchanges.c.request_id
        for chunk in _chunks(said):
            ids = {row[name] for row in chunk for name in ("request_id", "other_request_id")}
            ids.discard(None)
            known = connection.execute(select(column).where(column.in_(ids))).scalars().all()
            for missing in sorted(ids - set(known)):
                raise UnknownRequest(
                    f"no request '{missing}'",
                    "feedback",  # not where the database is: an application reads this
                    "Send its checkpoint, messages and answer along.",
                )

    def _refuse_other_questions(self, connection: Connection, said: list[dict[str, Any]]) -> None:
        column = schema.exchanges.c
        for chunk in _chunks([row for row in said if row["other_request_id"] is not None]):
            ids = {row[name] for row in chunk for name in ("request_id", "other_request_id")}
            query = select(column.request_id, column.messages).where(column.request_id.in_(ids))
            asked = {row.request_id: row.messages for row in connection.execute(query)}
            for row in chunk:
                both = row["request_id"], row["other_request_id"]
                # PostgreSQL: where one was erased just now the insert fails, and `add` looks again.
                if len({asked[each] for each in both if each in asked}) > 1:
                    raise OtherQuestion(
                        f"'{both[0]}' and '{both[1]}' do not answer the same messages",
                        "feedback",
                        "Compare two answers to one question.",
                        "other_request_id",
                    )

    def _refuse_erased(
        self, connection: Connection, asked: list[dict[str, Any]], said: list[dict[str, Any]]
    ) -> None:
        requests = {row["request_id"] for row in [*asked, *said]}
        requests |= {row["other_request_id"] for row in said if row["other_request_id"]}
        gone = erasure.erased_among(connection, requests, {row["id"] for row in said})
        if gone:
            raise ErasedId(
                f"'{gone}' was erased at somebody's wish", self.where, "It cannot be brought back."
            )

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with explain_failures(self.where):
            self._require_file()
            with self._engine.connect() as connection, connection.begin():
                yield connection

    @contextmanager
    def _writing(self, *, erases: bool = False) -> Iterator[Connection]:
        with explain_failures(self.where), self._queue():
            self._require_file()
            with self._transaction() as connection:
                yield connection
            if self._path is None:
                return
            if file_mark(self._path) != self._mark:
                # Our rows are in a file that was taken away meanwhile: nobody will ever read them.
                raise self._gone()
            if erases or self._uncut:
                self._cut_log(erases=erases)

    def _queue(self) -> AbstractContextManager[None]:
        return nullcontext() if self._writer is None else queued(self._writer, self.where)

    def _require_file(self) -> None:
        if self._path is None:
            return
        mark = file_mark(self._path)
        if mark is None:
            raise self._gone()
        if mark != self._mark:  # brought back from a backup: the old connections hold the old file
            self._engine.dispose()
            self._prepare()
            self._mark = mark

    def _prepare(self) -> None:
        with self._transaction() as connection:
            schema.prepare(connection, self.where)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        connection = self._engine.connect().execution_options(**{WRITES: True})
        with connection, connection.begin():
            yield connection

    def _gone(self) -> DatabaseUnavailable:
        remedy = "Bring it back: nothing was written."
        return DatabaseUnavailable("the database file is gone", self.where, remedy)

    def _cut_log(self, *, erases: bool = False) -> None:
        # Only an erasing waits for readers and speaks; every later write tries again in passing.
        in_the_way = cut_log(self._engine, wait=erases)
        self._uncut = in_the_way is not None
        if self._uncut and erases:
            print(
                f"volano: {self._path}: what was erased still stands in this file or its -wal "
                f"({in_the_way}). End what uses it: it goes with the next write, or when the last "
                "program closes the database.",
                file=sys.stderr,
                flush=True,
            )


def _consents(connection: Connection, people: Sequence[str] | None) -> dict[str, str]:
    table = schema.consents
    last = select(func.max(table.c.number)).group_by(table.c.who)
    if people is not None:
        last = last.where(table.c.who.in_(people))
    said = select(table.c.who, table.c.consent).where(table.c.number.in_(last))
    return {row.who: row.consent for row in connection.execute(said)}


def _took_back(connection: Connection, who: str | None) -> bool:
    return who is not None and _consents(connection, [who]).get(who, TRAINING) != TRAINING


def _is(who: str, name: str) -> bool:
    return pseudonym(who) == pseudonym(name)


def _chunks(values: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(values), CHUNK_ROWS):
        yield values[start : start + CHUNK_ROWS]


def _content(row: dict[str, Any]) -> dict[str, Any]:
    # The same judgement sent twice arrives at two times, or in a log of another name.
    return {name: value for name, value in row.items() if name not in {"time", "source"}}
