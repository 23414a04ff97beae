"""A checkpoint that is served: its engine, its tokenizer, and its answers as a stream."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

from volano.core.errors import DataError, RunFailed
from volano.core.records import Message
from volano.core.responder import Piece
from volano.core.step import Device
from volano.model.device import device_of
from volano.model.families import CONFIG_FILE
from volano.model.huggingface import load_checkpoint
from volano.model.slots import Ending, Full, SlotEngine, Token
from volano.serve.errors import ApiError
from volano.text.answer_stream import AnswerStream
from volano.text.chat import encode_prompt
from volano.text.token_places import TokenPlaces
from volano.text.tokenizer import Tokenizer

DEFAULT_SLOTS, DEFAULT_WAITING = 8, 256


@dataclass
class Answer:
    """An answer so far. `ended` is set in the end: stop, length, or a stop string (stop).

    `log_probs` has the tokens that make `text`, wholly or in part, and `offsets` where in it each
    begins; `tokens` counts all that the model made.
    """

    text: str = ""
    tokens: int = 0
    prompt_tokens: int = 0
    finish_reason: str | None = None
    log_probs: list[Token] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        """Whether the model came to an end by itself."""
        return self.finish_reason == "stop"


class ServedModel:
    """One checkpoint under a name. Close it when the server ends.

    `context`: tokens that an answer and its prompt may have together; 0: as many as the model
    reads, at most 2,048. `compute`: the one thread that several models share (model/slots.py).
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        checkpoint: str,
        digest: str = "",
        slots: int = DEFAULT_SLOTS,
        waiting: int = DEFAULT_WAITING,
        context: int = 0,
        compute: Executor | None = None,
        device: Device = "auto",
    ) -> None:
        self.name, self.checkpoint, self.digest = name, checkpoint, digest
        self.tokenizer = Tokenizer.load(folder)
        self.stop_ids = self.tokenizer.stop_ids
        self.engine = SlotEngine(
            lambda: load_checkpoint(folder).to(device_of(device)).eval(),
            slots=slots,
            waiting=waiting,
            context=context,
            compute=compute,
        )
        self.context = self.engine.context
        self.created = int((folder / CONFIG_FILE).stat().st_mtime)

    def close(self) -> None:
        """End the engine; what it is answering is cancelled."""
        self.engine.close()

    async def stream(
        self, messages: Sequence[Message], *, max_tokens: int, temperature: float, seed: int
    ) -> AsyncGenerator[Piece, None]:
        """The pieces of an answer, as a page wants them (core.responder.ChatModel).

        Raises RunFailed where the conversation leaves no room, or too many wait.
        """
        answer = Answer()
        try:
            pieces = self.answer(
                self.chat_prompt(messages),
                answer,
                max_tokens=max_tokens,
                temperature=temperature,
                seed=seed,
            )
            async with aclosing(pieces):
                async for text in pieces:
                    yield Piece(text)
        except ApiError as problem:
            raise RunFailed(problem.message.rstrip("."), self.name, "Try again.") from None
        yield Piece("", ended=answer.ended)

    def fitting(self, messages: Sequence[Message], *, max_tokens: int) -> tuple[Message, ...]:
        """Without the oldest turns that leave no room for an answer (core.responder.ChatModel)."""
        room = min(max_tokens, self.context // 2)
        kept = list(messages)
        while len(kept) > 2 and len(encode_prompt(self.tokenizer, kept)) + room > self.context:
            del kept[:2]  # a question and its answer
        return tuple(kept)

    def chat_prompt(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of a conversation up to where the assistant answers."""
        return self._fitting(encode_prompt(self.tokenizer, messages), "messages")

    def text_prompt(self, text: str) -> list[int]:
        """The tokens of a text to be gone on with, behind the token that begins documents."""
        ids = [self.tokenizer.begin_of_text_id, *self.tokenizer.encode(text)]
        return self._fitting(ids, "prompt")

    def _fitting(self, ids: list[int], param: str) -> list[int]:
        if len(ids) >= self.context:
            what = (
                f"This model reads {self.context:,} tokens here, the answer included, and the "
                f"prompt has {len(ids):,}. Shorten it."
            )
            raise ApiError(400, what, param=param, code="context_length_exceeded")
        return ids

    async def answer(
        self,
        prompt: Sequence[int],
        answer: Answer,
        *,
        max_tokens: int | None = None,
        temperature: float = 1.0,
        top_p: float = 1.0,
        seed: int = 0,
        stop: Sequence[str] = (),
        top_log_probs: int | None = None,
    ) -> AsyncGenerator[str, None]:
        """The pieces of one answer as they become certain; `answer` is filled on the way.

        Whoever stops listening frees the slot. Raises ApiError where too many wait.
        """
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Token | Ending] = asyncio.Queue()

        def put(item: Token | Ending) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(queue.put_nowait, item)

        answer.prompt_tokens = len(prompt)
        stream, places = AnswerStream(self.tokenizer.decode, stop), TokenPlaces(self.tokenizer)
        unshown: deque[tuple[int, Token]] = deque()

        def show() -> None:
            answer.text = stream.text
            while unshown and unshown[0][0] < len(answer.text):
                place, token = unshown.popleft()
                answer.offsets.append(place)
                answer.log_probs.append(token)

        try:
            ticket = self.engine.submit(
                prompt,
                max_new_tokens=max_tokens or self.context,
                on_token=put,
                on_end=put,
                temperature=temperature,
                top_p=top_p or 1e-6,
                seed=seed % 2**63,
                stop_ids=self.stop_ids,
                top_log_probs=top_log_probs,
            )
        except Full as full:
            what = f"The server is busy: {full.what}."
            raise ApiError(429, what, code="busy", headers={"Retry-After": "1"}) from None
        except DataError as problem:
            raise ApiError(503, str(problem), headers={"Retry-After": "5"}) from None
        try:
            while True:
                item = await queue.get()
                if isinstance(item, Ending):
                    break
                answer.tokens += 1
                piece = stream.feed(item.id)
                if top_log_probs is not None:
                    place = places.feed(item.id)
                    if place is not None:
                        unshown.append((place, item))
                    if stream.is_whole:
                        places.end_text()
                show()
                if piece:
                    yield piece
                if stream.stopped:
                    item = Ending("stop")
                    break
            if item.reason in {"failed", "cancelled"}:
                raise ApiError(503, f"The answer broke off. {item.error}".strip())
            rest = stream.finish()
            show()
            # The rest may complete a stop string as any piece does.
            answer.finish_reason = "stop" if stream.stopped else item.reason
            if rest:
                yield rest
        finally:
            ticket.cancel()
