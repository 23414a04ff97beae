"""From a URL to a live database: SQLite that loses nothing, PostgreSQL, and what goes wrong.

What is acknowledged is on disk: SQLite writes ahead and syncs at every commit; PostgreSQL does so
by itself, unless its administrator has turned that off, which a connection of ours turns back on.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from volano.core.errors import DataError, MissingExtra, RunFailed, StoreError, VolanoError
from volano.core.feedback import DATABASE_FILE
from volano.core.files import explained
from volano.core.recipe import require_file

BUSY_SECONDS = 5.0  # a writer waits this long for another one
POOL_CONNECTIONS, MORE_CONNECTIONS = 8, 32  # above the 40 threads of a server's pool in all
WRITES = "volano_writes"  # execution option of a transaction that will write
_AGAIN = "Try again: nothing was written."
_LOCKED = f"locked by another program for more than {BUSY_SECONDS:g} s"
NO_FEEDBACK = (
    "Serve a model and rate its answers (volano serve @production), or import logs "
    "(volano feedback import)."
)
FORMS = "Name a file, sqlite:///FILE or postgresql://USER@HOST/DATABASE."


class DatabaseUnavailable(RunFailed):
    """Locked, gone, full or out of reach: nothing was written, and it may work later."""


class NoFeedback(DataError):
    """Nobody has said anything of this store's models so far."""


def read_url(url: str) -> URL:
    """The URL of a database; without `://` it is a SQLite file. Raises DataError for others."""
    if "://" not in url:
        if not url:
            raise DataError("no database named", "database_url", FORMS)
        return URL.create("sqlite", database=os.path.abspath(url))
    try:
        read = make_url(url)
    except (ArgumentError, ValueError):
        raise DataError("not a database URL", "database_url", FORMS) from None
    backend = read.drivername.partition("+")[0]
    if backend == "sqlite":
        if not read.database or read.database == ":memory:":
            what = "a database in memory is gone when the process ends"
            raise DataError(what, shown(read), FORMS)
        return URL.create("sqlite", database=os.path.abspath(read.database))
    if backend in {"postgresql", "postgres"}:
        return read.set(drivername="postgresql+psycopg")
    raise DataError(f"cannot keep feedback in '{backend}'", shown(read), FORMS)


def shown(url: URL) -> str:
    """The URL for people: a file's path, or the URL without its password."""
    if url.drivername == "sqlite":
        return str(url.database)
    return url.set(drivername="postgresql").render_as_string(hide_password=True)


def connect(url: URL, *, create: bool = True) -> Engine:
    """An engine for the URL. Nothing is opened yet, but a SQLite file is made where none is, if
    `create`; otherwise DataError, and NoFeedback where a store has none."""
    if url.drivername == "sqlite":
        if not create:
            _require_feedback(Path(str(url.database)))
        return _sqlite(Path(str(url.database)))
    if find_spec("psycopg") is None:
        remedy = "Run `pip install 'volano[postgresql]'`."
        raise MissingExtra("psycopg is not installed", shown(url), remedy)
    engine = create_engine(
        url,
        pool_pre_ping=True,  # a restarted server is met with a new connection, not an error
        pool_size=POOL_CONNECTIONS,
        max_overflow=MORE_CONNECTIONS,
        connect_args={"connect_timeout": 10},
    )
    event.listen(engine, "connect", _commit_to_disk)
    return engine


def _require_feedback(path: Path) -> None:
    if path.name == DATABASE_FILE and not path.exists():
        raise NoFeedback("no feedback there yet", str(path), NO_FEEDBACK)
    require_file(path)


def file_mark(path: Path) -> tuple[int, int] | None:
    """Which file lies at the path: a deleted one would take writes that nobody finds again."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _sqlite(path: Path) -> Engine:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.touch(mode=0o600)  # what people wrote is for the operator's eyes
    except OSError as problem:
        raise explained(problem, path) from None

    def open_file() -> sqlite3.Connection:
        # mode=rw: SQLite itself never makes the file, or one that is gone would come back empty.
        return sqlite3.connect(
            f"file:{quote(str(path))}?mode=rw",
            uri=True,
            timeout=BUSY_SECONDS,
            check_same_thread=False,
            isolation_level=None,  # BEGIN is ours
        )

    engine = create_engine(
        "sqlite://",
        creator=open_file,
        poolclass=QueuePool,
        pool_size=POOL_CONNECTIONS,
        max_overflow=MORE_CONNECTIONS,
    )
    event.listen(engine, "connect", _durable)
    event.listen(engine, "begin", _begin)
    return engine


def _durable(connection: Any, _: Any) -> None:
    for pragma in (
        "journal_mode = wal",
        "synchronous = full",  # in WAL mode `normal` may lose the last commits when power fails
        "foreign_keys = on",
        "secure_delete = on",  # what is erased is overwritten
    ):
        connection.execute(f"pragma {pragma}")


def _begin(connection: Any) -> None:
    # IMMEDIATE takes the write lock at once; a read that turns into a write may not wait for it.
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("begin immediate" if writes else "begin")


def _commit_to_disk(connection: Any, _: Any) -> None:
    connection.execute(
        "select set_config('synchronous_commit', 'on', false) "
        "where current_setting('synchronous_commit') = 'off'"
    )
    connection.commit()


@contextmanager
def queued(writer: threading.Lock, where: str) -> Iterator[None]:
    """Be the one writer of this process. Raises DatabaseUnavailable where the others take too long:
    each may wait for SQLite's lock as well, and their waits would add up."""
    if not writer.acquire(timeout=BUSY_SECONDS):
        raise DatabaseUnavailable(_LOCKED, where, _AGAIN)
    try:
        yield
    finally:
        writer.release()


def cut_log(engine: Engine, *, wait: bool) -> str | None:
    """Fold SQLite's log of recent writes into its file and cut it; until then, what was erased may
    stand in both. Returns what was in the way, and fails never: the erasing itself is done."""
    try:
        with closing(engine.raw_connection()) as connection:
            cursor = connection.cursor()
            usual = BUSY_SECONDS * 1000
            cursor.execute(f"pragma busy_timeout = {usual if wait else 0:.0f}")
            try:
                busy, _, _ = cursor.execute("pragma wal_checkpoint(truncate)").fetchone()
            finally:
                cursor.execute(f"pragma busy_timeout = {usual:.0f}")
            return "somebody is reading or writing" if busy else None
    except (sqlite3.Error, SQLAlchemyError) as problem:
        return str(problem).partition("\n")[0]


@contextmanager
def explain_failures(where: str) -> Iterator[None]:
    """Turn what a database says into one line of ours."""
    try:
        yield
    except IntegrityError:  # of a race between writers: the caller looks again
        raise
    except PoolTimeout:
        failure: VolanoError = DatabaseUnavailable(
            "too many writers wait for the database", where, _AGAIN
        )
    except DBAPIError as problem:
        failure = _explained(problem, where)
    except SQLAlchemyError as problem:
        said = str(problem).partition("\n")[0]
        failure = DatabaseUnavailable(said, where, _AGAIN)
    else:
        return
    raise failure from None


def _explained(problem: DBAPIError, where: str) -> VolanoError:
    said = str(problem.orig).strip().partition("\n")[0]
    for words, kind, what, remedy in _MEANINGS:
        if any(word in said for word in words):
            return kind(what, where, remedy)
    return DatabaseUnavailable(said, where, _AGAIN)


_MEANINGS: tuple[tuple[tuple[str, ...], type[VolanoError], str, str], ...] = (
    (
        ("database is locked", "table is locked", "database is busy"),
        DatabaseUnavailable,
        _LOCKED,
        _AGAIN,
    ),
    (
        ("readonly database", "read-only transaction"),
        StoreError,
        "not writable",
        "Mend its permissions, or name another database with --database-url.",
    ),
    (
        ("unable to open database file",),
        DatabaseUnavailable,
        "cannot be opened",
        "Bring the file back, or mend its permissions.",
    ),
    (
        ("disk is full", "No space left"),
        DatabaseUnavailable,
        "disk full",
        "Free some space: nothing was written.",
    ),
    (
        ("file is not a database", "malformed", "file is encrypted"),
        StoreError,
        "no SQLite database, or a damaged one",
        "Name another file, or bring back a backup.",
    ),
    (
        ("connection failed", "connection refused", "could not", "closed the connection"),
        DatabaseUnavailable,
        "the database server does not answer",
        "Check that it runs and that the URL is right: nothing was written.",
    ),
)
