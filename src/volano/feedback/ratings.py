"""From an event to a Rating: who agreed, what is told of it, and no personal data in any text.

An event may become training data if its own consent says so, or where it has none, that of an
exchange of the same person. Two things stand above that: whoever has taken their consent back
since, on either side, is left out whole; and no rater can say yes for who wrote the exchange.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from volano.core.feedback import AXES, FEEDBACK, TRAINING, Event, Exchange
from volano.core.records import Message, Rating
from volano.feedback.database import Database
from volano.feedback.redaction import Redaction, pseudonym
from volano.feedback.selection import Selection

LICENCE = "user feedback"
SAID = (*AXES, "thumb", "edit")  # what of an answer may be said again; a comparison is made once


class Judged(NamedTuple):
    """An event with the exchange that it judges, and the other one of a comparison."""

    event: Event
    exchange: Exchange
    other: Exchange | None


def consenting(database: Database, selection: Selection) -> tuple[list[Judged], int]:
    """The events that may become training data and still stand, by id, and how many of the selected
    may not."""
    people = database.consents()
    judged, without_consent = [], 0
    for found in database.events(selection):
        each = Judged(*found)
        if may_train(each, people):
            judged.append(each)
        else:
            without_consent += 1
    return sorted(standing(judged), key=lambda each: each.event.id), without_consent


def standing(judged: Sequence[Judged]) -> list[Judged]:
    """Of events in the order of time, what still stands: whoever gives stars, a thumb or an edit
    again has taken back what they gave before. Without a name all of one answer is one person's."""
    said: dict[tuple[str, str | None], set[str]] = defaultdict(set)
    found = []
    for each in reversed(judged):
        event = each.event
        given = {name for name in SAID if getattr(event, name) is not None}
        taken_back = given & said[event.request_id, event.who]
        said[event.request_id, event.who] |= given
        if given and given == taken_back:
            continue
        nothing: dict[str, Any] = dict.fromkeys(taken_back)
        found.append(each._replace(event=replace(event, **nothing)))
    return found[::-1]


def may_train(judged: Judged, said: Mapping[str, str]) -> bool:
    """Whether the event may become training data; `said` is what each person said last."""
    event = judged.event
    exchanges = [each for each in (judged.exchange, judged.other) if each is not None]
    # An event without a name is by whoever wrote the exchange only where that has none either.
    mine = event.who == judged.exchange.who
    if (event.consent or (judged.exchange.consent if mine else None)) != TRAINING:
        return False
    for exchange in exchanges:
        if exchange.who == event.who:
            continue
        # Where nobody is named there is nobody to ask: an application's log says it for its users.
        if exchange.consent != TRAINING and (exchange.consent or exchange.who) is not None:
            return False
    people = [event.who, *(exchange.who for exchange in exchanges)]
    return all(said.get(who, TRAINING) == TRAINING for who in people if who is not None)


def rating_of(judged: Judged, redaction: Redaction) -> Rating:
    """The record of an event."""
    event, exchange, other = judged
    metadata: dict[str, Any] = {
        "kind": event.kind,
        "ended": exchange.ended,
        "settings": dict(exchange.settings),
    }
    optional: dict[str, Any] = {"comment": event.comment, "shown_first": event.shown_first}
    if other is not None:
        optional |= {
            "other_request_id": other.request_id,
            "other_checkpoint": other.checkpoint,
            "other_answer": other.answer,
            "other_ended": other.ended,
        }
    metadata |= {name: value for name, value in optional.items() if value is not None}
    return Rating(
        id=event.id,
        request_id=event.request_id,
        checkpoint=redaction.text(exchange.checkpoint),
        messages=tuple(
            Message(turn.role, redaction.text(turn.content))
            for turn in (*exchange.messages, Message("assistant", exchange.answer))
        ),
        source=redaction.text(event.source),
        helpful=event.helpful,
        harmless=event.harmless,
        honest=event.honest,
        thumb=event.thumb,
        choice=event.choice,
        edit=None if event.edit is None else redaction.text(event.edit),
        who=None if event.who is None else pseudonym(event.who),
        kind=event.kind,
        licence=LICENCE,
        consent=TRAINING,
        source_ids=(f"{FEEDBACK}{event.id}",),
        metadata=json.dumps(redaction.value(metadata), sort_keys=True, ensure_ascii=False),
    )
