"""What every route of the chat pages needs: models, database, templates, and who is asking."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.responses import HTMLResponse

from volano.core.errors import VolanoError
from volano.core.feedback import AXES, HIGHEST, LOWEST, TRAINING
from volano.core.responder import ChatModel
from volano.feedback.database import Database
from volano.feedback.turns import WaitingTurns
from volano.feedback.visitors import (
    Refused,
    Visitor,
    has_key,
    new_visitor,
    remember,
    sentence,
    told,
    visitor_of,
)
from volano.page.templates import environment

MOST_CHARACTERS = 20_000  # of a question, or of an edited answer
STARS = list(range(LOWEST, HIGHEST + 1))
NO_COOKIE = "This page needs a cookie to know you again. Allow cookies and reload it."


@dataclass(frozen=True)
class ChatSettings:
    """How the page's models answer. One model alone is compared with itself, under two seeds."""

    max_tokens: int = 256
    temperature: float = 0.7


@dataclass(frozen=True)
class Pages:
    """What every route of the pages needs."""

    database: Database
    models: Sequence[ChatModel]
    keys: Sequence[str]
    settings: ChatSettings
    waiting: WaitingTurns = field(default_factory=WaitingTurns)
    templates: Any = field(default_factory=lambda: environment(Path(__file__).parent / "templates"))

    def html(self, template: str, **values: Any) -> str:
        """A template, filled in and escaped."""
        known = {"axes": AXES, "stars": STARS, "most_characters": MOST_CHARACTERS}
        return str(self.templates.get_template(template).render(**known, **values))

    def page(self, request: Request, template: str, **values: Any) -> Response:
        """A whole page: the login form where a key is due, a new pseudonym on a first visit."""
        if not has_key(request, self.keys):
            return fresh(self.html("login.html", problem=""), 401)
        known = visitor_of(request)
        visitor = known or new_visitor()
        try:
            agreed = self.database.consent_of(visitor.who) if known else None
        except VolanoError as problem:
            return told(sentence(problem), 503)
        response = fresh(
            self.html(template, who=visitor.who, agreed=agreed == TRAINING, said="", **values)
        )
        if known is None:
            remember(response, request, visitor)
        return response

    def visitor(self, request: Request) -> Visitor:
        """Who sent a form or opens a stream. Raises Refused without key or cookie."""
        if not has_key(request, self.keys):
            raise Refused(told("This server asks for a key. Reload the page.", 401))
        visitor = visitor_of(request)
        if visitor is None:
            raise Refused(told(NO_COOKIE, 403, target="#problem"))
        return visitor


def refusing(route: Callable[..., Any]) -> Callable[..., Any]:
    """A route whose Refused becomes its response."""

    @functools.wraps(route)
    async def guarded(*args: Any, **values: Any) -> Response:
        try:
            return await route(*args, **values)  # type: ignore[no-any-return]
        except Refused as refused:
            return refused.response

    return guarded


def fresh(html: str, status: int = 200) -> HTMLResponse:
    """A page that no cache keeps: it is one person's."""
    return HTMLResponse(html, status, {"Cache-Control": "no-store"})
