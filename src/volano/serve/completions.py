"""`/v1/chat/completions` and `/v1/completions`: one answer, several, or a stream of pieces.

An exchange is kept before its answer is complete: what a client holds as answered is on disk, so
that feedback on it is never feedback on something unknown.
"""

import asyncio
import json
import random
import sys
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse

from volano.core.errors import DataError, VolanoError, did_you_mean
from volano.core.feedback import TRAINING, Exchange, Recorder
from volano.core.records import Message
from volano.serve.errors import ApiError, error_body
from volano.serve.requests import REQUEST_ID, Options, read_chat, read_json, read_text
from volano.serve.served import Answer, ServedModel

SOURCES = ("api", "chat", "scripted")
T = TypeVar("T")


@dataclass
class Asked:
    """One request: which model, in what form its answer goes out, and how it is kept."""

    id: str
    model: ServedModel
    options: Options
    messages: tuple[Message, ...]
    prompts: list[list[int]]
    chat: bool
    source: str
    consent: str | None
    echoes: list[str] = field(default_factory=list)
    created: int = field(default_factory=lambda: int(time.time()))
    drawn: int = field(default_factory=lambda: random.getrandbits(31))

    @property
    def seed(self) -> int:
        """The seed that was asked for, or one that is drawn once and kept with the exchange."""
        return self.drawn if self.options.seed is None else self.options.seed

    def kept_seed(self, place: int) -> int | None:
        """What to write down. Greedy answers hang on none: asked again, they are the same."""
        if self.options.seed is None and not self.options.temperature:
            return None
        return self.seed + place

    @property
    def object(self) -> str:
        """What OpenAI calls a whole answer of this kind."""
        return "chat.completion" if self.chat else "text_completion"


def completion_router(models: Mapping[str, ServedModel], recorder: Recorder | None) -> APIRouter:
    """The routes over these models; exchanges are kept through the recorder, if there is one."""
    router = APIRouter()

    @router.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        messages, options = read_chat(read_json(await request.body()))
        model = _model(models, options.model)
        prompts = [model.chat_prompt(messages)] * options.choices
        asked = _asked(request, model, options, messages, prompts, chat=True)
        return await _respond(request, asked, recorder)

    @router.post("/v1/completions")
    async def text(request: Request) -> Response:
        texts, options = read_text(read_json(await request.body()))
        model = _model(models, options.model)
        each = [text for text in texts for _ in range(options.choices)]
        prompts = [model.text_prompt(text) for text in each]
        messages = [Message("user", "\n".join(texts))]
        asked = _asked(request, model, options, messages, prompts, chat=False)
        asked.echoes = each if options.echo else []
        return await _respond(request, asked, recorder)

    @router.get("/v1/models")
    async def list_models() -> dict[str, Any]:
        return {"object": "list", "data": [_model_card(each) for each in models.values()]}

    @router.get("/v1/models/{name:path}")
    async def one_model(name: str) -> dict[str, Any]:
        return _model_card(_model(models, name))

    return router


def _model_card(model: ServedModel) -> dict[str, Any]:
    return {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": "volano",
        "checkpoint": model.checkpoint,
        "context_tokens": model.context,
    }


def _model(models: Mapping[str, ServedModel], name: str | None) -> ServedModel:
    if name is None and len(models) == 1:
        return next(iter(models.values()))
    if name is None:
        what = f"`model` is missing. Known: {', '.join(models)}."
        raise ApiError(400, what, param="model")
    found = models.get(name)
    if found is None:
        remedy = did_you_mean(name, models)
        raise ApiError(404, f"No model '{name}'. {remedy}", param="model", code="model_not_found")
    return found


def _asked(
    request: Request,
    model: ServedModel,
    options: Options,
    messages: Sequence[Message],
    prompts: list[list[int]],
    *,
    chat: bool,
) -> Asked:
    given = request.headers.get("x-request-id")
    if given is not None and not REQUEST_ID.fullmatch(given):
        what = "X-Request-Id may have 128 letters, digits, '.', '_', ':' and '-'."
        raise ApiError(400, what, param="X-Request-Id")
    name = given or f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}"
    source = request.headers.get("x-volano-source", SOURCES[0])
    if source not in SOURCES:
        what = f"X-Volano-Source is '{source}'. {did_you_mean(source, SOURCES)}"
        raise ApiError(400, what, param="X-Volano-Source")
    consent = request.headers.get("x-volano-consent")
    if consent not in {None, TRAINING, "none"}:
        what = f"X-Volano-Consent is '{consent}'. Known: {TRAINING}, none."
        raise ApiError(400, what, param="X-Volano-Consent")
    return Asked(name, model, options, tuple(messages), prompts, chat, source, consent)


async def _respond(request: Request, asked: Asked, recorder: Recorder | None) -> Response:
    headers = {"X-Request-Id": asked.id}
    if asked.options.stream:
        pieces = _events(asked, recorder)
        # What can be refused is refused with a status, before the stream has begun.
        # Until it has, nobody else sees the client hang up, and a place in the queue stays taken.
        first = await _unless_gone(request, anext(pieces))
        media = "text/event-stream"
        headers |= {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(_after(first, pieces), media_type=media, headers=headers)
    answers = await _unless_gone(request, _all_answers(asked))
    await _keep(asked, answers, recorder)
    return JSONResponse(_whole(asked, answers), headers=headers)


async def _all_answers(asked: Asked) -> list[Answer]:
    async def one(place: int) -> Answer:
        answer = Answer()
        async with aclosing(_stream(asked, place, answer)) as pieces:
            async for _ in pieces:
                pass
        return answer

    tasks = [asyncio.ensure_future(one(place)) for place in range(len(asked.prompts))]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


def _stream(asked: Asked, place: int, answer: Answer) -> AsyncGenerator[str, None]:
    options = asked.options
    return asked.model.answer(
        asked.prompts[place],
        answer,
        max_tokens=options.max_tokens,
        temperature=options.temperature,
        top_p=options.top_p,
        seed=asked.seed + place,  # several answers to one prompt must differ
        stop=options.stop,
        top_log_probs=options.top_log_probs,
    )


async def _unless_gone(request: Request, work: Awaitable[T]) -> T:
    """The result of the work; cancelled when the client hangs up."""
    task = asyncio.ensure_future(work)

    async def hang_up() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    watch = asyncio.ensure_future(hang_up())
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ApiError(499, "The client hung up.")
        return task.result()
    finally:
        watch.cancel()
        task.cancel()


async def _keep(asked: Asked, answers: Sequence[Answer], recorder: Recorder | None) -> None:
    """Keep the exchanges; of several answers each under its own id, `ID`, `ID.1` …"""
    if recorder is None or not asked.options.store:
        return
    time_ = datetime.now(UTC).isoformat(timespec="milliseconds")
    options = asked.options
    settings = {
        "temperature": options.temperature,
        "top_p": options.top_p,
        "max_tokens": options.max_tokens,
    }
    exchanges = [
        Exchange(
            request_id=asked.id if place == 0 else f"{asked.id}.{place}",
            checkpoint=asked.model.checkpoint,
            messages=asked.messages,
            answer=answer.text,
            time=time_,
            source=asked.source,
            ended=answer.ended,
            who=options.user,
            consent=asked.consent,
            settings={**settings, "seed": asked.kept_seed(place)},
        )
        for place, answer in enumerate(answers)
    ]
    try:
        await run_in_threadpool(recorder.record, exchanges)
    except DataError as problem:
        raise ApiError(409, str(problem), param="X-Request-Id", code="id_taken") from None
    except VolanoError as problem:
        print(f"volano: {asked.id} was not kept: {problem}", file=sys.stderr, flush=True)
        what = "The answer could not be kept, and is not given. Try again."
        raise ApiError(503, what, code="unavailable", headers={"Retry-After": "1"}) from None


def _whole(asked: Asked, answers: Sequence[Answer]) -> dict[str, Any]:
    choices = []
    for place, answer in enumerate(answers):
        choice: dict[str, Any] = {"index": place, "finish_reason": answer.finish_reason}
        log_probs = _log_probs(asked, answer)
        if asked.chat:
            message = {"role": "assistant", "content": answer.text, "refusal": None}
            choice |= {"message": message, "logprobs": log_probs}
        else:
            echo = asked.echoes[place] if asked.echoes else ""
            choice |= {"text": echo + answer.text, "logprobs": log_probs}
        choices.append(choice)
    usage = _usage(answers, asked.options.choices)
    return _envelope(asked, asked.object) | {"choices": choices, "usage": usage}


def _envelope(asked: Asked, kind: str) -> dict[str, Any]:
    return {
        "id": asked.id,
        "object": kind,
        "created": asked.created,
        "model": asked.model.name,
        "system_fingerprint": asked.model.digest[:12] or None,
    }


def _usage(answers: Sequence[Answer], choices: int) -> dict[str, int]:
    # A prompt is read once, however many answers it has.
    prompt = sum(each.prompt_tokens for each in answers[::choices])
    made = sum(each.tokens for each in answers)
    return {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}


async def _events(asked: Asked, recorder: Recorder | None) -> AsyncGenerator[str, None]:
    answer, sent, began = Answer(), 0, False
    kind = "chat.completion.chunk" if asked.chat else asked.object
    # Where the last chunk has the usage, the others say that they have none (OpenAI's schema).
    usage = {"usage": None} if asked.options.include_usage else {}

    def event(choice: dict[str, Any] | None, **more: Any) -> str:
        choices = [] if choice is None else [{"index": 0, "finish_reason": None, **choice}]
        return _event(_envelope(asked, kind) | {"choices": choices} | usage | more)

    def piece(text: str, since: int) -> str:
        log_probs = _log_probs(asked, answer, since)
        if asked.chat:
            return event({"delta": {"content": text}, "logprobs": log_probs})
        return event({"text": text, "logprobs": log_probs})

    def beginning() -> str | None:
        if asked.chat:
            return event({"delta": {"role": "assistant", "content": ""}})
        return event({"text": asked.echoes[0], "logprobs": None}) if asked.echoes else None

    try:
        async with aclosing(_stream(asked, 0, answer)) as pieces:
            async for text in pieces:
                first = None if began else beginning()
                began = True
                if first:
                    yield first
                yield piece(text, sent)
                sent = len(answer.log_probs)
        await _keep(asked, [answer], recorder)
        first = None if began else beginning()
        if first:  # an answer without text has a beginning too
            yield first
    except ApiError as problem:
        if not began:
            raise  # nothing was sent yet: it is a plain error
        body = error_body(problem.status, problem.message, param=problem.param, code=problem.code)
        yield _event(body)
        return
    last: dict[str, Any] = {"finish_reason": answer.finish_reason}
    nothing: dict[str, Any] = {"delta": {}} if asked.chat else {"text": ""}
    yield event(last | nothing)
    if asked.options.include_usage:
        yield event(None, usage=_usage([answer], 1))
    yield "data: [DONE]\n\n"


def _event(value: Any) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


async def _after(first: str, rest: AsyncGenerator[str, None]) -> AsyncIterator[str]:
    async with aclosing(rest) as pieces:
        yield first
        async for each in pieces:
            yield each


def _log_probs(asked: Asked, answer: Answer, since: int = 0) -> dict[str, Any] | None:
    """Of the answer's tokens, those from number `since` on."""
    if asked.options.top_log_probs is None:
        return None
    tokens = answer.log_probs[since:]
    spell: Callable[[int], bytes] = asked.model.tokenizer.bytes_of
    if asked.chat:
        content = [
            {
                **_spelt(spell(token.id), token.log_prob),
                "top_logprobs": [_spelt(spell(name), value) for name, value in token.top],
            }
            for token in tokens
        ]
        return {"content": content, "refusal": None}
    return {
        "tokens": [spell(token.id).decode("utf-8", "replace") for token in tokens],
        "token_logprobs": [token.log_prob for token in tokens],
        "top_logprobs": [
            {spell(name).decode("utf-8", "replace"): value for name, value in token.top}
            for token in tokens
        ],
        "text_offset": answer.offsets[since:],
    }


def _spelt(token: bytes, log_prob: float | None) -> dict[str, Any]:
    return {
        "token": token.decode("utf-8", "replace"),
        "logprob": log_prob,
        "bytes": list(token),
    }
