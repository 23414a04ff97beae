import json
import shutil
import sqlite3

import pytest
from fastapi import Depends, FastAPI, HTTPException
from fastapi.testclient import TestClient
from said import exchange

from volano.feedback import connection, router
from volano.feedback.database import Database
from volano.feedback.router import feedback_router


def client_of(database, **options):
    application = FastAPI()
    application.include_router(feedback_router(database, **options))
    return TestClient(application, raise_server_exceptions=False)


@pytest.fixture
def client(database):
    database.record([exchange()])
    return client_of(database)


def post(client, value, status=200):
    response = client.post("/v1/feedback", json=value)
    assert response.status_code == status, response.text
    return response.json()


def refused(client, value, status):
    error = post(client, value, status)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert "\n" not in error["message"]
    return error


def test_an_event_is_kept_and_its_id_comes_back(client, database):
    script = "<script>alert(1)</script>"
    (kept,) = post(client, {"request_id": "r1", "helpful": 4, "comment": script})["ids"]
    ((event, about, _),) = database.events()
    assert (event.id, event.kind, event.helpful, event.source) == (kept, "rating", 4, "api")
    assert event.comment == script  # as it was said; pages escape it
    assert about == exchange()


def test_a_list_is_kept_whole_or_not_at_all(client, database):
    good = [{"request_id": "r1", "thumb": "up"}, {"request_id": "r1", "edit": "four"}]
    assert len(post(client, good)["ids"]) == 2
    error = refused(client, [*good, {"request_id": "r1", "helpful": 6}], 422)
    assert error["message"].startswith("event 2: helpful is 6, out of range")
    refused(client, [*good, {"request_id": "r9", "thumb": "up"}], 404)
    assert [event.kind for event, _, _ in database.events()].count("thumb") == 1


def test_an_application_may_send_its_exchange_along(client, database):
    sent = {
        "request_id": "mine-1",
        "thumb": "down",
        "messages": [{"role": "user", "content": "hi"}],
        "answer": "go away",
        "checkpoint": "gpt-x",
        "ended": True,
        "settings": {"temperature": 1},
    }
    post(client, [sent, {**sent, "thumb": None, "helpful": 1}])
    found = database.exchange("mine-1")
    assert (found.answer, found.checkpoint, found.ended) == ("go away", "gpt-x", True)
    assert len([1 for event, _, _ in database.events() if event.request_id == "mine-1"]) == 2
    assert refused(client, {**sent, "answer": "other"}, 409)["code"] == "id_taken"
    lacking = {name: each for name, each in sent.items() if name != "answer"}
    assert refused(client, lacking, 422)["param"] == "answer"


def test_another_person_may_judge_an_answer_that_came_along_with_a_judgement(client, database):
    sent = {
        "request_id": "mine-1",
        "thumb": "down",
        "messages": [{"role": "user", "content": "hi"}],
        "answer": "go away",
        "checkpoint": "gpt-x",
        "who": "ann",
        "consent": "training",
    }
    post(client, sent)
    post(client, {**sent, "thumb": "up", "who": "ben", "consent": "none"})
    judged = [(event.who, event.consent) for event, _, _ in database.events()]
    assert judged[-2:] == [("ann", "training"), ("ben", "none")]
    asked = database.exchange("mine-1")
    assert (asked.who, asked.consent) == ("ann", "training")
    other = {**sent, "answer": "come in", "who": "ben"}
    assert refused(client, other, 409)["code"] == "id_taken"


def test_an_id_makes_it_safe_to_send_again(client, database):
    sent = {"id": "mine", "request_id": "r1", "helpful": 4}
    assert post(client, sent) == post(client, sent)
    assert refused(client, {**sent, "helpful": 5}, 409)["code"] == "id_taken"
    assert len(list(database.events())) == 1


def test_answers_to_two_questions_are_not_compared(client, database):
    database.add([exchange("r2", "five"), exchange("r3", "Paris", prompt="France?")], [])
    sent = {"request_id": "r1", "choice": "this", "shown_first": "r1"}
    error = refused(client, {**sent, "other_request_id": "r3"}, 422)
    assert (error["param"], error["code"]) == ("other_request_id", "invalid_value")
    assert "'r1' and 'r3' do not answer the same messages" in error["message"]
    both = [{**sent, "other_request_id": "r2"}, {**sent, "other_request_id": "r3"}]
    refused(client, both, 422)
    # Whatever else is said with it: a rating that names another answer compares as well.
    refused(client, {**sent, "helpful": 4, "other_request_id": "r3"}, 422)
    assert list(database.events()) == []
    post(client, both[0])
    assert [event.other_request_id for event, _, _ in database.events()] == ["r2"]


NESTED = json.loads('{"a":' * 900 + "1" + "}" * 900)


@pytest.mark.parametrize(
    ("value", "status", "param", "words"),
    [
        ({"request_id": "r9", "thumb": "up"}, 404, None, "no request 'r9'"),
        ({"request_id": "r1", "helpful": 0}, 422, "helpful", "helpful is 0, out of range"),
        ({"request_id": "r1", "honest": 5.5}, 422, "honest", "5.5 is no whole number"),
        ({"request_id": "r1", "honest": True}, 422, "honest", "True is no whole number"),
        ({"request_id": "r1", "helpful": float("1e999")}, 400, None, "not JSON"),
        ({"request_id": "r1", "helpfull": 4}, 400, "helpfull", "Did you mean 'helpful'?"),
        ({"request_id": "r1", "thumb": "sideways"}, 422, "thumb", "thumb is 'sideways'"),
        ({"request_id": "r1", "kind": "shout"}, 422, "kind", "unknown kind of feedback 'shout'"),
        ({"request_id": "r1", "kind": "edit", "edit": " "}, 422, "edit", "that says nothing"),
        ({"request_id": "r1", "edit": ["x"]}, 422, "edit", "a JSON list"),
        ({"request_id": "r1"}, 422, "comment", "says nothing"),
        ({"thumb": "up"}, 422, "request_id", "value missing"),
        ({"request_id": 7, "thumb": "up"}, 422, "request_id", "7 is no id"),
        ({"request_id": "a@b.de", "thumb": "up"}, 422, "request_id", "is no id"),
        ({"request_id": "r1", "thumb": "up", "time": "noon"}, 422, "time", "no time in ISO 8601"),
        ({"request_id": "r1", "thumb": "up", "who": "w" * 201}, 422, "who", "201 characters"),
        (
            {"request_id": "r1", "thumb": "up", "time": "9999-12-31T23:59:59-14:00"},
            422,
            "time",
            "no time in ISO 8601",
        ),
        ({"request_id": "r1", "thumb": "up", "consent": "yes"}, 422, "consent", "consent is 'yes'"),
        (
            {"request_id": "r1", "choice": "other", "other_request_id": "r1"},
            422,
            "other_request_id",
            "the answer's own id",
        ),
        (
            {"request_id": "r1", "choice": "tie", "other_request_id": "r2", "shown_first": "r3"},
            422,
            "shown_first",
            "shown_first is neither of the two answers",
        ),
        (
            {"request_id": "r1", "thumb": "up", "shown_first": "left"},
            422,
            "shown_first",
            "shown_first is neither of the two answers",
        ),
        (
            {
                "request_id": "r9",
                "thumb": "up",
                "answer": "a",
                "checkpoint": "c",
                "messages": [{"role": "user", "content": "q"}],
                "settings": NESTED,
            },
            422,
            "settings",
            "more than 8 levels",
        ),
        ("text", 422, "event", "a JSON text instead of an object"),
        ([], 400, None, "0 events"),
        ([{}] * 1001, 400, None, "1,001 events"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_its_field(
    client, database, value, status, param, words
):
    response = client.post("/v1/feedback", content=json.dumps(value))
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert words in error["message"]
    assert error["param"] == param
    assert list(database.events()) == []


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ({"request_id": "r1", "comment": "a\ud800"}, "comment"),
        ({"request_id": "r1", "edit": "\udfff"}, "edit"),
        ({"request_id": "r1", "thumb": "\ud800"}, "thumb"),
        ({"request_id": "\ud800", "thumb": "up"}, "request_id"),
        ({"request_id": "r1", "thumb": "up", "who": "\ud800"}, "who"),
        ({"request_id": "r1", "thumb": "up", "\ud800": 1}, "\\ud800"),
        ({"request_id": "r1", "settings": {"stop": ["\ud800"]}}, "settings.stop[0]"),
        (
            {"request_id": "r1", "messages": [{"role": "user", "content": "\ud800"}]},
            "messages[0].content",
        ),
    ],
)
def test_half_a_character_is_refused_with_the_place_that_holds_it(client, database, value, param):
    response = client.post("/v1/feedback", content=json.dumps([value]))
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "half_character")
    assert error["param"] == param
    assert error["message"].startswith(f"event.{param}: half of a character. Send whole")
    assert list(database.events()) == []


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a": NaN}'])
def test_what_is_not_json_is_refused(client, body):
    response = client.post("/v1/feedback", content=body)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_request")


def test_a_body_above_the_limit_is_refused_before_it_is_read_whole(client, monkeypatch):
    monkeypatch.setattr(router, "MAX_BODY_BYTES", 1000)
    error = refused(client, {"request_id": "r1", "comment": "x" * 1000}, 413)
    assert error["code"] == "too_large"


def test_a_page_of_another_origin_needs_a_key_of_its_own(client, database):
    sent = {"request_id": "r1", "thumb": "up"}
    for headers in ({"Origin": "http://evil.test"}, {"Sec-Fetch-Site": "cross-site"}):
        response = client.post("/v1/feedback", json=sent, headers=headers)
        assert (response.status_code, response.json()["error"]["code"]) == (403, "other_origin")
    assert list(database.events()) == []
    headers = {"Origin": "http://app.test", "Authorization": "Bearer k"}
    assert client.post("/v1/feedback", json=sent, headers=headers).status_code == 200


def test_what_was_erased_is_gone_for_good(client, database):
    post(client, {"id": "mine", "request_id": "r1", "thumb": "up"})
    database.erase_request("r1")
    assert refused(client, {"request_id": "r1", "thumb": "up"}, 410)["code"] == "erased"


def test_a_check_from_outside_stands_before_the_route(database):
    def check():
        raise HTTPException(401)

    client = client_of(database, dependencies=[Depends(check)])
    assert client.post("/v1/feedback", json={}).status_code == 401


def test_while_the_database_is_locked_or_gone_the_server_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.05)
    path = tmp_path / "data" / "feedback.sqlite"
    database = Database.open(str(path))
    database.record([exchange()])
    client = client_of(database)
    sent = {"request_id": "r1", "thumb": "up"}
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("begin immediate")
    locked = client.post("/v1/feedback", json=sent)
    assert (locked.status_code, locked.headers["Retry-After"]) == (503, "1")
    holder.execute("rollback")
    holder.close()
    kept = post(client, sent)["ids"]
    shutil.move(tmp_path / "data", tmp_path / "away")
    assert "file is gone" in refused(client, sent, 503)["message"]
    shutil.move(tmp_path / "away", tmp_path / "data")
    kept += post(client, sent)["ids"]
    assert {event.id for event, _, _ in database.events()} == set(kept)
    database.close()
