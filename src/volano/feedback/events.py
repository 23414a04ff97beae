"""Events as applications send them: JSON with the fields of an Event, every value checked.

    {"request_id": "…", "helpful": 4, "comment": "…", "who": "user-7", "consent": "training"}

An application that keeps its own exchanges sends `messages`, `answer` and `checkpoint` along, and
the exchange is recorded with the event.
"""

import re
import uuid
from collections.abc import Mapping
from typing import Any

from volano.core.errors import DataError, did_you_mean
from volano.core.feedback import AXES, CONSENTS, KINDS, Event, Exchange, check_event
from volano.core.half_character import HALF_CHARACTER, REMEDY, half_character
from volano.core.jsonlines import BadLine, messages_of
from volano.core.records import Message
from volano.feedback.rows import now, utc_time

# No spaces, no @: an id is kept where texts are erased.
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,199}")
MAX_WHO_CHARACTERS = 200
MOST_LEVELS = 8  # of settings inside settings
TEXTS = ("thumb", "edit", "choice", "comment", "source")
IDS = ("id", "request_id", "other_request_id", "shown_first")
EVENT_FIELDS = (*IDS, "kind", "time", *AXES, *TEXTS, "who", "consent")
EXCHANGE_FIELDS = ("messages", "answer", "checkpoint", "ended", "settings")
# Which value makes an event of which kind, where the application names none.
TELLING = {**dict.fromkeys(AXES, "rating"), "thumb": "thumb", "edit": "edit", "choice": "choice"}


class BadField(DataError):
    """One value of an event is not what it should be. `field` is its name."""

    def __init__(self, what: str, where: str, remedy: str, field: str = "") -> None:
        super().__init__(what, where, remedy)
        self.field = field or where.rpartition(".")[2]


class UnknownField(BadField):
    """A field that no event has."""


class HalfCharacter(BadField):
    """A text that no database keeps as it is."""


def read_event(value: object, where: str, *, source: str) -> tuple[Event, Exchange | None]:
    """The event of a JSON value, and its exchange where the value brings one.

    Raises BadField with the name of the field; `where` says which of several events it is.
    """
    if not isinstance(value, dict):
        raise BadField(f"a JSON {_kind_of(value)} instead of an object", where, "Send an object.")
    half = half_character(value)
    if half is not None:
        raise HalfCharacter(HALF_CHARACTER, f"{where}.{half}", REMEDY, half)
    for name in value:
        if name not in EVENT_FIELDS and name not in EXCHANGE_FIELDS:
            remedy = did_you_mean(name, [*EVENT_FIELDS, *EXCHANGE_FIELDS])
            raise UnknownField(f"unknown field '{name}'", where, remedy, name)
    given = {name: each for name, each in value.items() if each is not None}
    if "request_id" not in given:
        remedy = "Send the id that came with the answer."
        raise BadField("value missing", f"{where}.request_id", remedy)
    read: dict[str, Any] = {name: read_id(given, name, where) for name in IDS if name in given}
    for name in AXES:
        if name in given:
            read[name] = _stars(given[name], f"{where}.{name}")
    for name in (*TEXTS, "kind"):
        if name in given:
            read[name] = read_text(given, name, where)
    read |= read_person(given, where)
    read.setdefault("id", uuid.uuid4().hex)
    read["time"] = read_time(given, where)
    read.setdefault("source", source)
    read.setdefault("kind", _kind(read))
    event = Event(**read)
    try:
        check_event(event, where)
    except DataError as problem:
        raise BadField(problem.what, where, problem.remedy, _blamed(event)) from None
    exchange = None
    if any(name in given for name in EXCHANGE_FIELDS):
        exchange = read_exchange(given, where, source=event.source, time=event.time)
    return event, exchange


def read_exchange(given: Mapping[str, Any], where: str, *, source: str, time: str) -> Exchange:
    """The exchange that an application sends along. Raises BadField."""
    for name in ("messages", "answer", "checkpoint"):
        if name not in given:
            remedy = "An exchange has messages, answer and checkpoint."
            raise BadField("value missing", f"{where}.{name}", remedy)
    ended, settings = given.get("ended"), given.get("settings", {})
    if not isinstance(ended, bool | None):
        raise BadField("neither true nor false", f"{where}.ended", "Leave it out if unknown.")
    if not isinstance(settings, dict):
        raise BadField("not an object", f"{where}.settings", "Send names and values.")
    if _is_deeper(settings, MOST_LEVELS):
        what = f"more than {MOST_LEVELS} levels"
        raise BadField(what, f"{where}.settings", "Send names and values.")
    return Exchange(
        request_id=read_id(given, "request_id", where),
        checkpoint=read_text(given, "checkpoint", where),
        messages=read_messages(given["messages"], f"{where}.messages"),
        answer=read_text(given, "answer", where),
        time=time,
        source=source,
        ended=ended,
        settings=settings,
        **read_person(given, where),
    )


def read_messages(value: object, where: str) -> tuple[Message, ...]:
    """Messages with role and content. Raises BadField."""
    try:
        return messages_of(value)
    except BadLine as problem:
        remedy = "Send a list of objects, each with role and content."
        raise BadField(str(problem), where, remedy) from None


def read_person(given: Mapping[str, Any], where: str) -> dict[str, str]:
    """Who, and what they agree to, of those that are given. Raises BadField."""
    read = {name: read_text(given, name, where) for name in ("who", "consent") if given.get(name)}
    for name, text in read.items():
        if len(text) > MAX_WHO_CHARACTERS:
            remedy = f"At most {MAX_WHO_CHARACTERS} characters."
            raise BadField(f"{len(text):,} characters", f"{where}.{name}", remedy)
    return read


def read_time(given: Mapping[str, Any], where: str) -> str:
    """The time that is given, or now. Raises BadField."""
    if given.get("time") is None:
        return now()
    try:
        return utc_time(given["time"], f"{where}.time")
    except DataError as problem:
        raise BadField(problem.what, problem.where, problem.remedy) from None


def _is_deeper(value: dict[str, Any], levels: int) -> bool:
    layer: list[dict[str, Any] | list[Any]] = [value]
    for _ in range(levels):
        inside = [each.values() if isinstance(each, dict) else each for each in layer]
        layer = [part for each in inside for part in each if isinstance(part, dict | list)]
    return bool(layer)


def read_id(given: Mapping[str, Any], name: str, where: str) -> str:
    """An id. Raises BadField where it is none."""
    value = given[name]
    if not isinstance(value, str) or not ID.fullmatch(value):
        remedy = "An id has 1 to 200 letters, digits and . _ : / + = -"
        raise BadField(f"{_excerpt(value)} is no id", f"{where}.{name}", remedy)
    return value


def read_text(given: Mapping[str, Any], name: str, where: str) -> str:
    """A text. Raises BadField where it is none."""
    value = given[name]
    if not isinstance(value, str):
        raise BadField(f"a JSON {_kind_of(value)}", f"{where}.{name}", "Send text.")
    return value


def _stars(value: object, where: str) -> int:
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not isinstance(value, int | float) or not whole:
        raise BadField(f"{_excerpt(value)} is no whole number", where, "Give 1 to 5 stars.")
    return int(value)


def _kind(read: Mapping[str, Any]) -> str:
    found = {kind for name, kind in TELLING.items() if name in read}
    if len(found) == 1:
        return found.pop()
    return "flag" if not found else KINDS[0]


def _blamed(event: Event) -> str:
    # The field that check_event complains of, for clients that mark it in a form.
    for axis in AXES:
        stars = getattr(event, axis)
        if stars is not None and not 1 <= stars <= 5:
            return axis
    if event.kind not in KINDS:
        return "kind"
    if event.consent not in (None, *CONSENTS):
        return "consent"
    if event.other_request_id == event.request_id:
        return "other_request_id"
    if event.shown_first not in (None, event.request_id, event.other_request_id):
        return "shown_first"
    for name in ("thumb", "choice"):
        if getattr(event, name) is not None:
            return name
    return {"rating": AXES[0], "flag": "comment"}.get(event.kind, event.kind)


def _kind_of(value: object) -> str:
    names = {"dict": "object", "list": "list", "str": "text", "bool": "truth value"}
    names |= {"int": "number", "float": "number", "NoneType": "null"}
    return names.get(type(value).__name__, type(value).__name__)


def _excerpt(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
