"""Anything that answers: a local checkpoint, an endpoint, a script in a test."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from volano.core.records import Message


@dataclass(frozen=True)
class Response:
    """One answer. `ended` is false where the length limit cut it off."""

    text: str
    tokens: int
    ended: bool


class Responder(Protocol):
    """Generates and scores; evaluation, serving and synthesis know no more of a model."""

    def respond(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> list[Response]:
        """One answer per prompt, in order; temperature 0 is greedy."""
        ...

    def score(self, pairs: Sequence[tuple[Sequence[Message], str]]) -> list[float]:
        """Log-probability in nats of each answer given its prompt."""
        ...
