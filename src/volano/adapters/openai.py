"""An endpoint of OpenAI's chat protocol as a Responder: a service, vLLM, or our own server.

The standard library is enough for it, so it needs no extra.
"""

import contextlib
import http.client
import json
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from volano.core.errors import DataError, RunFailed
from volano.core.records import Message
from volano.core.responder import Response

TRY_AGAIN = {408, 409, 425, 429, 500, 502, 503, 504}
LONGEST_WAIT_SECONDS = 60.0
SHOWN_CHARACTERS = 300  # of what a server says


@dataclass(frozen=True)
class OpenAIResponder:
    """Asks `endpoint` (such as http://127.0.0.1:8000/v1) for `model`, `concurrency` at once.

    A request that fails for a while (too many, server down, time out) is sent again up to
    `attempts` times in all, each wait about twice the one before, or as long as the server says.
    """

    endpoint: str
    model: str
    key: str | None = field(default=None, repr=False)  # never in a traceback
    concurrency: int = 8
    attempts: int = 6
    timeout_seconds: float = 120.0
    first_wait_seconds: float = 0.5
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.endpoint)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise DataError(
                f"'{self.endpoint}' is no address", "endpoint", "Give http://HOST:PORT/v1."
            )

    def respond(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> list[Response]:
        """One answer per prompt, in order. Raises DataError for a request that the server refuses,
        RunFailed where it does not answer."""

        def ask(prompt: Sequence[Message]) -> Response:
            body = {
                "model": self.model,
                "messages": [{"role": each.role, "content": each.content} for each in prompt],
                "max_tokens": max_tokens,
                "temperature": temperature,
                "top_p": top_p,
                "seed": seed,
            }
            return _response(self._post(body), self.endpoint)

        if not prompts:
            return []
        pool = ThreadPoolExecutor(min(self.concurrency, len(prompts)))
        try:
            return list(pool.map(ask, prompts))
        finally:  # after Ctrl-C or a failure nothing more is asked
            pool.shutdown(wait=True, cancel_futures=True)

    def score(self, pairs: Sequence[tuple[Sequence[Message], str]]) -> list[float]:
        """Not to be had: the protocol gives no likelihood of an answer of one's own."""
        raise DataError(
            "the chat protocol gives no likelihoods", self.endpoint, "Take a checkpoint here."
        )

    def _post(self, body: dict[str, Any]) -> Any:
        problem = ""
        for attempt in range(self.attempts):
            try:
                return json.loads(self._send(body))
            except urllib.error.HTTPError as failure:
                problem = _said(failure)
                if failure.code not in TRY_AGAIN:
                    raise _refusal(failure.code, problem, self.endpoint) from None
                asked = failure.headers.get("Retry-After", "")
            except (OSError, http.client.HTTPException, ValueError) as failure:
                problem, asked = str(failure) or type(failure).__name__, ""
            if attempt + 1 < self.attempts:
                self.sleep(self._wait(attempt, asked))
        raise RunFailed(
            f"no answer after {self.attempts} attempts (last: {problem})",
            self.endpoint,
            "See whether the server runs, and start again: what was answered is kept.",
        )

    def _send(self, body: dict[str, Any]) -> bytes:
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(
            self.endpoint.rstrip("/") + "/chat/completions",
            json.dumps(body).encode(),
            headers,
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=self.timeout_seconds) as answer:
            data: bytes = answer.read()
        return data

    def _wait(self, attempt: int, asked: str) -> float:
        # Spread, or all that were refused together would come again together.
        wait = self.first_wait_seconds * float(2**attempt) * random.uniform(0.75, 1.25)
        if asked.strip().isdecimal():
            wait = max(wait, float(asked))
        return min(wait, LONGEST_WAIT_SECONDS)


def key_from(variable: str) -> str | None:
    """The key in an environment variable; None where the name is empty. Raises DataError where the
    variable is not set."""
    if not variable:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise DataError(f"no key in the environment variable {variable}", "key", "Set it.")
    return key


def _response(answer: Any, endpoint: str) -> Response:
    try:
        choice = answer["choices"][0]
        text = choice["message"]["content"]
        tokens = int((answer.get("usage") or {}).get("completion_tokens") or 0)
        return Response(text or "", tokens, choice.get("finish_reason") != "length")
    except (KeyError, IndexError, TypeError, AttributeError):
        shown = json.dumps(answer)[:SHOWN_CHARACTERS]
        raise DataError(
            f"not an answer of the chat protocol: {shown}", endpoint, "Check the address."
        ) from None


def _said(failure: urllib.error.HTTPError) -> str:
    text = ""
    with contextlib.suppress(OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        text = failure.read().decode("utf-8", "replace")
        text = str(json.loads(text)["error"]["message"])
    return f"{failure.code}: {text[:SHOWN_CHARACTERS]}".strip()


def _refusal(code: int, problem: str, endpoint: str) -> DataError:
    remedy = {
        400: "If a text is too long for the model, show fewer characters of it.",
        413: "If a text is too long for the model, show fewer characters of it.",
        401: "Name the environment variable of the key with --key-variable.",
        403: "Name the environment variable of the key with --key-variable.",
        404: "Check the address (it mostly ends in /v1) and the name of the model.",
    }.get(code, "Mend the request.")
    return DataError(f"refused ({problem})", endpoint, remedy)
