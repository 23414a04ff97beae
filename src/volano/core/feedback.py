"""What people say of a model's answers: exchanges, and events that are only ever added.

An exchange is one request with the answer that a checkpoint gave; an event is what somebody thought
of it. Both are kept whole where they arise (the `feedback` room has the database); what leaves for
training has had its personal data taken out, and only where the person agreed (`TRAINING`).

Nothing here knows of a server or a database: serving writes through a `Recorder`, and an event that
becomes data is a `Rating` (records), whose `source_ids` name the event as `feedback:EVENT`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from volano.core.errors import DataError, did_you_mean
from volano.core.records import Message, Rating

DATABASE_FILE = "feedback.sqlite"
AXES = ("helpful", "harmless", "honest")
LOWEST, HIGHEST = 1, 5  # stars of each axis
TRAINING = "training"  # the consent under which an event may become training data
SCRIPTED = "scripted"  # the source of what a program said, and no person
NO_CONSENT = "none"  # asked, and not given or taken back; where nobody asked there is no consent
CONSENTS = (TRAINING, NO_CONSENT)
FEEDBACK = "feedback:"  # begins the source id of a record that was made of an event
EDIT = "edit"  # the kind of a conversation whose last answer a person has corrected
THUMBS = ("up", "down")
CHOICES = ("this", "other", "tie")
Kind = Literal["rating", "thumb", "edit", "choice", "flag"]
KINDS: tuple[Kind, ...] = ("rating", "thumb", "edit", "choice", "flag")


@dataclass(frozen=True)
class Exchange:
    """One request and its answer. `checkpoint` is the artifact's path in its store, or whatever an
    application calls its model; `source` is chat, api, scripted or the name of an imported log."""

    request_id: str
    checkpoint: str
    messages: tuple[Message, ...]  # what was asked, without the answer
    answer: str
    time: str  # UTC, ISO 8601
    source: str
    ended: bool | None = None  # None: not known
    who: str | None = None  # a pseudonym
    consent: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)  # temperature, seed, max_tokens …


@dataclass(frozen=True)
class Event:
    """One judgement of one exchange; which of the values are set depends on `kind`.

    rating: stars on any of the three axes. thumb: up or down. edit: the answer as it should be.
    choice: of two blind answers to the same messages, `this` one, the `other_request_id` one or a
    tie, and which of the two the server had `shown_first`. flag: something else, in `comment`.
    """

    id: str
    request_id: str
    kind: Kind
    time: str
    source: str
    helpful: int | None = None
    harmless: int | None = None
    honest: int | None = None
    thumb: str | None = None
    edit: str | None = None
    choice: str | None = None
    other_request_id: str | None = None
    shown_first: str | None = None
    comment: str | None = None
    who: str | None = None
    consent: str | None = None


def from_the_other_side(comparison: Rating) -> Rating | None:
    """A comparison as a judgement of the other answer; None where the record does not hold one."""
    metadata = json.loads(comparison.metadata)
    if comparison.choice is None or metadata.get("other_request_id") is None:
        return None
    *asked, answer = comparison.messages
    told = {"ended": metadata.get("other_ended")}  # the settings are the first answer's alone
    told |= {
        name: metadata[name] for name in ("kind", "comment", "shown_first") if name in metadata
    }
    told |= {
        "other_request_id": comparison.request_id,
        "other_checkpoint": comparison.checkpoint,
        "other_answer": answer.content,
        "other_ended": metadata.get("ended"),
    }
    return replace(
        comparison,
        request_id=metadata["other_request_id"],
        checkpoint=metadata["other_checkpoint"],
        messages=(*asked, Message(answer.role, metadata["other_answer"])),
        choice={"this": "other", "other": "this"}.get(comparison.choice, comparison.choice),
        metadata=json.dumps(told, sort_keys=True, ensure_ascii=False),
    )


def default_database(store: Path) -> str:
    """Where the feedback of a store lies unless a recipe or a flag says otherwise: a URL."""
    return f"sqlite:///{store.absolute() / DATABASE_FILE}"


class Recorder(Protocol):
    """Where serving leaves its exchanges; returns once they are on disk."""

    def record(self, exchanges: Sequence[Exchange]) -> None:
        """Keep the exchanges. Raises DataError where a request id is taken by another exchange."""
        ...


def check_event(event: Event, where: str) -> Event:
    """The event, if it says something and nothing out of range. Raises DataError otherwise."""
    if event.kind not in KINDS:
        raise DataError(
            f"unknown kind of feedback '{event.kind}'", where, did_you_mean(event.kind, KINDS)
        )
    for axis in AXES:
        stars = getattr(event, axis)
        if stars is not None and not LOWEST <= stars <= HIGHEST:
            remedy = f"Give {LOWEST} to {HIGHEST} stars."
            raise DataError(f"{axis} is {stars}, out of range", where, remedy)
    for name, known in (("thumb", THUMBS), ("choice", CHOICES), ("consent", CONSENTS)):
        value = getattr(event, name)
        if value is not None and value not in known:
            raise DataError(f"{name} is '{value}'", where, did_you_mean(value, known))
    if event.other_request_id == event.request_id:
        remedy = "Name the id of the answer that it was compared with."
        raise DataError("other_request_id is the answer's own id", where, remedy)
    if event.shown_first not in (None, event.request_id, event.other_request_id):
        remedy = "Name request_id or other_request_id."
        raise DataError("shown_first is neither of the two answers", where, remedy)
    said = {
        "rating": any(getattr(event, axis) is not None for axis in AXES),
        "thumb": event.thumb is not None,
        "edit": bool(event.edit and event.edit.strip()),
        "choice": event.choice is not None and event.other_request_id is not None,
        "flag": bool(event.comment and event.comment.strip()),
    }
    if not said[event.kind]:
        needs = {
            "rating": f"one of {', '.join(AXES)}",
            "thumb": "thumb",
            "edit": "edit, the answer as it should be",
            "choice": "choice and other_request_id",
            "flag": "comment",
        }
        article = "an" if event.kind[0] in "aeiou" else "a"
        raise DataError(
            f"{article} {event.kind} that says nothing", where, f"Set {needs[event.kind]}."
        )
    return event
