"""Who sits in front of the page: a random pseudonym in a cookie, and a key where one is due.

The cookie holds a secret and the database only its digest, so that nobody who reads the database or
an export can speak as somebody else.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import parse_qsl

from fastapi import Request, Response
from fastapi.responses import HTMLResponse

from volano.core.errors import VolanoError
from volano.page.security import is_of_another_origin

PERSON_COOKIE, KEY_COOKIE = "volano_person", "volano_key"
COOKIE_SECONDS = 365 * 24 * 3600
SECRET = re.compile(r"[A-Za-z0-9_-]{32}")
MAX_FORM_BYTES = 400_000


class Refused(Exception):
    """A request that goes no further; `response` is what it gets."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


@dataclass(frozen=True)
class Visitor:
    """A person, by pseudonym. `secret` is what their cookie holds."""

    secret: str

    @property
    def who(self) -> str:
        """The pseudonym under which the database knows them."""
        return f"chat-{hashlib.sha256(self.secret.encode()).hexdigest()[:16]}"


def visitor_of(request: Request) -> Visitor | None:
    """Who sent the request; None on a first visit."""
    secret = request.cookies.get(PERSON_COOKIE, "")
    return Visitor(secret) if SECRET.fullmatch(secret) else None


def new_visitor() -> Visitor:
    """Somebody who was never here."""
    return Visitor(secrets.token_urlsafe(24))


def remember(response: Response, request: Request, visitor: Visitor) -> None:
    """Let the browser keep the pseudonym. Lax: a link to the page must not make a stranger of them;
    what they send is guarded by its origin."""
    _set_cookie(response, request, PERSON_COOKIE, visitor.secret, "lax")


def let_in(response: Response, request: Request, key: str) -> None:
    """Let the browser keep a proof that it had the key; never the key itself."""
    _set_cookie(response, request, KEY_COOKIE, _proof(key), "strict")


def has_key(request: Request, keys: Sequence[str]) -> bool:
    """Whether the browser has shown one of the keys before, or the server has none."""
    shown = request.cookies.get(KEY_COOKIE, "").encode("utf-8", "replace")
    # All are compared, so that the time tells nothing of which one fits.
    found = [hmac.compare_digest(shown, _proof(key).encode()) for key in keys]
    return not keys or any(found)


def is_key(given: str, keys: Sequence[str]) -> bool:
    """Whether this is one of the keys, compared in constant time."""
    found = [hmac.compare_digest(_proof(given), _proof(key)) for key in keys]
    return any(found)


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form that this page itself sent. Raises Refused for one of another origin."""
    if is_of_another_origin(request.headers, request.headers.get("host", "")):
        raise Refused(told("This was sent by another page, so it is refused.", 403))
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise Refused(told("This is too long.", 413))
    try:
        pairs = parse_qsl(bytes(body).decode("ascii"), keep_blank_values=True, max_num_fields=50)
    except ValueError:
        raise Refused(told("This is no form.", 400)) from None
    return {name: value.replace("\r\n", "\n") for name, value in pairs}


def told(text: str, status: int = 200, *, target: str | None = None) -> HTMLResponse:
    """A line for the place that the form names, or for another one."""
    headers = {"Cache-Control": "no-store"}
    if target is not None:
        headers |= {"HX-Retarget": target, "HX-Reswap": "innerHTML"}
    return HTMLResponse(escape(text), status, headers)


def sentence(problem: VolanoError) -> str:
    """A problem for the person at the page: without the paths that its `where` may hold."""
    return f"{problem.what[:1].upper()}{problem.what[1:]}. {problem.remedy}"


def _proof(key: str) -> str:
    return hashlib.sha256(f"volano page key {key}".encode("utf-8", "replace")).hexdigest()


def _set_cookie(response: Response, request: Request, name: str, value: str, site: str) -> None:
    response.set_cookie(
        name,
        value,
        max_age=COOKIE_SECONDS,
        httponly=True,
        secure=request.url.scheme == "https",
        samesite="strict" if site == "strict" else "lax",
        path="/",
    )
