import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from clients import asking, post

from volano.core.feedback import TRAINING
from volano.core.records import Message
from volano.feedback.database import Database
from volano.serve.application import build_application
from volano.serve.limits import LOOPBACK, Keys, Limits
from volano.serve.requests import UNSUPPORTED_CHAT
from volano.serve.served import ServedModel
from volano.serve.server import PortTaken, listen, running
from volano.study.serving import joined


def error(response):
    assert response.headers["content-type"].startswith("application/json")
    return response.json()["error"]


@pytest.mark.parametrize(
    "body, status, param",
    [
        (b"{", 400, None),
        (b"\xff\xfe", 400, None),
        (b"[1]", 400, None),
        (b'{"messages": NaN}', 400, None),
        ({}, 400, "messages"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, 400, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 3}]}, 400, "messages[0].content"),
        (asking(temperature=3), 400, "temperature"),
        (asking(temperature="hot"), 400, "temperature"),
        (asking(top_p=-1), 400, "top_p"),
        (asking(max_tokens=0), 400, "max_tokens"),
        (asking(max_tokens=True), 400, "max_tokens"),
        (asking(n=99), 400, "n"),
        (asking(n=2, stream=True), 400, "n"),
        (asking(stop=["a"] * 5), 400, "stop"),
        (asking(top_logprobs=2), 400, "top_logprobs"),
        (asking(stream="yes"), 400, "stream"),
        (asking(model="none"), 404, "model"),
        (asking("json " * 400), 400, "messages"),
    ],
)
def test_a_bad_request_names_its_field_and_the_server_goes_on(serve, body, status, param):
    port = serve()
    found = post(port, body)
    assert (found.status_code, error(found)["param"]) == (status, param)
    assert post(port, asking()).status_code == 200


@pytest.mark.parametrize(
    "path, body, param",
    [
        ("chat/completions", asking("\ud800 hi"), "messages[0].content"),
        ("chat/completions", asking([{"type": "text", "text": "\udc00"}]), ".content[0].text"),
        ("chat/completions", asking(stop=["a", "\ud83d"]), "stop[1]"),
        ("chat/completions", asking(user="\ud800"), "user"),
        ("chat/completions", asking(model="\ud800"), "model"),
        ("chat/completions", asking(**{"\ud800": 1}), "\\ud800"),
        ("completions", {"prompt": "\ud83d"}, "prompt"),
        ("completions", {"prompt": ["a", "\ud83d"]}, "prompt[1]"),
        ("completions", {"prompt": "a", "stop": "\ud83d"}, "stop"),
    ],
)
def test_half_a_character_is_refused_with_the_place_that_holds_it(serve, kept, path, body, param):
    refused = post(serve(recorder=kept), body, f"/v1/{path}")
    assert refused.status_code == 400
    assert error(refused)["param"].endswith(param)
    assert f"{param} holds half of a character." in error(refused)["message"]
    assert kept.exchanges == []


def test_a_character_written_as_two_escapes_is_whole(serve, kept):
    body = b'{"messages": [{"role": "user", "content": "\\ud83d\\ude00"}], "max_tokens": 3}'
    assert post(serve(recorder=kept), body).status_code == 200
    assert kept.exchanges[0].messages[0].content == "\U0001f600"


@pytest.mark.parametrize(
    "field, value",
    [
        ("tools", [{"type": "function"}]),
        ("frequency_penalty", 0.5),
        ("presence_penalty", 1),
        ("logit_bias", {"5": 1}),
        ("response_format", {"type": "json_object"}),
        ("modalities", ["audio"]),
        ("web_search_options", {}),
        ("reasoning_effort", "high"),
        ("metadata", {"a": "b"}),
        ("prompt_cache_key", "x"),
        ("prompt_cache_retention", "24h"),
    ],
)
def test_an_unsupported_field_is_refused_by_name_unless_it_asks_for_nothing(serve, field, value):
    port = serve()
    refused = post(port, asking(**{field: value}))
    assert (refused.status_code, error(refused)["param"]) == (400, field)
    for default in (None, *UNSUPPORTED_CHAT[field]):
        assert post(port, asking(**{field: default})).status_code == 200


@pytest.mark.parametrize("log_probs", [0, 2])
def test_an_echo_with_log_probabilities_is_refused(serve, log_probs):
    port = serve()
    asked = {"prompt": "open a", "max_tokens": 3, "echo": True, "logprobs": log_probs}
    refused = post(port, asked, "/v1/completions")
    assert (refused.status_code, error(refused)["param"]) == (400, "echo")
    assert post(port, asked | {"echo": False}, "/v1/completions").status_code == 200
    assert post(port, asked | {"logprobs": None}, "/v1/completions").status_code == 200


@pytest.mark.parametrize(
    ("field", "value", "harmless"),
    [
        ("name", "bob", [None]),
        ("tool_calls", [{"id": "1", "type": "function"}], [None, []]),
        ("function_call", {"name": "f", "arguments": "{}"}, [None]),
        ("tool_call_id", "1", [None]),
        ("refusal", "No.", [None]),
        ("audio", {"id": "a"}, [None]),
    ],
)
def test_an_unsupported_field_of_a_message_is_refused_by_name(serve, field, value, harmless):
    port = serve()

    def asked(given):
        said = {"role": "assistant", "content": "x", field: given}
        return {"messages": [said, {"role": "user", "content": "y"}], "max_tokens": 3}

    refused = post(port, asked(value))
    assert (refused.status_code, error(refused)["param"]) == (400, f"messages[0].{field}")
    assert [post(port, asked(each)).status_code for each in harmless] == [200] * len(harmless)


def test_an_unsupported_field_of_a_part_or_of_stream_options_is_refused_by_name(serve):
    port = serve()
    part = {"type": "text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit"}}
    refused = post(port, asking([part]))
    where = "messages[0].content[0].prompt_cache_breakpoint"
    assert (refused.status_code, error(refused)["param"]) == (400, where)
    options = {"stream": True, "stream_options": {"include_obfuscation": "some"}}
    refused = post(port, asking(**options))
    where = "stream_options.include_obfuscation"
    assert (refused.status_code, error(refused)["param"]) == (400, where)


@pytest.mark.parametrize("kind", ["chat/completions", "completions"])
def test_every_field_of_the_installed_schema_is_checked_or_refused(serve, kind):
    from openai.types import completion_create_params as text
    from openai.types.chat import completion_create_params as chat

    port, schema = serve(), chat if kind.startswith("chat") else text
    fields = {"stream", *schema.CompletionCreateParamsBase.__annotations__}
    assert len(fields) > 15
    wrong = [{"nothing": "takes this"}]
    for field in fields:
        refused = post(port, asking(prompt="x") | {field: wrong}, f"/v1/{kind}")
        assert refused.status_code == 400, field
        assert error(refused)["param"].startswith(field)


def test_a_field_outside_the_schema_is_ignored(serve):
    assert post(serve(), asking(my_own_field={"x": 1})).status_code == 200
    message = {"role": "user", "content": "x", "annotations": [1]}
    assert post(serve(), {"messages": [message], "max_tokens": 3}).status_code == 200


def test_a_prompt_beyond_the_context_says_by_how_much(serve):
    found = error(post(serve(), asking("json " * 400)))
    assert found["code"] == "context_length_exceeded"
    assert "256 tokens" in found["message"]


def test_a_prompt_beyond_what_is_kept_for_an_answer_is_refused_the_same_way(checkpoint):
    model = ServedModel("tiny", checkpoint, checkpoint="checkpoint/tiny", context=64)
    with running(build_application({"tiny": model})) as port:
        found = error(post(port, asking("json " * 60)))
        assert found["code"] == "context_length_exceeded"
        assert "reads 64 tokens here" in found["message"]
        url = f"http://127.0.0.1:{port}/v1/models"
        assert httpx.get(url).json()["data"][0]["context_tokens"] == 64


@pytest.mark.parametrize("path, status", [("/v1/nothing", 404), ("/v1/chat/completions", 405)])
def test_an_unknown_path_or_method_is_an_error_of_the_same_form(serve, path, status):
    found = httpx.get(f"http://127.0.0.1:{serve()}{path}")
    assert (found.status_code, error(found)["type"]) == (status, "invalid_request_error")


def test_a_body_too_large_is_refused_with_and_without_a_length(serve):
    port = serve(limits=Limits(body_bytes=1000))
    body = json.dumps(asking("x" * 2000)).encode()
    assert post(port, body).status_code == 413
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    chunks = (body[place : place + 100] for place in range(0, len(body), 100))
    assert httpx.post(url, content=chunks).status_code == 413
    assert post(port, asking()).status_code == 200


def test_more_requests_a_minute_than_allowed_wait(serve):
    port = serve(limits=Limits(requests_per_minute=3), keys=["a", "b"])
    statuses = [post(port, asking(), authorization="Bearer a").status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    refused = post(port, asking(), authorization="Bearer a")
    assert 1 <= int(refused.headers["retry-after"]) <= 20
    assert post(port, asking(), authorization="Bearer b").status_code == 200


@pytest.mark.parametrize("keys", [[], ["a"]])
def test_an_invented_key_is_no_other_client(serve, keys):
    port = serve(limits=Limits(requests_per_minute=3), keys=keys)
    statuses = [post(port, asking(), authorization=f"Bearer x{n}").status_code for n in range(5)]
    assert statuses == [401 if keys else 200] * 3 + [429] * 2


def test_a_page_that_calls_the_server_by_another_name_is_refused(serve):
    port = serve(limits=Limits(hosts=LOOPBACK))
    assert post(port, asking(), host="evil.example").status_code == 421
    assert post(port, asking(), host=f"localhost:{port}").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}],
)
def test_a_page_of_another_origin_needs_a_key(serve, headers):
    port = serve()
    refused = post(
        port, asking(), **{name.replace("-", "_"): each for name, each in headers.items()}
    )
    assert (refused.status_code, error(refused)["type"]) == (403, "permission_error")
    assert post(port, asking(), origin=f"http://127.0.0.1:{port}").status_code == 200
    keyed = serve(keys=["secret"])
    assert post(keyed, asking(), authorization="Bearer secret", **headers).status_code == 200


LINK = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/chat", LINK, 200),
        ("GET", "/chat", LINK | {"sec-fetch-site": "same-site"}, 200),
        ("GET", "/", LINK, 307),
        ("GET", "/chat/compare", LINK, 200),
        ("GET", "/chat", LINK | {"sec-fetch-dest": "iframe"}, 403),
        ("GET", "/chat", LINK | {"sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}, 403),
        ("GET", "/chat", LINK | {"origin": "https://evil.example"}, 403),
        ("GET", "/chat", {"sec-fetch-site": "cross-site"}, 403),
        ("GET", "/chat/stream/x", LINK, 403),
        ("GET", "/v1/models", LINK, 403),
        ("POST", "/chat", LINK, 403),
        ("POST", "/chat/ask", LINK, 403),
        ("POST", "/chat/consent", LINK, 403),
    ],
)
def test_a_link_on_another_site_leads_to_the_pages_and_to_nothing_else(
    checkpoint, tmp_path, method, path, headers, status
):
    database = Database.open(str(tmp_path / "feedback.sqlite"))
    model = ServedModel("tiny", checkpoint, checkpoint="checkpoint/tiny")
    with running(joined([model], database)) as port:
        url = f"http://127.0.0.1:{port}{path}"
        assert httpx.request(method, url, headers=headers).status_code == status
    database.close()


def test_health_is_open_to_all_and_names_no_model(serve):
    port = serve(keys=["secret"])
    found = httpx.get(f"http://127.0.0.1:{port}/healthz")
    assert found.json() == {"status": "ok", "answering": 0, "waiting": 0}


def test_an_answer_can_be_had_again_by_the_seed_that_was_kept(serve, kept):
    port = serve(recorder=kept)
    sampled = post(port, asking(temperature=1.5, n=2)).json()["choices"]
    seeds = [each.settings["seed"] for each in kept.exchanges]
    assert len(set(seeds)) == 2
    for seed, choice in zip(seeds, sampled, strict=True):
        again = post(port, asking(temperature=1.5, seed=seed)).json()["choices"][0]
        assert again["message"]["content"] == choice["message"]["content"]


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", "Basic secret", "secret2"])
def test_without_the_key_nothing_but_health_answers(serve, header):
    port = serve(keys=["secret"])
    found = post(port, asking(), authorization=header)
    assert (found.status_code, error(found)["type"]) == (401, "authentication_error")
    assert httpx.get(f"http://127.0.0.1:{port}/healthz").json()["status"] == "ok"


def test_an_empty_key_is_a_key_that_opens_nothing(serve):
    keys = Keys(["", "secret"])
    assert (keys.opens(b""), keys.opens(b"secret")) == (False, True)
    port = serve(keys=[""])
    assert post(port, asking()).status_code == 401
    for header in ("", "Bearer", "bearer"):
        assert post(port, asking(), authorization=header).status_code == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR "])
def test_the_scheme_of_a_key_may_be_in_any_case(serve, scheme):
    port = serve(keys=["secret"])
    assert post(port, asking(), authorization=f"{scheme} secret").status_code == 200
    assert post(port, asking(), authorization=f"{scheme} Secret").status_code == 401


@pytest.mark.parametrize("key", ["clé", "voilà", "鍵"])  # "à" ends in 0xA0, latin-1's blank
def test_a_key_of_any_letters_opens_in_utf_8(serve, key):
    port = serve(keys=[key])
    assert post(port, asking(), authorization=f"Bearer {key}".encode()).status_code == 200
    assert post(port, asking(), authorization=f"Bearer {key}x".encode()).status_code == 401


def test_a_hundred_clients_at_once_are_all_answered(serve):
    port = serve(slots=4)
    expected = post(port, asking(temperature=0)).json()["choices"][0]["message"]["content"]
    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda _: post(port, asking(temperature=0)), range(100)))
    assert [each.status_code for each in answers] == [200] * 100
    assert {each.json()["choices"][0]["message"]["content"] for each in answers} == {expected}


def test_more_than_may_wait_are_told_to_come_back(serve):
    port = serve(slots=1, waiting=1)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: post(port, asking(max_tokens=200)), range(12)))
    statuses = sorted(each.status_code for each in answers)
    assert set(statuses) == {200, 429}
    assert all(each.headers["retry-after"] for each in answers if each.status_code == 429)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_hangs_up_gives_its_slot_back(serve, stream, monkeypatch):
    from volano.model import slots

    pause = threading.Event()
    choose = slots.choose_each

    def slow(*arguments):
        pause.wait(0.05)
        return choose(*arguments)

    monkeypatch.setattr(slots, "choose_each", slow)
    port = serve(slots=1)
    # Greedy: this model then makes all 200, where a sampled answer may end before it is seen.
    with sending(port, asking(max_tokens=200, temperature=0, stream=stream)):
        wait_for(lambda: load(port)["answering"] == 1)
    wait_for(lambda: load(port)["answering"] == 0, seconds=5)  # 200 tokens would take 10 s
    pause.set()
    assert post(port, asking()).status_code == 200


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_hangs_up_while_it_waits_gives_its_place_back(serve, stream, monkeypatch):
    from volano.model import slots

    go_on = threading.Event()
    choose = slots.choose_each

    def held(*arguments):
        go_on.wait(1)  # before each of 200 tokens
        return choose(*arguments)

    monkeypatch.setattr(slots, "choose_each", held)
    port = serve(slots=1, waiting=2)
    asked = asking(max_tokens=200, temperature=0, stream=stream)
    with sending(port, asked):
        wait_for(lambda: load(port)["answering"] == 1)
        with sending(port, asked), sending(port, asked):
            wait_for(lambda: load(port)["waiting"] == 2)
            assert is_refused(port)
        wait_for(lambda: not is_refused(port), seconds=5)
    go_on.set()
    assert post(port, asking()).status_code == 200


def is_refused(port):
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    try:
        return httpx.post(url, json=asking(), timeout=1).status_code == 429
    except httpx.ReadTimeout:  # it waits
        return False


@contextmanager
def sending(port, value):
    """A request whose client hangs up when the block ends."""
    body = json.dumps(value).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
    with socket.create_connection(("127.0.0.1", port)) as opened:
        opened.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        yield


def load(port):
    return httpx.get(f"http://127.0.0.1:{port}/healthz").json()


def wait_for(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_exchange_is_kept_before_its_answer_is_complete(serve, kept):
    port = serve(recorder=kept)
    headers = {"x_request_id": "r-1", "x_volano_consent": TRAINING, "x_volano_source": "scripted"}
    answer = post(port, asking(user="ann", seed=4), **headers)
    [exchange] = kept.exchanges
    assert answer.headers["x-request-id"] == answer.json()["id"] == exchange.request_id == "r-1"
    assert exchange.answer == answer.json()["choices"][0]["message"]["content"]
    assert (exchange.who, exchange.consent, exchange.source) == ("ann", TRAINING, "scripted")
    assert (exchange.checkpoint, exchange.settings["seed"]) == ("checkpoint/tiny", 4)
    assert [each.content for each in exchange.messages] == ["what is json"]


@pytest.mark.parametrize("stream", [True, False])
def test_what_must_not_be_stored_is_not(serve, kept, stream):
    port = serve(recorder=kept)
    assert post(port, asking(store=False, stream=stream)).status_code == 200
    assert kept.exchanges == []
    assert post(port, asking(stream=stream)).status_code == 200
    assert len(kept.exchanges) == 1


def test_a_taken_request_id_is_refused(serve, kept):
    port = serve(recorder=kept)
    assert post(port, asking(), x_request_id="r-1").status_code == 200
    assert post(port, asking(), x_request_id="r-1").status_code == 409
    assert post(port, asking(), x_request_id="no spaces").status_code == 400


def test_without_a_database_no_answer_is_given_and_the_server_goes_on(serve, kept, capfd):
    port = serve(recorder=kept)
    kept.lock_up()
    refused = post(port, asking(), x_request_id="r-1")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    streamed = post(port, asking(stream=True, seed=1))  # an answer with no text is no stream
    assert streamed.text.rstrip().splitlines()[-1].startswith('data: {"error"')
    assert "[DONE]" not in streamed.text
    assert "r-1 was not kept: feedback.sqlite: locked" in capfd.readouterr().err
    kept.failure = None
    assert post(port, asking()).status_code == 200


def test_a_script_in_a_prompt_is_text_like_any_other(serve, kept):
    port = serve(recorder=kept)
    answer = post(port, asking("<script>alert(1)</script>"))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert kept.exchanges[0].messages[0].content == "<script>alert(1)</script>"


def test_a_port_in_use_is_named():
    with listen("127.0.0.1", 0) as opened:
        port = opened.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"127.0.0.1:{port}: Address already in use"):
            listen("127.0.0.1", port)


def test_a_long_conversation_loses_its_oldest_turns_and_never_its_question(checkpoint):
    model = ServedModel("tiny", checkpoint, checkpoint="checkpoint/tiny", slots=1)
    try:
        turns = []
        for place in range(30):
            turns += [Message("user", f"what is {place}"), Message("assistant", "a file")]
        asked = (*turns, Message("user", "what is json"))
        kept = model.fitting(asked, max_tokens=64)
        assert kept == asked[len(asked) - len(kept) :]
        assert kept[0].role == "user"
        assert 1 < len(kept) < len(asked)
        assert len(model.chat_prompt(kept)) + 64 <= model.context
        assert len(model.chat_prompt(asked[len(asked) - len(kept) - 2 :])) + 64 > model.context
        long = (Message("user", "what " * 400),)
        assert model.fitting((*turns, *long), max_tokens=64) == long
        assert model.fitting(asked[-1:], max_tokens=64) == asked[-1:]
    finally:
        model.close()


def test_of_two_models_one_has_to_be_named(serve):
    port = serve(names=("tiny", "other"))
    asked = {"messages": [{"role": "user", "content": "x"}]}
    found = httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=asked)
    assert found.status_code == 400
    assert found.json()["error"]["message"] == "`model` is missing. Known: tiny, other."
