"""Turns of a conversation: what was asked waits here until the browser opens the stream for it.

A turn is answered once. Its exchange is in the database before the last event of the stream, so
that whatever can be rated on the page can be rated.
"""

import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from fastapi.concurrency import run_in_threadpool

from volano.core.errors import VolanoError
from volano.core.feedback import Exchange
from volano.core.records import Message
from volano.core.responder import ChatModel
from volano.feedback.database import Database
from volano.feedback.rows import now
from volano.feedback.visitors import sentence

MOST_WAITING = 1000
WAITING_SECONDS = 300
FAILED = "The model could not answer. The server's log says why."
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Turn:
    """One question to one model, asked by one person. `show` makes the finished answer's HTML."""

    who: str
    model: ChatModel
    messages: tuple[Message, ...]
    show: Callable[[Exchange], str]
    max_tokens: int
    temperature: float
    request_id: str = field(default_factory=lambda: f"chat-{secrets.token_hex(12)}")
    seed: int = field(default_factory=lambda: secrets.randbelow(2**31))
    settings: dict[str, Any] = field(default_factory=dict)


class WaitingTurns:
    """Turns by a token that only the page knows; the oldest go when there are too many."""

    def __init__(self) -> None:
        self._turns: dict[str, tuple[float, Turn]] = {}

    def add(self, turn: Turn) -> str:
        """Keep the turn; its token."""
        limit = time.monotonic() - WAITING_SECONDS
        for token, (asked, _) in list(self._turns.items()):
            if asked >= limit and len(self._turns) < MOST_WAITING:
                break
            del self._turns[token]
        token = secrets.token_urlsafe(18)
        self._turns[token] = (time.monotonic(), turn)
        return token

    def take(self, token: str, who: str) -> Turn | None:
        """The turn of a token, once, and only for whoever asked."""
        _, turn = self._turns.get(token, (0.0, None))
        if turn is None or turn.who != who:
            return None
        del self._turns[token]
        return turn


async def answer(turn: Turn, database: Database) -> AsyncIterator[str]:
    """The turn's answer as server-sent events: `piece` …, then `done`, or `failed`."""
    pieces: list[str] = []
    ended: bool | None = None
    stream = turn.model.stream(
        turn.messages, max_tokens=turn.max_tokens, temperature=turn.temperature, seed=turn.seed
    )
    try:
        async for piece in stream:
            ended = piece.ended
            if piece.text:
                pieces.append(piece.text)
                yield _event("piece", piece.text)
        exchange = Exchange(
            request_id=turn.request_id,
            checkpoint=turn.model.checkpoint,
            messages=turn.messages,
            answer="".join(pieces),
            time=now(),
            source="chat",
            ended=ended,
            who=turn.who,
            consent=await run_in_threadpool(database.consent_of, turn.who),
            settings={
                "max_tokens": turn.max_tokens,
                "temperature": turn.temperature,
                "seed": turn.seed,
                **turn.settings,
            },
        )
        await run_in_threadpool(database.record, [exchange])
    except VolanoError as problem:
        log.warning("%s", problem)
        yield _event("failed", sentence(problem))
        return
    except Exception:
        log.exception("no answer to %s", turn.request_id)
        yield _event("failed", FAILED)
        return
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:  # the reader has gone: the model need not go on
            await close()
    yield _event("done", {"html": turn.show(exchange), "request_id": exchange.request_id})


def _event(name: str, value: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(value)}\n\n"
