"""The chat pages as HTTP: who may post, what is escaped, what is kept."""

import asyncio
import json
import re
import shutil

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from scripted import Scripted

from volano.core.records import Message
from volano.feedback.database import Database
from volano.feedback.mount import add_chat_pages
from volano.feedback.pages import MOST_CHARACTERS
from volano.feedback.turns import Turn, answer
from volano.page.security import HEADERS

SCRIPT = "<script>alert('x')</script>"
MODELS = ("alpha", "bravo")


@pytest.fixture
def models():
    return [Scripted(name, f"<i>{name[0]}</i>") for name in MODELS]


@pytest.fixture
def client(sqlite_database, models):
    return visitor(sqlite_database, models)


def visitor(database, models, **options):
    """A browser that has opened the page once."""
    application = FastAPI()
    add_chat_pages(application, database, models, **options)
    client = TestClient(application, raise_server_exceptions=False)
    client.get("/chat")
    return client


def stream(client, html):
    """The events of each stream that a part of the page opens: a list of (name, value)."""
    streams = []
    for path in re.findall(r'data-stream="([^"]+)"', html):
        text = client.get(path).text
        found = re.findall(r"event: (\w+)\ndata: (.*)\n\n", text)
        streams.append([(name, json.loads(value)) for name, value in found])
    return streams


def ask(client, prompt, after="", path="/chat/ask"):
    response = client.post(path, data={"prompt": prompt, "after": after})
    assert response.status_code == 200, response.text
    return stream(client, response.text)


def request_of(events):
    assert events[-1][0] == "done", events
    return events[-1][1]["request_id"]


def test_an_answer_streams_and_its_exchange_says_how_it_was_made(client, models, sqlite_database):
    ((*pieces, done),) = ask(client, "hi there")
    assert [name for name, _ in pieces] == ["piece"] * 3
    assert "".join(value for _, value in pieces) == "<i>a</i> hi there "
    found = sqlite_database.exchange(done[1]["request_id"])
    assert (found.answer, found.ended, found.source) == ("<i>a</i> hi there ", True, "chat")
    assert found.checkpoint == models[0].checkpoint
    assert set(found.settings) == {"max_tokens", "temperature", "seed"}
    ((*_, cut),) = ask(client, "long")
    assert sqlite_database.exchange(cut[1]["request_id"]).ended is False
    assert "Cut off" in cut[1]["html"]


def turn(model):
    question = (Message("user", "hi there"),)
    return Turn("w", model, question, show=lambda _: "", max_tokens=9, temperature=0.0)


def test_the_exchange_is_in_the_database_before_the_last_event(sqlite_database, models):
    async def known_at_each_event():
        events = answer(turn(models[0]), sqlite_database)
        return [(each.split()[1], len(list(sqlite_database.exchanges()))) async for each in events]

    assert asyncio.run(known_at_each_event()) == [("piece", 0)] * 3 + [("done", 1)]


def test_a_reader_who_leaves_stops_the_model(sqlite_database, models):
    async def leave_early():
        events = answer(turn(models[0]), sqlite_database)
        await anext(events)
        await events.aclose()

    asyncio.run(leave_early())
    assert models[0].closed == 1
    assert list(sqlite_database.exchanges()) == []


def test_everything_that_people_and_models_write_is_escaped(client):
    response = client.post("/chat/ask", data={"prompt": SCRIPT})
    assert SCRIPT not in response.text
    assert "&lt;script&gt;" in response.text
    ((*_, (_, done)),) = stream(client, response.text)
    assert SCRIPT not in done["html"]
    assert "&lt;i&gt;a&lt;/i&gt; &lt;script&gt;" in done["html"]


def test_the_next_question_follows_the_whole_conversation(client, models):
    (first,) = ask(client, "one")
    ask(client, "two", after=request_of(first))
    assert models[0].asked[-1][0] == (
        Message("user", "one"),
        Message("assistant", "<i>a</i> one "),
        Message("user", "two"),
    )


def test_every_judgement_becomes_an_event_with_the_consent_that_stood(client, sqlite_database):
    (events,) = ask(client, "hi")
    request = request_of(events)
    client.post("/chat/consent", data={"agreed": "yes"})
    said = [
        client.post(f"/chat/thumb/{request}", data={"thumb": "up"}),
        client.post(f"/chat/rate/{request}", data={"helpful": "4", "honest": "5"}),
        client.post(f"/chat/edit/{request}", data={"edit": "better\r\nso"}),
    ]
    assert [each.text for each in said] == [
        "Marked as good.",
        "Rated: helpful 4, honest 5.",
        "The edit is saved.",
    ]
    client.post("/chat/consent", data={})
    client.post(f"/chat/thumb/{request}", data={"thumb": "down"})
    kept = {(e.kind, e.thumb): e for e, _, _ in sqlite_database.events()}
    assert kept[("rating", None)].helpful == 4
    assert kept[("edit", None)].edit == "better\nso"
    assert kept[("thumb", "up")].consent == "training"
    assert kept[("thumb", "down")].consent == "none"
    assert sqlite_database.exchange(request).consent is None  # nobody had asked yet


def test_consent_is_off_until_given_and_stays_as_it_was_left(client):
    assert "checked" not in client.get("/chat").text
    assert "checked" in client.post("/chat/consent", data={"agreed": "yes"}).text
    assert "checked" in client.get("/chat").text
    client.post("/chat/consent", data={})
    assert "checked" not in client.get("/chat").text


@pytest.mark.parametrize(
    ("path", "form", "status", "words"),
    [
        ("/chat/ask", {"prompt": "  "}, 422, "Write a question first."),
        ("/chat/ask", {"prompt": "x" * (MOST_CHARACTERS + 1)}, 422, "At most 20,000"),
        ("/chat/ask", {"prompt": "x" * 500_000}, 413, "too long"),
        ("/chat/ask", {"prompt": "x", "after": "r9"}, 404, "This conversation is gone."),
        ("/chat/rate/REQUEST", {"helpful": "6"}, 422, "Helpful is 6, out of range"),
        ("/chat/rate/REQUEST", {"helpful": "-1", "honest": "5"}, 422, "Stars are 1 to 5."),
        ("/chat/rate/REQUEST", {}, 422, "Choose some stars first."),
        ("/chat/rate/REQUEST", {"helpful": "many"}, 422, "Stars are 1 to 5."),
        ("/chat/thumb/REQUEST", {"thumb": "sideways"}, 422, "Thumb is &#x27;sideways&#x27;"),
        ("/chat/edit/REQUEST", {"edit": ""}, 422, "An edit that says nothing"),
        ("/chat/rate/REQUEST", {"helpful": "9" * 5000}, 422, "Stars are 1 to 5."),
        ("/chat/edit/REQUEST", {"edit": "<i>a</i> hi"}, 422, "Nothing was changed."),
        ("/chat/thumb/r9", {"thumb": "up"}, 404, "not known here"),
        ("/chat/compare/choose/compare-9", {"choice": "a"}, 404, "not known here"),
        ("/chat/compare/choose/compare-9", {"choice": "c"}, 422, "Choose A, B or equal."),
    ],
)
def test_a_wrong_form_is_one_sentence(client, sqlite_database, path, form, status, words):
    (events,) = ask(client, "hi")
    response = client.post(path.replace("REQUEST", request_of(events)), data=form)
    assert (response.status_code, words in response.text) == (status, True), response.text
    assert list(sqlite_database.events()) == []


def test_bytes_of_a_form_that_are_no_text_are_shown_as_such(client, models):
    half = {"Content-Type": "application/x-www-form-urlencoded"}
    response = client.post("/chat/ask", content=b"prompt=a%ED%A0%80", headers=half)
    stream(client, response.text)
    assert models[0].asked[-1][0] == (Message("user", "a\ufffd\ufffd\ufffd"),)


def test_nobody_reaches_what_another_person_asked(client, sqlite_database, models):
    (events,) = ask(client, "hi")
    request = request_of(events)
    stranger = visitor(sqlite_database, models)
    assert stranger.post(f"/chat/thumb/{request}", data={"thumb": "up"}).status_code == 404
    assert stranger.post("/chat/ask", data={"prompt": "x", "after": request}).status_code == 404
    html = client.post("/chat/ask", data={"prompt": "secret"}).text
    (path,) = re.findall(r'data-stream="([^"]+)"', html)
    assert stranger.get(path).status_code == 204
    assert "secret" in client.get(path).text
    assert client.get(path).status_code == 204  # answered once


def test_the_database_does_not_hold_what_the_cookie_holds(client, sqlite_database):
    ask(client, "hi")
    secret = client.cookies["volano_person"]
    ((exchange, _),) = sqlite_database.exchanges()
    assert exchange.who.startswith("chat-")
    assert secret not in repr(exchange)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://testserver", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://evil.test"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://testserver.evil.test"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://testserver"}, 403),
    ],
)
@pytest.mark.parametrize("path", ["/chat/ask", "/chat/consent", "/chat/compare/ask", "/chat/login"])
def test_a_form_of_another_origin_is_refused(sqlite_database, models, path, headers, status):
    client = visitor(sqlite_database, models, keys=["k"])
    client.post("/chat/login", data={"key": "k"})
    sent = {"prompt": "x", "key": "k"}
    response = client.post(path, data=sent, headers=headers, follow_redirects=False)
    assert response.status_code == (303 if status == 200 and "login" in path else status)


def test_every_answer_has_the_strict_headers(client):
    policy = client.get("/chat").headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    for path in ("/chat", "/chat/compare", "/static/house.css", "/absent", "/chat/stream/x"):
        headers = client.get(path).headers
        assert {name: headers[name] for name in HEADERS} == HEADERS
    assert client.get("/chat").headers["Cache-Control"] == "no-store"


def test_no_page_has_a_script_or_style_of_its_own_or_from_elsewhere(client):
    (events,) = ask(client, "hi")
    compared = client.post("/chat/compare/ask", data={"prompt": "x"}).text
    pages = [client.get("/chat").text, client.get("/chat/compare").text]
    for html in [*pages, events[-1][1]["html"], compared]:
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! src=\"/static/)", html)
        assert not re.search(r"(?:src|href|action)=\"(?!/|#|data:,)", html)
    for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', pages[0]):
        assert client.get(path).status_code == 200


def test_with_keys_the_page_asks_for_one_and_keeps_a_proof_of_it(sqlite_database, models):
    client = visitor(sqlite_database, models, keys=["first-key", "second-key"])
    asked = client.get("/chat")
    assert (asked.status_code, 'type="password"' in asked.text) == (401, True)
    assert client.post("/chat/ask", data={"prompt": "x"}).status_code == 401
    wrong = client.post("/chat/login", data={"key": "first"}, follow_redirects=False)
    assert (wrong.status_code, "not known" in wrong.text) == (401, True)
    right = client.post("/chat/login", data={"key": "second-key"}, follow_redirects=False)
    cookie = right.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "second-key" not in cookie
    assert client.get("/chat").status_code == 200
    client.cookies.set("volano_key", "forged")
    assert visitor(sqlite_database, models, keys=["other"]).get("/chat").status_code == 401


@pytest.mark.parametrize(
    ("prompt", "words"),
    [("break", "Out of memory. Try a shorter question."), ("crash", "could not answer")],
)
def test_a_model_that_fails_is_one_sentence_without_paths(client, sqlite_database, prompt, words):
    ((failed,),) = ask(client, prompt)
    assert failed[0] == "failed"
    assert words in failed[1]
    assert "secret" not in failed[1]
    assert list(sqlite_database.exchanges()) == []
    assert ask(client, "and now?")[0][-1][0] == "done"


def test_an_answer_that_cannot_be_kept_says_so_and_the_page_goes_on(models, tmp_path):
    database = Database.open(str(tmp_path / "data" / "feedback.sqlite"))
    client = visitor(database, models)
    shutil.move(tmp_path / "data", tmp_path / "away")
    ((*_, failed),) = ask(client, "hi")
    assert failed[0] == "failed"
    assert "file is gone" in failed[1]
    assert client.get("/chat").status_code == 503
    shutil.move(tmp_path / "away", tmp_path / "data")
    assert ask(client, "hi")[0][-1][0] == "done"
    database.close()


# ---- the blind comparison


def compare(client):
    html = client.post("/chat/compare/ask", data={"prompt": "which?"}).text
    comparison = re.search(r"choose/([\w-]+)", html)[1]
    return comparison, html, stream(client, html)


def test_before_the_choice_nothing_tells_the_models_apart(client, models):
    comparison, html, streams = compare(client)
    seen = html + json.dumps(streams) + client.get("/chat/compare").text
    for model in models:
        assert model.name not in seen
        assert model.checkpoint not in seen
    assert sorted(events[0][1] for events in streams) == ["<i>a</i> ", "<i>b</i> "]
    chosen = client.post(f"/chat/compare/choose/{comparison}", data={"choice": "a"}).text
    assert all(model.name in chosen for model in models)


def test_the_order_is_drawn_and_written_down_before_and_with_the_choice(client, sqlite_database):
    first_shown = set()
    for _ in range(40):
        comparison, _, streams = compare(client)
        before = sqlite_database.exchange(f"{comparison}-a")
        assert before.settings["shown"] == "A"
        assert before.settings["comparison"] == comparison
        assert before.answer.startswith(streams[0][0][1])
        first_shown.add(before.checkpoint)
    assert len(first_shown) == 2  # missed by chance once in 10^12
    client.post(f"/chat/compare/choose/{comparison}", data={"choice": "b"})
    ((event, exchange, other),) = sqlite_database.events()
    assert (event.kind, event.choice) == ("choice", "other")
    assert event.shown_first == exchange.request_id == f"{comparison}-a"
    assert other.request_id == f"{comparison}-b"
    assert {exchange.checkpoint, other.checkpoint} == first_shown


def test_a_comparison_is_decided_once(client, sqlite_database):
    comparison, *_ = compare(client)
    path = f"/chat/compare/choose/{comparison}"
    assert client.post(path, data={"choice": "tie"}).status_code == 200
    assert client.post(path, data={"choice": "tie"}).status_code == 200  # sent twice by accident
    again = client.post(path, data={"choice": "a"})
    assert (again.status_code, again.text) == (409, "You have chosen already.")
    assert [event.choice for event, _, _ in sqlite_database.events()] == ["tie"]


def test_one_model_alone_is_compared_with_itself_under_two_seeds(sqlite_database):
    model = Scripted("alone", "I")
    compare(visitor(sqlite_database, [model]))
    (_, _, _, first), (_, _, _, second) = model.asked
    assert first != second
