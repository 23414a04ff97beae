"""Exchanges and events, short to write."""

from dataclasses import replace

from volano.core.feedback import Event, Exchange
from volano.core.records import Message

TIME = "2026-01-31T12:00:00.000+00:00"


def exchange(request_id="r1", answer="4", **values):
    messages = (Message("user", values.pop("prompt", "2 + 2?")),)
    values = {"checkpoint": "checkpoint/a-1", "time": TIME, "source": "chat"} | values
    return Exchange(request_id=request_id, messages=messages, answer=answer, **values)


def following(earlier, request_id, prompt="and now?", answer="5", **values):
    """The next question of the conversation, as a chat sends it: with all that was said before."""
    said = (*earlier.messages, Message("assistant", earlier.answer), Message("user", prompt))
    return replace(exchange(request_id, answer, **values), messages=said)


def event(event_id="e1", request_id="r1", kind="rating", **values):
    if kind == "rating" and not values.keys() & {"helpful", "harmless", "honest"}:
        values["helpful"] = 4
    return Event(event_id, request_id, kind, **{"time": TIME, "source": "chat"} | values)
