"""The tables of the feedback database, the same in SQLite and PostgreSQL.

    exchanges     a request and its answer            consents   what a person said last counts
    events        what somebody thought of it         deletions  when, by what, how many
    erased        which ids a deletion took: events in clear, so that lineage can find what was made
                  of them; requests, and follow-ups that quoted them, as SHA-256, so that an old log
                  does not bring them back
    feedback_schema   one row: the version

Rows are only ever added; triggers refuse to change one. A deletion takes rows out whole and leaves
neither a text nor a pseudonym. Lists and dicts are kept as JSON text.
"""

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    insert,
    inspect,
    select,
    text,
)

from volano.core.errors import StoreError

VERSION = 1
SETUP_LOCK = 7_664_616  # any number: two servers that start at once must not both make the tables

metadata = MetaData()
exchanges = Table(
    "exchanges",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("checkpoint", Text, nullable=False),
    Column("messages", Text, nullable=False),
    Column("answer", Text, nullable=False),
    Column("time", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("ended", Boolean),
    Column("who", Text),
    Column("consent", Text),
    Column("settings", Text, nullable=False),
    Index("exchanges_by_who", "who"),
    Index("exchanges_by_time", "time"),
)
events = Table(
    "events",
    metadata,
    Column("id", Text, primary_key=True),
    Column("request_id", Text, ForeignKey("exchanges.request_id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("time", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("helpful", SmallInteger),
    Column("harmless", SmallInteger),
    Column("honest", SmallInteger),
    Column("thumb", Text),
    Column("edit", Text),
    Column("choice", Text),
    Column("other_request_id", Text, ForeignKey("exchanges.request_id")),
    Column("shown_first", Text),
    Column("comment", Text),
    Column("who", Text),
    Column("consent", Text),
    Index("events_by_request", "request_id"),
    Index("events_by_other_request", "other_request_id"),
    Index("events_by_who", "who"),
    Index("events_by_time", "time"),
)
consents = Table(
    "consents",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("who", Text, nullable=False),
    Column("consent", Text, nullable=False),
    Column("time", Text, nullable=False),
    Index("consents_by_who", "who"),
)
deletions = Table(
    "deletions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("time", Text, nullable=False),
    Column("by", Text, nullable=False),  # person, request
    Column("subject_sha256", Text, nullable=False),
    Column("exchanges", Integer, nullable=False),
    Column("events", Integer, nullable=False),
)
erased = Table(
    "erased",
    metadata,
    Column("kind", Text, primary_key=True),  # event, request, follow_up
    Column("key", Text, primary_key=True),
    Column("deletion_id", Text, ForeignKey("deletions.id"), nullable=False),
)
schema_version = Table("feedback_schema", metadata, Column("version", Integer, nullable=False))

_NEVER_CHANGE = {
    "sqlite": (
        "create trigger {0}_never_change before update on {0} "
        "begin select raise(abort, 'feedback is append-only'); end",
    ),
    "postgresql": (
        "create or replace function volano_append_only() returns trigger language plpgsql as "
        "$$ begin raise exception 'feedback is append-only'; end $$",
        "create trigger {0}_never_change before update on {0} "
        "for each row execute function volano_append_only()",
    ),
}


def prepare(connection: Connection, where: str) -> None:
    """Make the tables where there are none. Raises StoreError where they are not ours or newer."""
    dialect = connection.dialect.name
    if dialect == "postgresql":
        connection.execute(text(f"select pg_advisory_xact_lock({SETUP_LOCK})"))
    present = set(inspect(connection).get_table_names())
    if schema_version.name in present:
        version = connection.execute(select(schema_version.c.version)).scalar()
        if version is None or version > VERSION:
            what = f"written by a newer Volano (feedback schema {version}, known: {VERSION})"
            raise StoreError(what, where, "Upgrade Volano to read it.")
        return
    foreign = sorted(present & set(metadata.tables))
    if foreign:
        what = f"holds tables of another program ({', '.join(foreign)})"
        raise StoreError(what, where, "Give feedback a database of its own.")
    metadata.create_all(connection)
    for table in (exchanges, events, consents, deletions, erased):
        for statement in _NEVER_CHANGE[dialect]:
            connection.exec_driver_sql(statement.format(table.name))
    connection.execute(insert(schema_version).values(version=VERSION))
