"""The chat page's routes: ask, rate, thumb, edit, consent."""

import re
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse

from volano.core.errors import VolanoError
from volano.core.feedback import AXES, HIGHEST, LOWEST, NO_CONSENT, TRAINING, Exchange
from volano.core.records import Message
from volano.feedback.connection import DatabaseUnavailable
from volano.feedback.database import TakenId
from volano.feedback.events import read_event
from volano.feedback.pages import MOST_CHARACTERS, Pages, refusing
from volano.feedback.turns import Turn
from volano.feedback.visitors import Refused, read_form, sentence, told

PROBLEM = "#problem"
STARS = re.compile("[0-9]{1,3}")  # what may be a number of stars, in range or not


def add_chat_routes(router: APIRouter, pages: Pages) -> None:
    """Add them to the router."""

    @router.get("/chat")
    def chat(request: Request) -> Response:
        return pages.page(request, "chat.html", here="chat", model=pages.models[0].name)

    @router.post("/chat/consent")
    @refusing
    async def consent(request: Request) -> Response:
        form, visitor = await read_form(request), pages.visitor(request)
        agreed = form.get("agreed") == "yes"
        statement = TRAINING if agreed else NO_CONSENT
        try:
            await run_in_threadpool(pages.database.set_consent, visitor.who, statement)
        except VolanoError as problem:
            return told(sentence(problem), 503, target=PROBLEM)
        said = "Thank you. You can change this at any time." if agreed else "Switched off."
        return HTMLResponse(pages.html("consent.html", who=visitor.who, agreed=agreed, said=said))

    @router.post("/chat/ask")
    @refusing
    async def ask(request: Request) -> Response:
        form, visitor = await read_form(request), pages.visitor(request)
        prompt = prompt_of(form)
        before = await _conversation(pages, form.get("after", ""), visitor.who)
        model, most = pages.models[0], pages.settings.max_tokens
        asked = (*before, Message("user", prompt))
        messages = await run_in_threadpool(model.fitting, asked, max_tokens=most)
        turn = Turn(
            who=visitor.who,
            model=model,
            messages=messages,
            show=lambda exchange: _shown(pages, exchange),
            max_tokens=most,
            temperature=pages.settings.temperature,
        )
        shortened = len(messages) < len(asked)
        waiting = pages.waiting.add(turn)
        html = pages.html("turn.html", prompt=prompt, turn=waiting, shortened=shortened)
        return HTMLResponse(html)

    @router.post("/chat/thumb/{request_id}")
    @refusing
    async def thumb(request: Request, request_id: str) -> Response:
        form = await read_form(request)
        said = {"up": "Marked as good.", "down": "Marked as bad."}
        judgement = {"kind": "thumb", "thumb": form.get("thumb")}
        return await keep(pages, request, request_id, judgement, said.get(form.get("thumb", "")))

    @router.post("/chat/rate/{request_id}")
    @refusing
    async def rate(request: Request, request_id: str) -> Response:
        form = await read_form(request)
        given = {axis: form[axis] for axis in AXES if form.get(axis)}
        if not all(STARS.fullmatch(each) for each in given.values()):
            return told(f"Stars are {LOWEST} to {HIGHEST}.", 422)
        stars = {axis: int(each) for axis, each in given.items()}
        if not stars:
            return told("Choose some stars first.", 422)
        said = ", ".join(f"{axis} {number}" for axis, number in stars.items())
        judgement = {"kind": "rating", **stars}
        return await keep(pages, request, request_id, judgement, f"Rated: {said}.")

    @router.post("/chat/edit/{request_id}")
    @refusing
    async def edit(request: Request, request_id: str) -> Response:
        form = await read_form(request)
        text = form.get("edit", "").strip()
        if len(text) > MOST_CHARACTERS:
            return told(f"At most {MOST_CHARACTERS:,} characters.", 422)
        exchange = await own_exchange(pages, request, request_id)
        if text == exchange.answer.strip():
            return told("Nothing was changed.", 422)
        judgement = {"kind": "edit", "edit": text}
        return await keep(pages, request, request_id, judgement, "The edit is saved.")


def prompt_of(form: Mapping[str, str]) -> str:
    """The question of a form. Raises Refused where there is none."""
    prompt = form.get("prompt", "").strip()
    if not prompt:
        raise Refused(told("Write a question first.", 422, target=PROBLEM))
    if len(prompt) > MOST_CHARACTERS:
        raise Refused(told(f"At most {MOST_CHARACTERS:,} characters.", 422, target=PROBLEM))
    return prompt


async def own_exchange(pages: Pages, request: Request, request_id: str) -> Exchange:
    """The exchange, if it is this person's. Raises Refused otherwise."""
    who = pages.visitor(request).who
    try:
        exchange = await run_in_threadpool(pages.database.exchange, request_id)
    except VolanoError as problem:
        raise Refused(told(sentence(problem), 503)) from None
    if exchange is None or exchange.who != who:
        raise Refused(told("This answer is not known here.", 404))
    return exchange


async def keep(
    pages: Pages,
    request: Request,
    request_id: str,
    judgement: dict[str, Any],
    said: str | None,
) -> Response:
    """Keep what a person says of an answer of theirs, and tell them so."""
    exchange = await own_exchange(pages, request, request_id)
    try:
        consent = await run_in_threadpool(pages.database.consent_of, str(exchange.who))
        about = {"request_id": request_id, "who": exchange.who, "consent": consent}
        event, _ = read_event({**about, **judgement}, "this", source="chat")
        await run_in_threadpool(pages.database.add_event, event)
    except TakenId:
        return told("You have chosen already.", 409)
    except DatabaseUnavailable as problem:
        return told(sentence(problem), 503)
    except VolanoError as problem:
        return told(sentence(problem), 422)
    return told(said or "Kept.")


async def _conversation(pages: Pages, after: str, who: str) -> tuple[Message, ...]:
    # From the database and not from the form: nobody can put words into the model's mouth.
    if not after:
        return ()
    try:
        exchange = await run_in_threadpool(pages.database.exchange, after)
    except VolanoError as problem:
        raise Refused(told(sentence(problem), 503, target=PROBLEM)) from None
    if exchange is None or exchange.who != who:
        raise Refused(told("This conversation is gone. Reload the page.", 404, target=PROBLEM))
    return (*exchange.messages, Message("assistant", exchange.answer))


def _shown(pages: Pages, exchange: Exchange) -> str:
    return pages.html(
        "answer.html",
        request_id=exchange.request_id,
        answer=exchange.answer,
        ended=exchange.ended,
    )
