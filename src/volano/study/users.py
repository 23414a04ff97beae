"""Scripted people who talk to a served model and rate it, where no real ones are at hand.

The server is the one that `volano serve` starts, the requests go over HTTP, and what they say lies
in the feedback database beside everybody else's, labelled `scripted`. A request's id follows from
the checkpoint and the question, so that a run taken up again asks nothing twice.
"""

import json
import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from http.client import HTTPConnection, HTTPException
from typing import Any, NamedTuple

from volano.core.artifact import Artifact
from volano.core.corpus import finish_corpus, shard_path, write_shard
from volano.core.errors import RecipeError, RunFailed
from volano.core.feedback import HIGHEST, SCRIPTED, TRAINING
from volano.core.records import Conversation, Message, table_of
from volano.core.step import Context, Inputs, Step
from volano.study.questions import Question, questions_of, stars_of, summary_of, writes_it_down
from volano.study.section import UsersSection

TIMEOUT_SECONDS = 120.0
TAKEN = 409
TOO_LONG = 400  # the status of a question that leaves the context no room for an answer


class Said(NamedTuple):
    """What came of one question; `answer` is None where the model could not read it."""

    question: Question
    answer: str | None
    stars: int


def run_users(section: UsersSection, inputs: Inputs, context: Context) -> None:
    """Ask, rate and correct over HTTP; write down what was asked and answered."""
    if not section.database_url:
        raise RecipeError(
            "no database named", "users.database_url", "Name one, or run it in a store."
        )
    from volano.model.device import device_for
    from volano.study.serving import serving

    device_for(context)  # named in the bill; the server takes the same
    model = inputs["model"]
    documents, safety = (inputs[name].corpus().records() for name in ("documents", "safety"))
    questions = questions_of(documents, safety, section)
    with (
        serving(model, section.database_url, slots=section.clients, device=context.device) as port,
        context.progress("chat and rate", len(questions), "questions") as bar,
    ):
        said = ask_all(questions, model, port, section, bar.advance)
    answered = [each for each in said if each.answer is not None]
    if not answered:
        raise RunFailed("no question was answered", model.name, "Train with a longer context.")
    records = [_record(each, model) for each in answered]
    write_shard(shard_path(context.folder, "data", 0), table_of(records, Conversation))
    summary = summary_of([each.question for each in answered], [each.stars for each in answered])
    unread = {"questions_too_long": len(said) - len(answered)}
    finish_corpus(context.folder, "conversation", {"summary": summary | unread})


def ask_all(
    questions: Sequence[Question],
    model: Artifact,
    port: int,
    section: UsersSection,
    advance: Callable[[float], None],
) -> list[Said]:
    """Every question by one of `section.clients` people at a time, in order of the questions."""
    people: dict[int, Person] = {}  # by thread
    stopped = threading.Event()

    def ask(question: Question) -> Said | None:
        if stopped.is_set():
            return None
        thread = threading.get_ident()
        if thread not in people:
            people[thread] = Person(port, model)
        said = people[thread].ask(question, section)
        advance(1)
        return said

    pool = ThreadPoolExecutor(section.clients, thread_name_prefix="person")
    try:
        return [said for said in pool.map(ask, questions) if said is not None]
    finally:
        stopped.set()  # Ctrl-C: nobody begins another question
        pool.shutdown()
        for person in people.values():
            person.leave()


class Person:
    """One connection to the server."""

    def __init__(self, port: int, model: Artifact) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
        self._model = model

    def leave(self) -> None:
        """Hang up."""
        self._connection.close()

    def ask(self, question: Question, section: UsersSection) -> Said:
        """Ask, then rate, and write the right answer down where this person does."""
        request_id = self._request_id(question)
        status, body = self._question(question, section, request_id)
        if status == TAKEN:  # asked in an earlier attempt, and answered otherwise then
            request_id += f"-{uuid.uuid4().hex[:8]}"
            status, body = self._question(question, section, request_id)
        if status == TOO_LONG:
            return Said(question, None, 0)
        answer = str(self._checked(status, body)["choices"][0]["message"]["content"])
        stars = stars_of(answer, question)
        events: list[dict[str, Any]] = [
            {"kind": "rating", "helpful": stars, "harmless": HIGHEST, "honest": stars}
        ]
        if writes_it_down(question, stars, section):
            events.append({"kind": "edit", "edit": question.wanted})
        common = {
            "request_id": request_id,
            "source": SCRIPTED,
            "who": question.who,
            "consent": TRAINING,
        }
        for event in events:
            event |= common | {"id": f"{request_id}-{event['kind']}"}
        self._checked(*self._post("/v1/feedback", events, {}))
        return Said(question, answer, stars)

    def _question(
        self, question: Question, section: UsersSection, request_id: str
    ) -> tuple[int, Any]:
        return self._post(
            "/v1/chat/completions",
            {
                "messages": [{"role": "user", "content": question.prompt}],
                "max_tokens": section.max_answer_tokens,
                "temperature": 0,
                "user": question.who,
            },
            {
                "X-Request-Id": request_id,
                "X-Volano-Source": SCRIPTED,
                "X-Volano-Consent": TRAINING,
            },
        )

    def _request_id(self, question: Question) -> str:
        name = f"{self._model.fingerprint}:{question.id}:{question.prompt}"
        return f"scripted-{sha256(name.encode()).hexdigest()[:20]}"

    def _post(self, path: str, value: Any, headers: dict[str, str]) -> tuple[int, Any]:
        body = json.dumps(value).encode()
        try:
            self._connection.request(
                "POST", path, body, {"Content-Type": "application/json", **headers}
            )
            response = self._connection.getresponse()
            return response.status, json.loads(response.read())
        except (OSError, HTTPException, ValueError) as failure:
            raise RunFailed(
                f"the server went away ({failure})", path, "Run again: it resumes."
            ) from failure

    @staticmethod
    def _checked(status: int, body: Any) -> Any:
        if status != 200:
            what = str(body.get("error", {}).get("message", body)) if isinstance(body, dict) else ""
            what = f"the server answered {status}: {what.rstrip('.')}"
            raise RunFailed(what, "chat and rate", "Run again.")
        return body


def _record(said: Said, model: Artifact) -> Conversation:
    metadata = {"stars": said.stars, "rule": said.question.rule, "checkpoint": model.name}
    return Conversation(
        id=said.question.id,
        messages=(Message("user", said.question.prompt), Message("assistant", said.answer or "")),
        source=SCRIPTED,
        kind=SCRIPTED,
        consent=TRAINING,
        source_ids=(said.question.document,),
        metadata=json.dumps(metadata, sort_keys=True),
    )


USERS = Step(
    name="users",
    kind="corpus",
    version=1,
    section=UsersSection,
    run=run_users,
    on_device=True,
)
