"""What a client may ask: OpenAI's schemas of chat and text completions, every field accounted for.

A field that is supported is checked. One that the schema has and this server does not is refused
where it would change the answer, and passed over at its default. A field that the schema does not
have is ignored, as OpenAI's own clients send some.
"""

import json
import re
from typing import Any, NamedTuple

from volano.core.errors import did_you_mean
from volano.core.half_character import HALF_CHARACTER, REMEDY, half_character
from volano.core.records import Message
from volano.serve.errors import ApiError

MOST_STOPS, MOST_TOP_LOG_PROBS, MOST_CHOICES = 4, 20, 8
ROLES = ("system", "user", "assistant")
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
# Field → values that ask for nothing which is not done anyway; None always is one of them.
UNSUPPORTED_CHAT: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "frequency_penalty": (0,),
    "function_call": ("none",),
    "functions": ([],),
    "logit_bias": ({},),
    "metadata": ({},),
    "modalities": (["text"],),
    "moderation": (),
    "parallel_tool_calls": (True, False),
    "prediction": (),
    "presence_penalty": (0,),
    "prompt_cache_key": (),
    "prompt_cache_options": (),
    "prompt_cache_retention": (),
    "reasoning_effort": (),
    "response_format": ({"type": "text"},),
    "service_tier": ("auto", "default"),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "verbosity": ("medium",),
    "web_search_options": (),
}
UNSUPPORTED_TEXT: dict[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "suffix": ("",),
}
UNSUPPORTED_MESSAGE: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "function_call": (),
    "name": (),
    "refusal": (),
    "tool_call_id": (),
    "tool_calls": ([],),
}
UNSUPPORTED_PART: dict[str, tuple[Any, ...]] = {"prompt_cache_breakpoint": ()}
# True is the schema's default: padding against eavesdroppers, and no part of the answer.
UNSUPPORTED_STREAM: dict[str, tuple[Any, ...]] = {"include_obfuscation": (True, False)}


class Options(NamedTuple):
    """How to answer, the same for both kinds of request."""

    model: str | None
    max_tokens: int | None  # None: as many as the context holds
    temperature: float
    top_p: float
    seed: int | None
    stop: tuple[str, ...]
    choices: int
    top_log_probs: int | None  # None: no log-probabilities
    stream: bool
    include_usage: bool
    user: str | None
    store: bool  # whether the exchange may be kept
    echo: bool = False


def read_json(body: bytes) -> dict[str, Any]:
    """The object of a body. Raises ApiError where it is none, or a text in it is no text."""
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as failure:
        raise ApiError(400, f"The body is not JSON ({failure}).", code="invalid_json") from None
    if not isinstance(value, dict):
        raise ApiError(400, f"The body is a JSON {type(value).__name__}, not an object.")
    half = half_character(value)
    if half is not None:
        raise ApiError(400, f"{half} holds {HALF_CHARACTER}. {REMEDY}", param=half)
    return value


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def read_chat(value: dict[str, Any]) -> tuple[list[Message], Options]:
    """Messages and options of a chat completion. Raises ApiError naming the field."""
    _refuse_unsupported(value, UNSUPPORTED_CHAT)
    log_probs = _flag(value, "logprobs", False)
    top = _integer(value, "top_logprobs", 0, MOST_TOP_LOG_PROBS)
    if top is not None and not log_probs:
        raise ApiError(400, "top_logprobs needs logprobs: true.", param="top_logprobs")
    limit = _integer(value, "max_completion_tokens", 1, None)
    limit = limit if limit is not None else _integer(value, "max_tokens", 1, None)
    options = _options(value, limit, (top or 0) if log_probs else None, None)
    return _messages(value.get("messages")), options


def read_text(value: dict[str, Any]) -> tuple[list[str], Options]:
    """Prompts and options of a text completion. Raises ApiError naming the field."""
    _refuse_unsupported(value, UNSUPPORTED_TEXT)
    prompt = value.get("prompt", "<|endoftext|>")
    prompts = [prompt] if isinstance(prompt, str) else prompt
    if (
        not isinstance(prompts, list)
        or not 1 <= len(prompts) <= MOST_CHOICES
        or not all(isinstance(each, str) for each in prompts)
    ):
        what = f"prompt has to be a text, or a list of at most {MOST_CHOICES} texts."
        raise ApiError(400, what, param="prompt")
    limit = _integer(value, "max_tokens", 1, None)
    top = _integer(value, "logprobs", 0, 5)
    options = _options(value, 16 if limit is None else limit, top, None)
    if options.stream and len(prompts) * options.choices > 1:
        raise ApiError(400, "One answer at a time can be streamed.", param="stream")
    echo = _flag(value, "echo", False)
    if echo and top is not None:
        # Offsets would have to count in the prompt, whose tokens have no log-probabilities here.
        what = "echo with logprobs is not supported: ask for the one or the other."
        raise ApiError(400, what, param="echo", code="unsupported_parameter")
    return prompts, options._replace(echo=echo)


def _options(
    value: dict[str, Any], limit: int | None, top: int | None, default_model: str | None
) -> Options:
    stop = value.get("stop")
    stops = [] if stop is None else [stop] if isinstance(stop, str) else stop
    if (
        not isinstance(stops, list)
        or len(stops) > MOST_STOPS
        or not all(isinstance(each, str) for each in stops)
    ):
        what = f"stop has to be a text, or a list of at most {MOST_STOPS} texts."
        raise ApiError(400, what, param="stop")
    stream = _flag(value, "stream", False)
    choices = _integer(value, "n", 1, MOST_CHOICES) or 1
    if stream and choices > 1:
        raise ApiError(400, "One answer at a time can be streamed: n has to be 1.", param="n")
    return Options(
        model=_text(value, "model"),
        max_tokens=limit,
        temperature=_number(value, "temperature", 1.0, 0, 2),
        top_p=_number(value, "top_p", 1.0, 0, 1),
        seed=_integer(value, "seed", -(2**63), 2**63 - 1),
        stop=tuple(each for each in stops if each),
        choices=choices,
        top_log_probs=top,
        stream=stream,
        include_usage=_include_usage(value),
        user=_text(value, "user") or _text(value, "safety_identifier"),
        store=_flag(value, "store", True),
    )


def _refuse_unsupported(
    value: dict[str, Any], unsupported: dict[str, tuple[Any, ...]], within: str = ""
) -> None:
    for name, harmless in unsupported.items():
        given = value.get(name)
        if given is not None and given not in harmless:
            what = f"{within}{name} is not supported; leave it out."
            raise ApiError(400, what, param=f"{within}{name}", code="unsupported_parameter")


def _messages(value: object) -> list[Message]:
    if not isinstance(value, list) or not value:
        raise ApiError(400, "messages has to be a list of at least one message.", param="messages")
    messages = []
    for place, turn in enumerate(value):
        where = f"messages[{place}]"
        if not isinstance(turn, dict):
            raise ApiError(400, f"{where} is not an object.", param=where)
        role = turn.get("role")
        role = "system" if role == "developer" else role
        if role not in ROLES:
            remedy = did_you_mean(str(role), ROLES)
            raise ApiError(400, f"{where}.role is '{role}'. {remedy}", param=f"{where}.role")
        _refuse_unsupported(turn, UNSUPPORTED_MESSAGE, f"{where}.")
        messages.append(Message(role, _content(turn.get("content"), f"{where}.content")))
    return messages


def _content(value: object, where: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        parts = []
        for place, part in enumerate(value):
            if not isinstance(part, dict) or part.get("type") != "text":
                raise ApiError(400, f"{where} may hold parts of type text only.", param=where)
            _refuse_unsupported(part, UNSUPPORTED_PART, f"{where}[{place}].")
            parts.append(str(part.get("text", "")))
        return "".join(parts)
    raise ApiError(400, f"{where} has to be a text.", param=where)


def _include_usage(value: dict[str, Any]) -> bool:
    options = value.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        raise ApiError(400, "stream_options has to be an object.", param="stream_options")
    _refuse_unsupported(options, UNSUPPORTED_STREAM, "stream_options.")
    return _flag(options, "include_usage", False)


def _flag(value: dict[str, Any], name: str, default: bool) -> bool:
    given = value.get(name)
    if given is None:
        return default
    if not isinstance(given, bool):
        raise ApiError(400, f"{name} has to be true or false.", param=name)
    return given


def _text(value: dict[str, Any], name: str) -> str | None:
    given = value.get(name)
    if given is not None and not isinstance(given, str):
        raise ApiError(400, f"{name} has to be a text.", param=name)
    return given


def _number(value: dict[str, Any], name: str, default: float, low: float, high: float) -> float:
    given = value.get(name)
    if given is None:
        return default
    if isinstance(given, bool) or not isinstance(given, int | float) or not low <= given <= high:
        raise ApiError(400, f"{name} has to be a number from {low} to {high}.", param=name)
    return float(given)


def _integer(value: dict[str, Any], name: str, low: int, high: int | None) -> int | None:
    given = value.get(name)
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int):
        raise ApiError(400, f"{name} has to be a whole number.", param=name)
    if given < low or (high is not None and given > high):
        bounds = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ApiError(400, f"{name} has to be {bounds}.", param=name)
    return given
