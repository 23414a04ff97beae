"""The blind comparison: two answers in an order that the server draws, and a choice.

The order is written down with both exchanges, before anybody chooses. Until then the page knows
neither name: the request ids tell the places, not the models.
"""

import secrets
from collections.abc import Callable

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from volano.core.feedback import Exchange
from volano.core.records import Message
from volano.feedback.chat import keep, own_exchange, prompt_of
from volano.feedback.pages import Pages, refusing
from volano.feedback.turns import Turn
from volano.feedback.visitors import Visitor, read_form, told

LABELS = ("A", "B")
SAID = {"a": "You chose A.", "b": "You chose B.", "tie": "You found them equal."}
CHOICES = {"a": "this", "b": "other", "tie": "tie"}


def add_compare_routes(router: APIRouter, pages: Pages) -> None:
    """Add them to the router."""

    @router.get("/chat/compare")
    def compare(request: Request) -> Response:
        return pages.page(request, "compare.html", here="compare")

    @router.post("/chat/compare/ask")
    @refusing
    async def ask(request: Request) -> Response:
        form, visitor = await read_form(request), pages.visitor(request)
        prompt = prompt_of(form)
        comparison = f"compare-{secrets.token_hex(12)}"
        turns = _drawn(pages, comparison, prompt, visitor)
        html = pages.html(
            "comparison.html",
            prompt=prompt,
            comparison=comparison,
            answers=[
                (label, pages.waiting.add(turn)) for label, turn in zip(LABELS, turns, strict=True)
            ],
        )
        return HTMLResponse(html)

    @router.post("/chat/compare/choose/{comparison}")
    @refusing
    async def choose(request: Request, comparison: str) -> Response:
        form = await read_form(request)
        choice = form.get("choice", "")
        if choice not in CHOICES:
            return told("Choose A, B or equal.", 422, target="#problem")
        shown = [
            await own_exchange(pages, request, f"{comparison}-{label.lower()}") for label in LABELS
        ]
        first, second = (exchange.request_id for exchange in shown)
        judgement = {
            "id": f"{comparison}-choice",  # a comparison is decided once
            "kind": "choice",
            "choice": CHOICES[choice],
            "other_request_id": second,
            "shown_first": first,
        }
        kept = await keep(pages, request, first, judgement, SAID[choice])
        if kept.status_code != 200:
            kept.headers["HX-Retarget"], kept.headers["HX-Reswap"] = "#problem", "innerHTML"
            return kept
        names = {model.checkpoint: model.name for model in pages.models}
        told_names = [names.get(each.checkpoint, each.checkpoint) for each in shown]
        return HTMLResponse(pages.html("chosen.html", said=SAID[choice], names=told_names))


def _drawn(pages: Pages, comparison: str, prompt: str, visitor: Visitor) -> list[Turn]:
    models = [pages.models[0], pages.models[1 if len(pages.models) > 1 else 0]]
    if secrets.randbelow(2):
        models.reverse()
    return [
        Turn(
            who=visitor.who,
            model=model,
            messages=(Message("user", prompt),),
            show=_shower(pages, label),
            max_tokens=pages.settings.max_tokens,
            temperature=pages.settings.temperature,
            request_id=f"{comparison}-{label.lower()}",
            settings={"comparison": comparison, "shown": label},
        )
        for label, model in zip(LABELS, models, strict=True)
    ]


def _shower(pages: Pages, label: str) -> Callable[[Exchange], str]:
    def show(exchange: Exchange) -> str:
        return pages.html(
            "compared.html",
            label=label,
            request_id=exchange.request_id,
            answer=exchange.answer,
            ended=exchange.ended,
        )

    return show
