import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from said import TIME, event, exchange, following
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from volano.core.errors import DataError, MissingExtra, StoreError
from volano.core.records import Message
from volano.feedback import connection
from volano.feedback import database as database_module
from volano.feedback.connection import DatabaseUnavailable
from volano.feedback.database import (
    Added,
    Database,
    ErasedId,
    OtherQuestion,
    TakenId,
    UnknownRequest,
)
from volano.feedback.selection import Selection


@pytest.fixture
def path(tmp_path):
    return tmp_path / "feedback.sqlite"


def test_what_is_kept_comes_back_equal_after_reopening(url):
    asked = exchange(
        settings={"seed": 1}, ended=False, who="w", consent="training", prompt="😀 <b>é"
    )
    asked = replace(asked, messages=asked.messages * 2)
    said = event(comment="so-so", shown_first="r1", who="w", consent="none")
    first = Database.open(url)
    assert first.add([asked], [said]) == Added(1, 1)
    first.close()
    second = Database.open(url)
    assert second.exchange("r1") == asked
    assert list(second.exchanges()) == [(asked, [said])]
    assert list(second.events()) == [(said, asked, None)]
    assert second.exchange("r2") is None
    second.close()


def test_what_no_database_keeps_is_replaced_and_the_rest_of_the_text_stays(database):
    database.add([exchange(answer="a\0b \\u0000", prompt="x\ud800y\0")], [event(comment="\0")])
    (found, (said,)), *_ = database.exchanges()
    assert found.answer == "a\ufffdb \\u0000"
    assert found.messages[0].content == "x\ufffdy\ufffd"
    assert said.comment == "\ufffd"


def test_the_same_again_adds_nothing_and_other_content_under_its_id_is_refused(database):
    database.add([exchange()], [event()])
    later = "2027-01-01T00:00:00+00:00"
    again = [exchange(time=later, source="copy.jsonl")], [event(time=later)]
    assert database.add(*again) == Added(0, 0)
    with pytest.raises(TakenId, match="request_id 'r1' stands for something else"):
        database.record([exchange(answer="5")])
    with pytest.raises(TakenId, match="id 'e1' stands for something else"):
        database.add_event(event(helpful=5))
    assert list(database.events()) == [(event(), exchange(), None)]


def test_an_event_on_an_unknown_request_is_refused_and_nothing_of_its_call_is_kept(database):
    with pytest.raises(UnknownRequest, match="no request 'r2'"):
        database.add([exchange()], [event(), event("e2", "r2")])
    with pytest.raises(UnknownRequest, match="no request 'r9'"):
        database.add([exchange()], [event(kind="choice", choice="tie", other_request_id="r9")])
    assert list(database.exchanges()) == []


def test_a_comparison_of_answers_to_two_questions_is_refused_and_nothing_is_kept(database):
    asked = [exchange(), exchange("r2", answer="five"), exchange("r3", prompt="France?")]
    good = event("e1", kind="choice", choice="tie", other_request_id="r2")
    with pytest.raises(OtherQuestion, match="'r1' and 'r3' do not answer the same messages"):
        database.add(asked, [good, replace(good, id="e2", other_request_id="r3")])
    assert list(database.exchanges()) == []
    follow_up = following(asked[0], "r4", prompt="2 + 2?")  # the same last words, after others
    with pytest.raises(OtherQuestion):
        database.add([*asked, follow_up], [replace(good, other_request_id="r4")])
    assert database.add(asked, [good]) == Added(3, 1)


@pytest.mark.parametrize(
    "statement", ["update exchanges set answer = '5'", "update events set helpful = 1"]
)
def test_no_row_can_be_changed_even_from_outside(database, statement):
    database.add([exchange()], [event()])
    with (
        pytest.raises(DBAPIError, match="append-only"),
        database._engine.connect() as connection,
        connection.begin(),
    ):
        connection.execute(text(statement))
    assert list(database.events()) == [(event(), exchange(), None)]


def test_threads_lose_nothing_and_the_same_event_from_many_is_kept_once(database):
    database.record([exchange()])
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: database.add_event(event(f"e{n}")), range(100)))
        added = list(pool.map(lambda _: database.add((), [event("same")]), range(32)))
    assert len(list(database.events())) == 101
    assert sum(each.events for each in added) >= 1  # at least one says that it was the one


def test_what_a_person_said_last_of_consent_counts(database):
    assert database.consent_of("w") is None
    for consent in ("training", "none"):
        database.set_consent("w", consent)
        database.set_consent("v", "training")
    assert database.consent_of("w") == "none"
    assert database.consents() == {"w": "none", "v": "training"}
    assert database.consents(["v", "u"]) == {"v": "training"}


def test_selections_choose_by_each_of_their_parts(database):
    late = "2026-06-01T00:00:00.000+00:00"
    other = exchange("r2", checkpoint="checkpoint/b_1", source="log.jsonl", time=late, who="w")
    said = [
        event("e1", who="v"),
        event("e2", "r2", "thumb", thumb="up", who="w", time=late, source="api"),
    ]
    database.add([exchange(), other], said)

    def ids(**values):
        selection = Selection(**values)
        return (
            [each.id for each, _, _ in database.events(selection)],
            [each.request_id for each, _ in database.exchanges(selection)],
        )

    assert ids() == (["e1", "e2"], ["r1", "r2"])
    assert ids(who="w") == (["e2"], ["r2"])
    assert ids(who="v") == (["e1"], ["r1"])
    assert ids(request_id="r2") == (["e2"], ["r2"])
    assert ids(kind="thumb") == (["e2"], ["r2"])
    assert ids(checkpoint="checkpoint/b_") == (["e2"], ["r2"])
    assert ids(checkpoint="checkpoint/b%") == ([], [])  # no pattern, the start of a name
    assert ids(since="2026-06-01") == (["e2"], ["r2"])
    assert ids(until="2026-06-01T02:00:00+02:00") == (["e1"], ["r1"])
    assert ids(sources=("log.jsonl",)) == ([], ["r2"])
    with pytest.raises(DataError, match="Did you mean 'rating'"):
        Selection(kind="ratings")
    with pytest.raises(DataError, match="'yesterday' is no time in ISO 8601"):
        Selection(since="yesterday")


def test_thousands_of_rows_are_added_and_read_in_order(database):
    asked = [exchange(f"r{n:04}") for n in range(1201)]
    said = [event(f"e{n:04}", f"r{n:04}") for n in range(1201)]
    assert database.add(asked, said) == Added(1201, 1201)
    assert [each.id for each, _, _ in database.events()] == [each.id for each in said]


def test_erasing_a_person_takes_all_that_is_theirs_and_leaves_no_name(database):
    mine = exchange("r1", who="ann", answer="4, dear Ann")
    other = exchange("r2", who="ben")
    said = [
        event("e1", "r1", who="ben"),  # on an exchange of hers
        event("e2", "r2", who="ann", comment="by Ann"),
        event("e3", "r2", who="ben"),
        event("e4", "r2", "choice", choice="tie", other_request_id="r1", who="ben"),
    ]
    database.add([mine, other], said)
    database.set_consent("ann", "training")
    deletion = database.erase_person("ann")
    assert (deletion.exchanges, deletion.events) == (1, ("e1", "e2", "e4"))
    assert list(database.exchanges()) == [(other, [said[2]])]
    assert database.consents() == {}
    assert database.deletions() == [deletion]
    assert "ann" not in repr(deletion)
    for table in ("exchanges", "events", "consents", "deletions", "erased"):
        with database._engine.connect() as connection:
            rows = connection.execute(text(f"select * from {table}")).all()
        assert "ann" not in repr(rows).lower()


def test_erasing_a_request_takes_its_events_and_its_id_does_not_come_back(database):
    database.add([exchange(), exchange("r2")], [event(), event("e2", "r2")])
    assert database.erase_request("r1").events == ("e1",)
    assert [each.id for each, _, _ in database.events()] == ["e2"]
    for asked, said in (([exchange()], ()), ((), [event()]), ((), [event("e1", "r2")])):
        with pytest.raises(ErasedId, match="erased at somebody's wish"):
            database.add(asked, said)
    with pytest.raises(DataError, match="no feedback of request 'r1'"):
        database.erase_request("r1")
    assert len(database.deletions()) == 1


def test_what_quotes_an_erased_exchange_is_erased_with_it_and_does_not_come_back(database):
    first = exchange("r1", prompt="My secret is gout", answer=" Sorry to hear it. ")
    second = following(first, "r2", answer="Rest.")
    third = following(second, "r3", prompt="how long?", answer="A week.")
    # An application that sends only the last turns: it quotes the second exchange alone.
    cut = replace(
        third, request_id="r4", messages=(Message("system", "Be kind."), *second_half(third))
    )
    stripped = replace(second, request_id="r5", messages=stripped_of(second))
    same_question = exchange("r6", prompt="My secret is gout", answer="Tell me more.")
    other = following(exchange("r7", answer="4"), "r8")
    kept = [same_question, exchange("r7", answer="4"), other]
    said = [event("e1", "r4"), event("e2", "r8"), event("e3", "r2")]
    database.add([first, second, third, cut, stripped, *kept], said)
    deletion = database.erase_request("r1")
    assert (deletion.exchanges, deletion.follow_ups, deletion.events) == (5, 4, ("e1", "e3"))
    assert [each.request_id for each, _ in database.exchanges()] == ["r6", "r7", "r8"]
    assert database.deletions() == [deletion]
    for asked, said in (([cut], ()), ((), [event("e9", "r3")]), ((), [event("e3", "r8")])):
        with pytest.raises(ErasedId, match="erased at somebody's wish"):
            database.add(asked, said)


def second_half(exchange):
    return exchange.messages[2:]


def stripped_of(exchange):
    return tuple(Message(each.role, each.content.strip()) for each in exchange.messages)


def test_a_person_is_erased_from_follow_ups_that_name_nobody(database):
    first = exchange("r1", prompt="I am Ann", who="ann")
    second = following(first, "r2")
    database.add([first, second, exchange("r3", who="ben")], [event("e1", "r2", who="ben")])
    deletion = database.erase_person("ann")
    assert (deletion.exchanges, deletion.follow_ups, deletion.events) == (2, 1, ("e1",))
    assert [each.request_id for each, _ in database.exchanges()] == ["r3"]


def test_more_follow_ups_than_a_statement_takes_values_are_erased(database):
    first = exchange("r1", who="ann")
    asked = [following(first, f"f{n:04}", prompt=str(n)) for n in range(1201)]
    database.add(
        [first, *asked], [event(f"e{n:04}", each.request_id) for n, each in enumerate(asked)]
    )
    deletion = database.erase_request("r1")
    assert (deletion.exchanges, deletion.follow_ups, len(deletion.events)) == (1202, 1201, 1201)
    assert list(database.exchanges()) == []


def test_what_is_erased_while_events_are_read_is_left_out_or_whole(url, monkeypatch):
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.05)
    monkeypatch.setattr(database_module, "CHUNK_ROWS", 1)
    database, other = Database.open(url), Database.open(url)
    asked = [exchange(f"r{n}") for n in range(5)]
    said = [event(f"e{n}", f"r{n}") for n in range(4)]
    said.append(event("e4", "r3", "choice", choice="tie", other_request_id="r4"))
    database.add(asked, said)
    reading = database.events()
    assert next(reading) == (said[0], asked[0], None)
    other.erase_request("r2")
    other.erase_request("r4")
    rest = [(said[1], asked[1], None), (said[3], asked[3], None)]
    # A reader of SQLite sees the database as it was; one of PostgreSQL sees rows go.
    whole = [rest[0], (said[2], asked[2], None), rest[1], (said[4], asked[3], asked[4])]
    assert list(reading) == (rest if "postgresql" in url else whole)
    assert list(database.events()) == [(said[0], asked[0], None), *rest]
    database.close()
    other.close()


def test_an_exchange_erased_while_an_event_on_it_arrives_takes_the_event_along(
    postgresql_url, monkeypatch
):
    database, other = Database.open(postgresql_url), Database.open(postgresql_url)
    database.record([exchange()])
    look, looks = database._refuse_unknown, []

    def look_and_lose(*found):
        look(*found)
        looks.append(None)
        if len(looks) == 1:
            other.erase_request("r1")

    monkeypatch.setattr(database, "_refuse_unknown", look_and_lose)
    with pytest.raises(ErasedId):
        database.add_event(event())
    assert len(looks) == 1
    assert list(other.events()) == []
    database.close()
    other.close()


def test_an_erased_text_is_in_no_byte_of_the_sqlite_files(sqlite_database, tmp_path):
    secret = "zebra-crossing " * 3000  # longer than a page
    sqlite_database.add([exchange(who="w", answer=secret)], [event(who="w", edit=secret)])
    sqlite_database.record([exchange("r2", answer="penguin")])
    assert holding(tmp_path, "zebra-crossing") != []
    sqlite_database.erase_person("w")
    assert holding(tmp_path, "zebra-crossing") == []
    assert holding(tmp_path, "penguin") != []


def holding(folder, word):
    files = folder.glob("feedback.sqlite*")
    return [path.name for path in files if word.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    "next_step",
    [
        lambda database: database.record([exchange("r3")]),
        lambda database: database.erase_request("r2"),
        lambda database: database.close(),
    ],
    ids=["write", "erase", "close"],
)
def test_an_erased_text_that_a_reader_holds_fast_is_told_and_goes_with_the_next_step(
    sqlite_database, path, tmp_path, monkeypatch, capsys, next_step
):
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.05)
    secret = "zebra-crossing " * 3000
    sqlite_database.add([exchange(who="w", answer=secret), exchange("r2")], [])
    reader = sqlite3.connect(path, isolation_level=None)  # open to the end: no last one cleans up
    reader.execute("begin")
    reader.execute("select count(*) from exchanges").fetchone()
    sqlite_database.erase_person("w")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"volano: {path}: what was erased still stands in this file or its -wal")
    sqlite_database.record([exchange("r4")])  # held fast still; nobody waits, nor is told again
    assert holding(tmp_path, "zebra-crossing") != []
    reader.execute("commit")
    next_step(sqlite_database)
    assert holding(tmp_path, "zebra-crossing") == []
    assert capsys.readouterr().err == ""
    reader.close()


# ---- what goes wrong


def test_a_locked_database_says_so_keeps_nothing_and_takes_events_later(
    sqlite_database, path, monkeypatch
):
    sqlite_database.close()
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.05)
    database = Database.open(str(path))
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("begin immediate")
    with pytest.raises(DatabaseUnavailable, match="locked by another program"):
        database.record([exchange()])
    assert database.exchange("r1") is None  # reading goes on
    holder.execute("rollback")
    database.record([exchange()])
    assert database.exchange("r1") == exchange()
    database.close()
    holder.close()


def test_the_waits_of_many_writers_at_a_locked_database_do_not_add_up(
    sqlite_database, path, monkeypatch
):
    sqlite_database.close()
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.5)
    database = Database.open(str(path))
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("begin immediate")

    def refused_after(number):
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailable, match="locked by another program"):
            database.record([exchange(f"r{number}")])
        return time.monotonic() - began

    with ThreadPoolExecutor(16) as pool:
        waits = list(pool.map(refused_after, range(16)))
    assert max(waits) < 4 * 0.5  # 2, and room for a slow machine; one after the other it is 16
    holder.execute("rollback")
    database.record([exchange()])
    database.close()
    holder.close()


def test_a_database_that_is_gone_takes_nothing_until_it_is_back(sqlite_database, path, tmp_path):
    sqlite_database.record([exchange()])
    away = tmp_path / "away"
    away.mkdir()
    for each in list(tmp_path.glob("feedback.sqlite*")):
        each.rename(away / each.name)
    for action in (lambda: sqlite_database.record([exchange("r2")]), sqlite_database.deletions):
        with pytest.raises(DatabaseUnavailable, match="the database file is gone"):
            action()
    assert not path.exists()  # and no empty one has taken its place
    for each in list(away.iterdir()):
        each.rename(tmp_path / each.name)
    sqlite_database.record([exchange("r2")])
    assert [each.request_id for each, _ in sqlite_database.exchanges()] == ["r1", "r2"]


def test_another_file_in_its_place_is_used_from_then_on(sqlite_database, path, tmp_path):
    Database.open(str(tmp_path / "backup.sqlite")).close()
    sqlite_database.record([exchange()])
    for each in list(tmp_path.glob("feedback.sqlite*")):
        each.unlink()
    (tmp_path / "backup.sqlite").rename(path)
    sqlite_database.record([exchange("r2")])
    fresh = Database.open(str(path))
    assert [each.request_id for each, _ in fresh.exchanges()] == ["r2"]
    fresh.close()


def test_a_newer_schema_is_refused(database, url):
    with database._engine.connect() as connection, connection.begin():
        connection.execute(text("update feedback_schema set version = 99"))
    with pytest.raises(StoreError, match=r"newer Volano \(feedback schema 99, known: 1\)"):
        Database.open(url)


def test_a_database_of_another_program_is_left_alone(tmp_path):
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("create table events (a)")
    with pytest.raises(StoreError, match=r"tables of another program \(events\)"):
        Database.open(str(path))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "no database named"),
        ("mysql://u@h/d", "cannot keep feedback in 'mysql'"),
        ("sqlite://", "in memory is gone"),
        ("sqlite:///:memory:", "in memory is gone"),
        ("://", "not a database URL"),
    ],
)
def test_a_url_of_another_kind_is_refused_with_the_known_forms(url, message):
    with pytest.raises(DataError, match=message) as refused:
        Database.open(url)
    assert "postgresql://USER@HOST/DATABASE" in refused.value.remedy


def test_a_password_is_in_no_message():
    with pytest.raises(DatabaseUnavailable) as refused:
        Database.open("postgresql://u:hunter2@127.0.0.1:9/d")
    assert "hunter2" not in str(refused.value)
    assert "u:***@127.0.0.1:9/d" in str(refused.value)


def test_a_missing_driver_names_the_extra(monkeypatch):
    monkeypatch.setattr(connection, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'volano\[postgresql\]'"):
        Database.open("postgresql://u@h/d")


def test_a_file_that_is_no_database_is_named(path):
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="no SQLite database"):
        Database.open(str(path))


def test_an_absent_file_is_not_made_by_a_reader(path):
    with pytest.raises(DataError, match="no feedback there yet"):
        Database.open(str(path), create=False)
    assert not path.exists()


def test_a_time_that_is_none_is_refused(sqlite_database):
    with pytest.raises(DataError, match="'noon' is no time in ISO 8601"):
        sqlite_database.record([exchange(time="noon")])
    sqlite_database.record([exchange(time="2026-01-31T13:00:00+01:00")])
    assert sqlite_database.exchange("r1").time == TIME


def test_a_server_is_told_at_once_that_nothing_could_be_kept(tmp_path):
    url = f"sqlite:///{tmp_path}/store/feedback.sqlite"
    (tmp_path / "store").mkdir()
    opened = Database.open(url)
    opened.add([exchange()], [])
    opened.require_writable()
    code = f"""
from volano.core.errors import StoreError
from volano.feedback.database import Database
try:
    Database.open({url!r}).require_writable()
except StoreError as problem:
    print(problem)
"""
    (tmp_path / "program.py").write_text(code)
    where = f"{tmp_path}/store"
    mounts = f"mount --bind {where} {where} && mount -o remount,bind,ro {where}"
    script = f"{mounts} || exit 77; exec {sys.executable} {tmp_path}/program.py"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, timeout=60
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("mounting is not allowed here")
    opened.close()  # until now its write-ahead log lay there, and reading was no problem
    assert "not writable" in done.stdout, done.stderr
    assert "feedback.sqlite" in done.stdout
