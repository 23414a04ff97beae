"""Logs of any application become feedback: our own exports, and OpenAI-style pairs.

A line is one of

    {"request_id", "checkpoint", "messages", "answer", …, "events": [{"kind", …}, …]}   our export
    {"request": {"model", "messages", …}, "response": {"id", "choices": [{"message"}]}}
    {"messages": [… , {"role": "assistant", "content": the answer}]}

and the last two may carry a judgement: rating (1–5 stars of helpful), helpful, harmless, honest,
thumb, edit, comment; and who, consent, time. A line without an id is known by its content, so that
a log that is read twice adds nothing. Nor does a redacted export of what is there unredacted;
elsewhere its people stay under the pseudonyms that it has for them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from volano.core.errors import DataError
from volano.core.feedback import AXES, Event, Exchange
from volano.core.files import json_digest
from volano.core.jsonlines import (
    EXCERPT_CHARACTERS,
    BadLine,
    Problem,
    json_object,
    list_files,
    read_lines,
)
from volano.feedback.database import (
    Added,
    Database,
    ErasedId,
    OtherQuestion,
    TakenId,
    UnknownRequest,
)
from volano.feedback.events import (
    BadField,
    read_event,
    read_exchange,
    read_time,
)
from volano.feedback.known import not_redacted
from volano.feedback.redaction import marked

W = TypeVar("W", Exchange, Event)
BATCH_LINES = 200  # in one transaction
NOT_STATED = "not stated"
JUDGEMENTS = ("rating", *AXES, "thumb", "edit", "comment")
THUMBS = {"up": "up", "down": "down", "1": "up", "-1": "down", "True": "up", "False": "down"}
SETTINGS = ("temperature", "top_p", "seed", "max_tokens", "max_completion_tokens", "stop")


@dataclass
class Imported:
    """What an import did. `known` lines were there already, `erased` ones are not brought back."""

    lines: int = 0
    exchanges: int = 0
    events: int = 0
    known: int = 0
    erased: int = 0
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class _Line:
    where: str
    excerpt: str
    exchange: Exchange | None
    events: tuple[Event, ...]


def import_logs(
    database: Database,
    patterns: Sequence[str],
    advance: Callable[[int], None] = lambda lines: None,
) -> Imported:
    """Read the files that paths and globs name. A bad line is counted and named; DataError is
    raised where a file is absent, or where not one line was of use. `advance` is told how many
    more lines are on disk."""
    result = Imported()
    batch: list[_Line] = []
    read = 0
    comparisons: list[_Line] = []  # their other exchange may stand further down
    for entry in list_files(patterns).entries:
        for line in _read(entry.path, result):
            read += 1
            now, later = _split(line)
            batch.append(now)
            comparisons += later
            if len(batch) == BATCH_LINES:
                _keep(database, batch, result)
                advance(len(batch))
                batch = []
    _keep(database, batch, result)
    advance(len(batch))
    for start in range(0, len(comparisons), BATCH_LINES):
        _keep(database, comparisons[start : start + BATCH_LINES], result)
    if not (result.exchanges or result.events or result.known or result.erased):
        first = f" (first: {result.problems[0].reason})" if result.problems else ""
        what, remedy = f"no line is an exchange{first}", "Give one JSON object per line."
        if read:
            what, remedy = (
                f"no line could be kept{first}",
                "Feedback is never changed: see its ids.",
            )
        raise DataError(what, ", ".join(patterns), remedy)
    return result


def count_lines(patterns: Sequence[str]) -> int:
    """How many lines the files have. Raises DataError where one is absent."""
    return sum(1 for entry in list_files(patterns).entries for _ in read_lines(entry.path, ""))


def line_of(value: dict[str, Any], source: str) -> tuple[Exchange, tuple[Event, ...]]:
    """The exchange and the events of one line. Raises BadLine or BadField."""
    if "answer" in value and "messages" in value:
        return _own_export(value, source)
    if "request" in value or "response" in value:
        given = _pair(value)
    elif "messages" in value:
        given = _flat(value)
    else:
        raise BadLine("lacks `messages`, and `request` with `response`")
    given |= {name: value[name] for name in ("who", "consent") if value.get(name) is not None}
    time = read_time({"time": _time(value.get("time") or value.get("created"))}, "line")
    content = {name: given[name] for name in ("messages", "answer", "checkpoint")}
    given.setdefault("request_id", f"log:{json_digest(content)[:32]}")
    given["request_id"] = str(value.get("request_id") or given["request_id"])
    exchange = read_exchange(given, "line", source=source, time=time)
    judgement = _judgement(value)
    if not judgement:
        return exchange, ()
    said = {"request_id": exchange.request_id, **judgement}
    said |= {name: given[name] for name in ("who", "consent") if name in given}
    said["id"] = f"log:{json_digest(said)[:32]}"
    event, _ = read_event({**said, "time": time}, "line", source=source)
    return exchange, (event,)


def _read(path: Path, result: Imported) -> Iterator[_Line]:
    for where, line in read_lines(path, path.name):
        result.lines += 1
        excerpt = line.decode("utf-8", "replace") if isinstance(line, bytes) else ""
        excerpt = excerpt[:EXCERPT_CHARACTERS]
        try:
            if isinstance(line, BadLine):
                raise line
            exchange, events = line_of(json_object(line), path.name)
            yield _Line(where, excerpt, exchange, events)
        except (BadLine, BadField) as failure:
            reason = failure.what if isinstance(failure, BadField) else str(failure)
            named = f"{failure.field}: " if isinstance(failure, BadField) else ""
            result.problems.append(Problem(where, f"{named}{reason}", excerpt))


def _split(line: _Line) -> tuple[_Line, list[_Line]]:
    later = tuple(event for event in line.events if event.other_request_id is not None)
    if not later:
        return line, []
    now = tuple(event for event in line.events if event.other_request_id is None)
    return replace(line, events=now), [replace(line, exchange=None, events=later)]


def _keep(database: Database, batch: list[_Line], result: Imported) -> None:
    if not batch:
        return
    try:
        added = _add(database, batch)
    except (TakenId, ErasedId, UnknownRequest, OtherQuestion) as problem:
        if len(batch) > 1:  # the others of its transaction are good: find the one that is not
            for line in batch:
                _keep(database, [line], result)
        elif isinstance(problem, ErasedId):
            result.erased += 1
        elif isinstance(problem, TakenId) and (rest := _rest(database, batch[0])) != batch[0]:
            result.known += len(_exchanges(batch)) - len(_exchanges([rest]))
            if rest.exchange is not None or rest.events:
                _keep(database, [rest], result)
        else:
            result.problems.append(Problem(batch[0].where, problem.what, batch[0].excerpt))
        return
    result.exchanges += added.exchanges
    result.events += added.events
    result.known += len(_exchanges(batch)) - added.exchanges


def _rest(database: Database, line: _Line) -> _Line:
    exchange, events = not_redacted(database, line.exchange, line.events)
    return replace(line, exchange=exchange, events=events)


def _add(database: Database, batch: list[_Line]) -> Added:
    return database.add(_exchanges(batch), [event for line in batch for event in line.events])


def _exchanges(batch: list[_Line]) -> list[Exchange]:
    return [line.exchange for line in batch if line.exchange is not None]


def _own_export(value: dict[str, Any], source: str) -> tuple[Exchange, tuple[Event, ...]]:
    if not isinstance(value.get("request_id"), str):
        raise BadLine("lacks `request_id`")
    own_source = value.get("source")
    source = own_source if isinstance(own_source, str) else source
    exchange = _marked(read_exchange(value, "line", source=source, time=read_time(value, "line")))
    listed = value.get("events", [])
    if not isinstance(listed, list):
        raise BadLine("`events` is no list")
    events = []
    for each in listed:
        if not isinstance(each, dict) or "id" not in each:
            raise BadLine("an event without `id`")
        about = {"request_id": exchange.request_id, **each}
        events.append(_marked(read_event(about, "line", source=source)[0]))
    return exchange, tuple(events)


def _marked(what: W) -> W:
    return what if what.who is None else replace(what, who=marked(what.who))


def _pair(value: dict[str, Any]) -> dict[str, Any]:
    request, response = value.get("request"), value.get("response")
    if not isinstance(request, dict) or not isinstance(response, dict):
        raise BadLine("`request` and `response` are not two objects")
    choices = response.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise BadLine("the response has no `choices`")
    message = choices[0].get("message")
    answer = _content(message, "the answer") if isinstance(message, dict) else None
    if answer is None:
        raise BadLine("the first choice has no `message`")
    given = {
        "messages": _messages(request.get("messages")),
        "answer": answer,
        "checkpoint": str(response.get("model") or request.get("model") or NOT_STATED),
        "ended": {"stop": True, "length": False}.get(str(choices[0].get("finish_reason"))),
        "settings": {name: request[name] for name in SETTINGS if request.get(name) is not None},
    }
    if response.get("id"):
        given["request_id"] = str(response["id"])
    if request.get("user"):
        given["who"] = str(request["user"])
    if value.get("time") is None and value.get("created") is None:
        value["created"] = response.get("created")
    return given


def _flat(value: dict[str, Any]) -> dict[str, Any]:
    messages = _messages(value["messages"])
    if not messages or messages[-1]["role"] != "assistant":
        raise BadLine("the last message is not the assistant's: there is no answer")
    given = {
        "messages": messages[:-1],
        "answer": messages[-1]["content"],
        "checkpoint": str(value.get("checkpoint") or value.get("model") or NOT_STATED),
    }
    if value.get("id"):
        given["request_id"] = str(value["id"])
    return given


def _messages(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise BadLine("no list of messages, each with role and content")
    messages: list[dict[str, Any]] = []
    for place, turn in enumerate(value):
        if not isinstance(turn, dict):
            raise BadLine(f"message {place} is no object")
        role = "system" if turn.get("role") == "developer" else turn.get("role")
        messages.append({"role": role, "content": _content(turn, f"message {place}")})
    return messages


def _content(turn: dict[str, Any], where: str) -> str:
    content = turn.get("content")
    if isinstance(content, list):  # parts, of which we read text alone
        if not all(isinstance(part, dict) and part.get("type") == "text" for part in content):
            raise BadLine(f"{where} has parts that are not text")
        content = "".join(str(part.get("text", "")) for part in content)
    if not isinstance(content, str):
        raise BadLine(f"{where}: content is not text")
    return content


def _judgement(value: dict[str, Any]) -> dict[str, Any]:
    found = {name: value[name] for name in JUDGEMENTS if value.get(name) is not None}
    if "rating" in found:
        found.setdefault("helpful", found["rating"])
        del found["rating"]
    if "thumb" in found:
        found["thumb"] = THUMBS.get(str(found["thumb"]), str(found["thumb"]))
    kinds = [("rating", AXES), ("edit", ("edit",)), ("thumb", ("thumb",)), ("flag", ("comment",))]
    for kind, names in kinds:
        if any(name in found for name in names):
            return {"kind": kind, **found}
    return {}


def _time(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(value, UTC).isoformat()
        except (ValueError, OverflowError, OSError):
            raise BadLine(f"{value} is no time") from None
    return value
