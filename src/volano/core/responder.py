"""Anything that answers: a local checkpoint, an endpoint, a script in a test."""

from collections.abc import AsyncIterator, Sequence
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


@dataclass(frozen=True)
class Piece:
    """A part of an answer as it arrives. `ended` is set on the last one alone, and false where the
    length limit cut the answer off."""

    text: str
    ended: bool | None = None


class ChatModel(Protocol):
    """One model that answers piece by piece: what a page shows while it is being said."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def checkpoint(self) -> str:
        """The artifact's path in its store, or whatever an upstream calls its model."""
        ...

    def fitting(self, messages: Sequence[Message], *, max_tokens: int) -> tuple[Message, ...]:
        """The conversation without the oldest turns that leave no room for an answer; its last
        question always stays."""
        ...

    def stream(
        self, messages: Sequence[Message], *, max_tokens: int, temperature: float, seed: int
    ) -> AsyncIterator[Piece]:
        """The answer's pieces, in order. Leaving the loop early stops the model."""
        ...
