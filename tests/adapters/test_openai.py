"""The chat protocol against a scripted server, and scores out of its answers, as a user asks."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from volano.adapters.openai import OpenAIResponder, key_from
from volano.cli.main import run_command
from volano.core.errors import DataError, RunFailed
from volano.core.records import Message
from volano.core.responder import Response
from volano.text.judged import judge_texts, score_in


@contextmanager
def scripted(answer):
    """A server whose `answer(body, headers)` gives a status and a text or a value of JSON."""
    asked, lock = [], threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                asked.append((self.path, body, dict(self.headers)))
                status, value, *headers = answer(body, len(asked))
            data = json.dumps(said(value) if isinstance(value, str) else value).encode()
            self.send_response(status)
            for name, text in headers:
                self.send_header(name, text)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        server.server_close()


def said(text):
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {"choices": [choice], "usage": {"completion_tokens": 3}}


def question(text):
    return (Message("user", text),)


def test_answers_are_in_order_and_the_key_goes_along():
    with scripted(lambda body, n: (200, body["messages"][0]["content"].upper())) as (url, asked):
        found = OpenAIResponder(url, "m", key="secret").respond(
            [question(f"q{n}") for n in range(30)], max_tokens=7, temperature=0.5, seed=3
        )
    assert [each.text for each in found] == [f"Q{n}" for n in range(30)]
    assert found[0] == Response("Q0", 3, True)
    path, body, headers = asked[0]
    assert (path, headers["Authorization"]) == ("/v1/chat/completions", "Bearer secret")
    assert (body["model"], body["max_tokens"], body["temperature"], body["seed"]) == (
        "m",
        7,
        0.5,
        3,
    )


def test_no_more_are_asked_at_once_than_allowed():
    inside, most, lock = [0], [0], threading.Lock()
    barrier = threading.Barrier(3)

    class Counting(OpenAIResponder):
        def _send(self, body):
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            barrier.wait(10)  # three must be under way before any goes on
            with lock:
                inside[0] -= 1
            return json.dumps(said("yes")).encode()

    Counting("http://nowhere/v1", "m", concurrency=3).respond([question("q")] * 12, max_tokens=1)
    assert most == [3]


def test_what_passes_is_tried_again_with_longer_waits_and_as_long_as_the_server_says():
    waits = []
    script = {1: (429, {}, ("Retry-After", "9")), 2: (503, {}), 3: (200, {"not": "an answer"})}
    with scripted(lambda body, n: script.get(n, (200, "done"))) as (url, asked):
        responder = OpenAIResponder(url, "m", sleep=waits.append)
        with pytest.raises(DataError, match="not an answer of the chat protocol"):
            responder.respond([question("q")], max_tokens=1)
    assert len(asked) == 3
    assert waits[0] == 9
    assert 0.75 <= waits[1] <= 1.25


def test_a_refusal_is_told_at_once_and_a_dead_server_after_all_attempts():
    with scripted(lambda body, n: (401, {"error": {"message": "no such key"}})) as (url, asked):
        with pytest.raises(DataError, match=r"401: no such key.*--key-variable"):
            OpenAIResponder(url, "m").respond([question("q")], max_tokens=1)
        assert len(asked) == 1
    waits = []
    with pytest.raises(RunFailed, match="no answer after 6 attempts"):
        OpenAIResponder(url, "m", sleep=waits.append).respond([question("q")], max_tokens=1)
    assert len(waits) == 5
    assert (
        waits[4] >= 2.4 * waits[2]
    )  # four times as long, and each a quarter more or less by chance


def test_a_key_is_read_from_the_environment_and_shown_nowhere(monkeypatch):
    monkeypatch.setenv("SOME_KEY", " secret\n")
    assert key_from("SOME_KEY") == "secret"
    assert key_from("") is None
    assert "secret" not in repr(OpenAIResponder("http://host/v1", "m", key="secret"))
    with pytest.raises(DataError, match="no key in the environment variable ABSENT"):
        key_from("ABSENT")
    with pytest.raises(DataError, match="'localhost:1' is no address"):
        OpenAIResponder("localhost:1", "m")


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("It explains a lot.\nEducational score: 4", 4),
        ("educational SCORE:0.", 0),
        ("Educational score: 3, since it is clear. Educational score: 3", 3),
        ("Educational score: 5\n", 5),
        ("Educational score: 6", None),
        ("Educational score: -1", None),
        ("Educational score: 3.5", None),
        ("Educational score: 4/5", None),
        ("Educational score: three", None),
        ("Educational score:\n4", None),
        ("Educational score: 3 … or rather Educational score: 4", None),
        ("I give it 4 points.", None),
        ("Educational score: ３", None),
        ("", None),
    ],
)
def test_only_a_score_in_so_many_words_is_believed(answer, score):
    found = score_in(Response(answer, 0, ended=True))
    assert found.score == score
    assert bool(found.reason) == (score is None)


class Answering:
    """A Responder that fails at the given call."""

    def __init__(self, fails_at=None):
        self.asked, self.fails_at = [], fails_at

    def respond(self, prompts, *, max_tokens, **more):
        if len(self.asked) == self.fails_at:
            raise KeyboardInterrupt
        self.asked.append([each[0].content for each in prompts])
        return [Response(f"Educational score: {len(p) % 6}", 1, True) for p in self.asked[-1]]


def test_a_stopped_run_asks_only_for_what_is_missing(tmp_path):
    texts = [f"text {'x' * n}" for n in range(10)] + ["text x"]
    settings = {"named": "m", "at_once": 4}
    journal = tmp_path / "answers"
    with pytest.raises(KeyboardInterrupt):
        judge_texts(texts, Answering(fails_at=1), "{text}", journal, **settings)
    with journal.open("ab") as stream:
        stream.write(b'{"key": "half a li')  # as a kill leaves it
    second, counted = Answering(), []
    found = judge_texts(texts, second, "{text}", journal, **settings, advance=counted.append)
    assert [each.score for each in found] == [len(text) % 6 for text in texts]
    assert [len(part) for part in second.asked] == [4, 2]
    assert sum(counted) == 11
    third = Answering()
    assert judge_texts(texts, third, "{text}", journal, **settings) == found
    assert third.asked == []
    judge_texts(texts, third, "{text}", journal, named="another model", at_once=4)
    assert sum(map(len, third.asked)) == 10


def test_from_documents_to_a_classifier_of_their_scores(tmp_path, capsys):
    rows = [{"text": f"{'lesson' if n % 2 else 'advert'} number {n}"} for n in range(200)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "prompt.txt").write_text("How good?\n{text}")

    def answer(body, n):
        shown = body["messages"][0]["content"]
        if "number 7" in shown:
            return 200, "I cannot say."
        return 200, f"Educational score: {4 if 'lesson' in shown else 1}"

    out = tmp_path / "labelled.jsonl"
    with scripted(answer) as (url, asked):
        command = ["classifier", "label", str(tmp_path / "in.jsonl"), "--endpoint", url]
        command += ["--prompt", str(tmp_path / "prompt.txt"), "--model", "m", "--out", str(out)]
        assert run_command(command) == 0
        first = len(asked)
        assert "189 rows with a score" in capsys.readouterr().out
        assert run_command([*command, "--json"]) == 0
        assert len(asked) == first == 200
    unparsed = [json.loads(x) for x in (tmp_path / "labelled.unparsed.jsonl").open()]
    assert len(unparsed) == 11  # 7, and 70 to 79
    assert unparsed[0]["answer"] == "I cannot say."
    assert unparsed[0]["where"] == "in.jsonl:8"
    labelled = [json.loads(line) for line in out.open()]
    assert {(row["score"], row["label"]) for row in labelled} == {(4, "wanted"), (1, "unwanted")}
    told = json.loads(capsys.readouterr().out)
    assert (told["rows"], told["unparsed"], told["scores"]["4"]) == (189, 11, 94)
    train = ["classifier", "train", str(out), "--out", str(tmp_path / "w"), "--bucket-bits", "10"]
    assert run_command(train) == 0
    assert "accuracy 1.000" in capsys.readouterr().out


def test_mistakes_of_a_user_are_one_line(tmp_path, capsys):
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "prompt.txt").write_text("How good?")
    command = ["classifier", "label", str(tmp_path / "in.jsonl"), "--model", "m"]
    command += ["--prompt", str(tmp_path / "prompt.txt"), "--out", str(tmp_path / "out")]
    assert run_command([*command, "--endpoint", "http://127.0.0.1:9/v1"]) == 2
    assert "no {text} in the prompt" in capsys.readouterr().err
    (tmp_path / "prompt.txt").write_text("How good? {text}")
    assert run_command([*command, "--endpoint", "ftp://x"]) == 2
    assert "'ftp://x' is no address" in capsys.readouterr().err
