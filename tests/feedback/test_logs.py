import gzip
import json

import pytest
import zstandard
from said import event, exchange

from volano.core.errors import DataError
from volano.core.feedback import Exchange
from volano.core.records import Message
from volano.feedback.database import Database
from volano.feedback.export import export_lines
from volano.feedback.logs import import_logs
from volano.feedback.ratings import consenting
from volano.feedback.selection import EVERYTHING, Selection

PAIR = {
    "request": {
        "model": "gpt",
        "user": "user-7",
        "temperature": 0.5,
        "messages": [
            {"role": "developer", "content": "be kind"},
            {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        ],
    },
    "response": {
        "id": "chatcmpl-1",
        "model": "gpt-x",
        "created": 1_700_000_000,
        "choices": [{"message": {"role": "assistant", "content": "yo"}, "finish_reason": "length"}],
    },
    "rating": 2,
    "consent": "training",
}
FLAT = {
    "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
    "model": "m",
    "edit": "b",
}


def write(path, *lines):
    text = "".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in lines)
    path.write_text(text)
    return str(path)


def test_a_request_with_its_response_becomes_an_exchange_and_its_rating_an_event(
    database, tmp_path
):
    result = import_logs(database, [write(tmp_path / "log.jsonl", PAIR)])
    assert (result.exchanges, result.events, result.problems) == (1, 1, [])
    ((asked, (said,)),) = database.exchanges()
    assert asked == Exchange(
        "chatcmpl-1",
        "gpt-x",
        (Message("system", "be kind"), Message("user", "hi")),
        "yo",
        "2023-11-14T22:13:20.000+00:00",
        "log.jsonl",
        ended=False,
        who="user-7",
        consent="training",
        settings={"temperature": 0.5},
    )
    assert (said.kind, said.helpful, said.who, said.consent) == ("rating", 2, "user-7", "training")


def test_the_last_message_of_a_flat_line_is_the_answer(database, tmp_path):
    import_logs(database, [write(tmp_path / "log.jsonl", FLAT, {**FLAT, "edit": None, "id": "x"})])
    found = {asked.request_id: (asked, said) for asked, said in database.exchanges()}
    asked, said = found.pop("x")
    assert (asked.messages, asked.answer, said) == ((Message("user", "q"),), "a", [])
    ((asked, said),) = found.values()
    assert (asked.checkpoint, said[0].kind, said[0].edit) == ("m", "edit", "b")


@pytest.mark.parametrize(
    ("thumb", "read"), [("up", "up"), (-1, "down"), (True, "up"), (False, "down")]
)
def test_thumbs_are_read_in_the_forms_that_logs_have(sqlite_database, tmp_path, thumb, read):
    line = {**FLAT, "edit": None, "thumb": thumb}
    import_logs(sqlite_database, [write(tmp_path / "log.jsonl", line)])
    assert [said.thumb for said, _, _ in sqlite_database.events()] == [read]


def test_the_same_log_twice_adds_nothing_whatever_its_name_or_packing(database, tmp_path):
    first = write(tmp_path / "a.jsonl", PAIR, FLAT)
    data = (tmp_path / "a.jsonl").read_bytes()
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(data))
    (tmp_path / "c.jsonl.zst").write_bytes(zstandard.compress(data))
    assert import_logs(database, [first]).events == 2
    for name in ("a.jsonl", "b.jsonl.gz", "c.jsonl.zst"):
        again = import_logs(database, [str(tmp_path / name)])
        assert (again.exchanges, again.events, again.known, again.problems) == (0, 0, 2, [])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not JSON"),
        ("[]", "a JSON list instead of an object"),
        ({"a": 1}, "lacks `messages`"),
        ({**FLAT, "messages": FLAT["messages"][:1]}, "there is no answer"),
        ({**FLAT, "messages": FLAT["messages"][1:]}, "messages: no list of messages"),
        ({**FLAT, "messages": "hi"}, "no list of messages"),
        ({**FLAT, "messages": [7]}, "message 0 is no object"),
        ({**FLAT, "rating": 9}, "helpful: helpful is 9, out of range"),
        ({**FLAT, "thumb": "sideways"}, "thumb: thumb is 'sideways'"),
        ({**FLAT, "id": "a b"}, "request_id: 'a b' is no id"),
        (
            {"id": "jane@acme.com", "messages": FLAT["messages"]},
            "request_id: 'jane@acme.com' is no id",
        ),
        ({**FLAT, "time": "noon"}, "time: 'noon' is no time"),
        ({**FLAT, "time": 1e300}, "is no time"),
        ({"request": {}, "response": {}}, "the response has no `choices`"),
        ({"request": PAIR["request"], "response": {"choices": [{}]}}, "has no `message`"),
        ({"messages": [], "answer": "a"}, "lacks `request_id`"),
    ],
)
def test_a_bad_line_is_named_with_its_reason_and_the_others_are_kept(
    sqlite_database, tmp_path, line, reason
):
    result = import_logs(sqlite_database, [write(tmp_path / "log.jsonl", PAIR, line, FLAT)])
    assert (result.lines, result.exchanges) == (3, 2)
    (problem,) = result.problems
    assert problem.where == "log.jsonl:2"
    assert reason in problem.reason


def test_a_line_that_contradicts_the_database_is_named_alone(database, tmp_path):
    database.record([exchange("chatcmpl-1")])
    result = import_logs(database, [write(tmp_path / "log.jsonl", FLAT, PAIR)])
    assert (result.exchanges, len(result.problems)) == (1, 1)
    assert "stands for something else" in result.problems[0].reason


def test_a_file_without_one_good_line_or_none_at_all_is_refused(sqlite_database, tmp_path):
    with pytest.raises(DataError, match=r"no line is an exchange \(first: not JSON"):
        import_logs(sqlite_database, [write(tmp_path / "log.jsonl", "{", "{")])
    with pytest.raises(DataError, match="no such file"):
        import_logs(sqlite_database, [str(tmp_path / "absent.jsonl")])


def test_an_erased_request_is_not_brought_back_by_its_log(database, tmp_path):
    log = write(tmp_path / "log.jsonl", PAIR, FLAT)
    import_logs(database, [log])
    database.erase_person("user-7")
    again = import_logs(database, [log])
    assert (again.erased, again.exchanges, again.known) == (1, 0, 1)
    assert database.exchange("chatcmpl-1") is None


def test_a_raw_export_makes_an_equal_database(database, tmp_path):
    asked = [exchange("r1", who="w", consent="none"), exchange("r2", settings={"seed": 1})]
    asked.append(exchange("r3", ended=True, time="2027-01-01T00:00:00.000+00:00"))
    said = [
        event("e1", comment="ann@mail.com"),
        # its other exchange stands further down in the export
        event("e2", "r1", "choice", choice="this", other_request_id="r3", shown_first="r3"),
    ]
    database.add(asked, said)
    lines = list(export_lines(database, EVERYTHING, raw=True))
    copy = Database.open(str(tmp_path / "copy.sqlite"))
    result = import_logs(copy, [write(tmp_path / "export.jsonl", *lines)])
    assert (result.exchanges, result.events, result.problems) == (3, 2, [])
    assert list(copy.exchanges()) == list(database.exchanges())
    copy.close()


def test_a_comparison_across_questions_is_a_bad_line_and_the_others_are_kept(database, tmp_path):
    line = {"checkpoint": "c", "answer": "a", "request_id": "r1"}
    lines = [
        {**line, "request_id": each, "messages": [{"role": "user", "content": prompt}]}
        for each, prompt in (("r1", "q"), ("r2", "q"), ("r3", "something else"))
    ]
    choice = {"kind": "choice", "choice": "this"}
    lines[0]["events"] = [{**choice, "id": "good", "other_request_id": "r2"}]
    lines[1]["events"] = [{**choice, "id": "bad", "other_request_id": "r3"}]
    result = import_logs(database, [write(tmp_path / "log.jsonl", *lines)])
    assert (result.exchanges, result.events) == (3, 1)
    assert [(each.where, each.reason) for each in result.problems] == [
        ("log.jsonl:2", "'r2' and 'r3' do not answer the same messages")
    ]
    assert [each.id for each, _, _ in database.events()] == ["good"]


def test_a_redacted_export_is_known_where_it_came_from(database, tmp_path):
    asked = [exchange(f"r{n}", "write to ann@mail.com", who="bob") for n in range(3)]
    asked.append(exchange("plain"))
    said = [
        event("e1", "r1", comment="call bob@mail.com", who="bob"),
        event("e2", "plain", comment="ann@mail.com"),
        event("e3", "r0", "choice", choice="this", other_request_id="r2", who="bob"),
    ]
    database.add(asked, said)
    lines = list(export_lines(database, EVERYTHING))
    again = import_logs(database, [write(tmp_path / "export.jsonl", *lines)])
    assert (again.exchanges, again.events, again.known, again.problems) == (0, 0, 4, [])
    new = {"id": "new", "kind": "thumb", "thumb": "up"}
    more = [{**lines[0], "events": [*lines[0]["events"], new]}]
    added = import_logs(database, [write(tmp_path / "more.jsonl", *more)])
    assert (added.exchanges, added.events, added.known, added.problems) == (0, 1, 1, [])


def test_a_redacted_export_of_other_words_is_bad_and_alone_is_refused(database, tmp_path):
    database.add([exchange("r1", who="bob"), exchange("r2", who="bob")], [])
    one, two = export_lines(database, EVERYTHING)
    bad = {**one, "answer": "never said"}
    result = import_logs(database, [write(tmp_path / "mixed.jsonl", bad, two)])
    assert (result.known, [each.where for each in result.problems]) == (1, ["mixed.jsonl:1"])
    with pytest.raises(DataError, match=r"no line could be kept \(first: request_id 'r1' stands"):
        import_logs(database, [write(tmp_path / "bad.jsonl", bad)])


def test_a_pseudonym_stays_what_it_is_in_another_database(database, tmp_path):
    database.add([exchange("r1", who="bob")], [event("e1", who="bob")])
    lines = list(export_lines(database, EVERYTHING))
    other = Database.open(str(tmp_path / "other.sqlite"))
    for _ in range(2):
        import_logs(other, [write(tmp_path / "export.jsonl", *lines)])
    assert [line["who"] for line in export_lines(other, EVERYTHING)] == [lines[0]["who"]]
    other.add([exchange("r2", who="bob"), exchange("r3", who="0123456789abcdef")], [])
    (shown,) = {each["who"] for each in export_lines(other, Selection(request_id="r3"))}
    assert shown != "0123456789abcdef"  # an application's own id is none of our pseudonyms
    assert len(other.people("bob")) == len(other.people(lines[0]["who"])) == 2
    assert other.people("0123456789abcdef") == ["0123456789abcdef"]
    other.close()


@pytest.mark.parametrize("raw", [True, False])
def test_who_takes_consent_back_has_none_in_an_export_and_where_it_is_read(database, tmp_path, raw):
    agreed = {"who": "ann", "consent": "training"}
    database.add(
        [exchange(**agreed), exchange("r2", "5", who="ben", consent="training")],
        [event(**agreed), event("e2", "r2", who="ben"), event("e3", who="ben", consent="training")],
    )
    before = list(export_lines(database, EVERYTHING, raw=raw))
    database.set_consent("ann", "none")
    after = list(export_lines(database, EVERYTHING, raw=raw))
    other = Database.open(str(tmp_path / "other.sqlite"))
    import_logs(other, [write(tmp_path / "after.jsonl", *after)])
    for each in (database, other):
        judged, left_out = consenting(each, EVERYTHING)
        assert ([event.event.id for event in judged], left_out) == (["e2"], 2)
    other.close()
    for lines in (before, after):  # neither adds anything where it came from
        done = import_logs(database, [write(tmp_path / "again.jsonl", *lines)])
        assert (done.exchanges, done.events, done.problems) == (0, 0, [])
    assert database.consent_of("ann") == "none"
