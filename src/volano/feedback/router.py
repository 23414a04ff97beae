"""`POST /v1/feedback`: any application says what its users think of an answer.

One event or a list of them, all or none; the ids come back once they are on disk. Errors have the
form that OpenAI's clients read: {"error": {"message", "type", "param", "code"}}.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from volano.core.errors import DataError, VolanoError
from volano.core.feedback import Event, Exchange
from volano.feedback.connection import DatabaseUnavailable
from volano.feedback.database import (
    Database,
    ErasedId,
    OtherQuestion,
    TakenId,
    UnknownRequest,
)
from volano.feedback.events import BadField, HalfCharacter, UnknownField, read_event
from volano.page.security import is_of_another_origin

MAX_BODY_BYTES = 4_000_000
MAX_EVENTS = 1000


def feedback_router(database: Database, *, dependencies: Sequence[Any] = ()) -> APIRouter:
    """The route. `dependencies` are checks from outside, such as Depends(a check of the key)."""
    router = APIRouter(dependencies=list(dependencies))

    @router.post("/v1/feedback")
    async def feedback(request: Request) -> Response:
        try:
            _refuse_strangers(request)
            values = await _read_body(request)
            ids = await run_in_threadpool(_keep, database, values)
        except VolanoError as problem:
            return refusal(problem)
        return JSONResponse({"object": "list", "ids": ids})

    return router


def refusal(problem: VolanoError) -> JSONResponse:
    """An error as OpenAI's clients read it."""
    status, code = 500, "internal_error"
    for kind, its_status, its_code in _STATUSES:
        if isinstance(problem, kind):
            status, code = its_status, its_code
            break
    error = {
        "message": str(problem),
        "type": "invalid_request_error" if status < 500 else "server_error",
        "param": problem.field if isinstance(problem, BadField) else None,
        "code": code,
    }
    headers = {"Retry-After": "1"} if status == 503 else None
    return JSONResponse({"error": error}, status, headers)


class _TooLarge(DataError):
    pass


class _OtherOrigin(DataError):
    pass


# Of the first that fits: status, type, code.
_STATUSES: tuple[tuple[type[VolanoError], int, str], ...] = (
    (_TooLarge, 413, "too_large"),
    (_OtherOrigin, 403, "other_origin"),
    (OtherQuestion, 422, "invalid_value"),
    (UnknownRequest, 404, "request_not_found"),
    (ErasedId, 410, "erased"),
    (TakenId, 409, "id_taken"),
    (UnknownField, 400, "unknown_field"),
    (HalfCharacter, 400, "half_character"),
    (BadField, 422, "invalid_value"),
    (DataError, 400, "invalid_request"),
    (DatabaseUnavailable, 503, "unavailable"),
)


def _refuse_strangers(request: Request) -> None:
    # A browser posts for any page. With a key of its own a page is not one of them: the browser has
    # then asked the server first (CORS).
    if "authorization" in request.headers:
        return
    if is_of_another_origin(request.headers, request.headers.get("host", "")):
        raise _OtherOrigin("sent by a page of another origin", "request", "Send it with a key.")


async def _read_body(request: Request) -> list[object]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            what = f"more than {MAX_BODY_BYTES:,} bytes"
            raise _TooLarge(what, "body", "Send fewer events at once.")
    try:
        value = json.loads(bytes(body).decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise DataError("not JSON", "body", "Send one event, or a list of them.") from None
    values = value if isinstance(value, list) else [value]
    if not 1 <= len(values) <= MAX_EVENTS:
        what = f"{len(values):,} events"
        raise DataError(what, "body", f"Send 1 to {MAX_EVENTS:,} at once.")
    return values


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")  # Python's parser takes NaN and Infinity


def _keep(database: Database, values: list[object]) -> list[str]:
    events: list[Event] = []
    exchanges: dict[str, Exchange] = {}
    for place, value in enumerate(values):
        event, exchange = read_event(
            value, f"event {place}" if len(values) > 1 else "event", source="api"
        )
        events.append(event)
        if exchange is not None:
            known = exchanges.setdefault(exchange.request_id, exchange)
            if (known.messages, known.answer) != (exchange.messages, exchange.answer):
                what = f"request_id '{exchange.request_id}' stands for two exchanges"
                raise TakenId(what, f"event {place}", "Give each exchange an id of its own.")
    asked = [each for each in exchanges.values() if not _is_known(database, each)]
    database.add(asked, events)
    return [event.id for event in events]


def _is_known(database: Database, exchange: Exchange) -> bool:
    # Whoever judges an answer sends it along in their own name, and need not be who had asked.
    known = database.exchange(exchange.request_id)
    if known is None:
        return False
    return exchange == replace(
        known,
        who=exchange.who,
        consent=exchange.consent,
        time=exchange.time,
        source=exchange.source,
    )
