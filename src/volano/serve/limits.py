"""Who may ask, how much and how often: keys, hosts, body size, requests per minute.

Plain ASGI, so that a refusal costs no parsing and holds for every route, those that other rooms add
included. What is public (health, pages that bring their own check) is named by path.
"""

import hashlib
import hmac
import json
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from volano.page.security import follows_a_link, is_of_another_origin
from volano.serve.errors import ApiError, error_body

Scope: TypeAlias = dict[str, Any]
Message: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")
REMEMBERED_CLIENTS = 10_000
MINUTE_SECONDS = 60.0


@dataclass(frozen=True)
class Limits:
    """0 requests per minute: as many as come. `hosts`: what the server is called; empty: any."""

    body_bytes: int = 1_000_000
    requests_per_minute: int = 0
    hosts: tuple[str, ...] = ()


class Keys:
    """Keys that open the server; without any it is open. An empty one is a key, and opens nothing.

    They are compared as bytes: a header has no encoding, and a key in it is expected as UTF-8.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = [_digest(key.encode("utf-8", "surrogateescape")) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def opens(self, key: bytes) -> bool:
        """Whether it is one of them; the time this takes says nothing of which or how nearly."""
        given = _digest(key)
        found = False
        for digest in self._digests:
            found |= hmac.compare_digest(given, digest)
        return found and bool(key)  # who shows none must not match an empty one


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


class Gatekeeper:
    """Middleware that refuses before anything is read."""

    def __init__(
        self,
        application: Any,
        *,
        keys: Keys,
        limits: Limits,
        public: Sequence[str] = (),
        linked: Sequence[str] = (),
    ) -> None:
        self._application, self._keys, self._limits = application, keys, limits
        self._public, self._linked = tuple(public), frozenset(linked)
        self._buckets: OrderedDict[str | bytes, tuple[float, float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with why not."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        refusal = self._refusal(scope, headers)
        if refusal is None:
            await self._application(scope, self._counted(receive), send)
        else:
            status, message, more = refusal
            await _answer(send, status, message, more)

    def _refusal(
        self, scope: Scope, headers: Mapping[str, str]
    ) -> tuple[int, str, dict[str, str]] | None:
        limits, path = self._limits, str(scope["path"])
        host = headers.get("host", "").rsplit(":", 1)[0] if headers.get("host") else ""
        if limits.hosts and host not in limits.hosts:
            return 421, f"This server is not called {host!r}.", {}
        key = _shown_key(headers.get("authorization", ""))
        linked = path in self._linked and follows_a_link(str(scope["method"]), headers)
        if not key and not linked and is_of_another_origin(headers, headers.get("host", "")):
            # No page that somebody happens to visit may ask a server on his own machine.
            return 403, "A page of another origin asks, and shows no key.", {}
        public = any(path == each or path.startswith(f"{each}/") for each in self._public)
        opens = bool(self._keys) and self._keys.opens(key)
        # A key that opens nothing is anybody's invention: another one each time is no other client.
        wait = self._wait_seconds(key if opens else str((scope.get("client") or ("",))[0]))
        if wait > 0:
            return 429, "Too many requests a minute.", {"Retry-After": str(int(wait) + 1)}
        if self._keys and not public and not opens:
            what = "Wrong key." if key else "A key is needed: Authorization: Bearer KEY."
            return 401, what, {"WWW-Authenticate": "Bearer"}
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > limits.body_bytes:
            return 413, f"The body is larger than {limits.body_bytes:,} bytes.", {}
        return None

    def _wait_seconds(self, client: str | bytes) -> float:
        """A token bucket per key or address: a minute's worth at once, then evenly."""
        most = self._limits.requests_per_minute
        if not most:
            return 0.0
        now = time.monotonic()
        left, since = self._buckets.pop(client, (float(most), now))
        left = min(float(most), left + (now - since) * most / MINUTE_SECONDS)
        wait = 0.0 if left >= 1 else (1 - left) * MINUTE_SECONDS / most
        self._buckets[client] = (left - 1 if not wait else left, now)
        while len(self._buckets) > REMEMBERED_CLIENTS:
            self._buckets.popitem(last=False)
        return wait

    def _counted(self, receive: Receive) -> Receive:
        # A body in chunks says no length beforehand.
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                if read > self._limits.body_bytes:
                    raise TooLarge(self._limits.body_bytes)
            return message

        return counted


def _shown_key(authorization: str) -> bytes:
    """The key as it was sent. A scheme's name may be in any case (RFC 7235, section 2.1)."""
    # Bytes first: in latin-1, a UTF-8 character may end in what a text's `strip` takes off.
    sent = authorization.encode("latin-1").strip()
    scheme, _, key = sent.partition(b" ")
    return key.strip() if scheme.lower() == b"bearer" else sent


class TooLarge(ApiError):
    """A body went beyond the limit while it came in."""

    def __init__(self, most: int) -> None:
        super().__init__(413, f"The body is larger than {most:,} bytes.")


async def _answer(send: Send, status: int, message: str, headers: Mapping[str, str]) -> None:
    body = json.dumps(error_body(status, message)).encode()
    fields = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    lines = [(name.lower().encode(), value.encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})
