"""What a page is sent with, and from where it may be posted to.

The policy allows this server's own files and nothing else: no inline script or style, no eval, no
frame around it. What a browser sends for a page of another origin is refused, but for a link to a
page that a person follows.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # under no-referrer a form says that it comes from nowhere
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
Message = MutableMapping[str, Any]


class SecurityHeaders:
    """ASGI middleware that adds HEADERS to every answer; it does not hold a stream back."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Pass the request on."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name.lower() for name, _ in message.get("headers", [])}
                message["headers"] = [
                    *message.get("headers", []),
                    *(
                        (name.lower().encode(), value.encode())
                        for name, value in HEADERS.items()
                        if name.lower().encode() not in own
                    ),
                ]
            await send(message)

        await self.app(scope, receive, send_with_headers)


def is_of_another_origin(headers: Any, host: str) -> bool:
    """Whether a browser says that a page of another origin sent this request.

    A client that is no browser says nothing of the kind, and has no cookies to misuse either.
    """
    site = headers.get("sec-fetch-site")
    if site is not None and site not in {"same-origin", "none"}:
        return True
    origin = headers.get("origin")
    if origin == "null" and site == "same-origin":  # the second no script can write
        return False
    return origin is not None and urlsplit(origin).netloc.lower() != host.lower()


def follows_a_link(method: str, headers: Any) -> bool:
    """Whether a browser says that it opens a whole page, as where a link elsewhere leads to it.

    No script can send this: it shows the page to the person, and to nobody's program.
    """
    return (
        method == "GET"
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"  # a frame says "iframe"
        and "origin" not in headers
    )
