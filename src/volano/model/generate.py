"""Continuations of many prompts at once, each as if it had been alone.

Prompts are sorted by length and run in batches; a row that ends leaves its batch once half have.
Greedy answers equal those of one prompt at a time. A sampled answer depends on the seed and on the
prompt's place in the call, not on its neighbours: each prompt draws from a stream of its own.

Shapes: B rows of a batch, T tokens, D width, V vocabulary.
"""

from collections.abc import Collection, Sequence
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from volano.core.errors import DataError
from volano.model.cache import StaticCache
from volano.model.decoder import Decoder


class Generation(NamedTuple):
    """What was added to a prompt. `ended` tells a stop id, itself left out, from the limit."""

    tokens: list[int]
    ended: bool
    seconds_to_first_token: float  # since its batch began; not a number where none came


class _Request(NamedTuple):
    place: int  # in the caller's list
    prompt: list[int]
    limit: int
    draws: npt.NDArray[Any]  # one number in [0, 1) per token; none when greedy


def generate(
    model: Decoder,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    stop_ids: Collection[int] = (),
    seed: int = 0,
    batch_size: int = 64,
) -> list[Generation]:
    """One continuation per prompt, in order. Temperature 0 takes the likeliest token.

    top_p: samples come from the fewest tokens that hold this much of the probability.
    A continuation stops where prompt and continuation fill the context. Raises DataError for an
    empty prompt and for one that leaves no room.
    """
    if temperature < 0 or not 0 < top_p <= 1:
        raise DataError(
            f"temperature {temperature} and top_p {top_p} do not go",
            "generate",
            "Set temperature to 0 or more and top_p above 0 and at most 1.",
        )
    requests = []
    for place, prompt in enumerate(prompts):
        where = f"prompt {place}" if len(prompts) > 1 else "the prompt"
        room = model.config.context - check_prompt(model.config.context, prompt, where)
        limit = min(max_new_tokens, room)
        draws = np.random.default_rng([seed, place]).random(limit if temperature else 0)
        requests.append(_Request(place, list(prompt), limit, draws))
    requests.sort(key=lambda request: -len(request.prompt))
    results: list[Generation | None] = [None] * len(prompts)
    with torch.inference_mode(), model.frozen():
        for start in range(0, len(requests), batch_size):
            batch = requests[start : start + batch_size]
            for request, result in zip(
                batch, _run(model, batch, temperature, top_p, set(stop_ids)), strict=True
            ):
                results[request.place] = result
    return [result for result in results if result is not None]


def check_prompt(context: int, prompt: Sequence[int], where: str = "the prompt") -> int:
    """The prompt's length. Raises DataError where it is empty or leaves no room to answer."""
    if not len(prompt):
        raise DataError("empty", where, "Begin it with the end-of-text token.")
    if len(prompt) >= context:
        raise DataError(
            f"{len(prompt):,} tokens, and the model reads {context:,}, the answer included",
            where,
            "Shorten the prompt, or train a model with a longer context.",
        )
    return len(prompt)


def _run(
    model: Decoder, batch: list[_Request], temperature: float, top_p: float, stop_ids: set[int]
) -> list[Generation]:
    began = perf_counter()
    longest = max(len(request.prompt) for request in batch)
    steps = max(request.limit for request in batch)
    padded = [[0] * (longest - len(request.prompt)) + request.prompt for request in batch]
    padding_B = torch.tensor([longest - len(request.prompt) for request in batch])
    device = model.head_weight.device
    cache = StaticCache(model.config, padding_B.to(device), longest + steps, model.compute_dtype)
    head_VD = model.head_weight.to(model.compute_dtype)
    tokens_BT = torch.tensor(padded, device=device)
    answers: list[list[int]] = [[] for _ in batch]
    ended, first = [False] * len(batch), [float("nan")] * len(batch)
    running = list(range(len(batch)))  # places in `batch` of those that go on
    rows = running  # places in `batch` of the cache's rows, some of which have ended
    for step in range(steps):
        hidden_BD = model.hidden(tokens_BT, cache=cache)[:, -1]
        draws = [batch[row].draws[step : step + 1] for row in rows]
        draw_B = np.array([each[0] if len(each) else 0.0 for each in draws])
        chosen = choose(F.linear(hidden_BD, head_VD), temperature, top_p, draw_B).tolist()
        alive = set(running)
        for row, token in zip(rows, chosen, strict=True):
            if row not in alive:
                continue
            if step == 0:
                first[row] = perf_counter() - began
            ended[row] = token in stop_ids
            if not ended[row]:
                answers[row].append(token)
        running = [row for row in running if not ended[row] and step + 1 < batch[row].limit]
        if not running:
            break
        if 2 * len(running) <= len(rows):
            alive = set(running)
            stay = [index for index, row in enumerate(rows) if row in alive]
            cache.keep(torch.tensor(stay, device=device))
            rows, chosen = running, [chosen[index] for index in stay]
        tokens_BT = torch.tensor(chosen, device=device)[:, None]
    return [Generation(*each) for each in zip(answers, ended, first, strict=True)]


def choose(logits_BV: Tensor, temperature: float, top_p: float, draw_B: npt.NDArray[Any]) -> Tensor:
    """One token per row, shape (B,): the likeliest at temperature 0, else where the draw falls."""
    if temperature == 0:
        return logits_BV.argmax(-1)
    # float64: with many tokens a running sum in float32 would depend on how the batch was split
    probabilities_BV = (logits_BV.double() / temperature).softmax(-1)
    order_BV: Tensor | None = None
    if top_p < 1:
        probabilities_BV, order_BV = probabilities_BV.sort(dim=-1, descending=True, stable=True)
        before_BV = probabilities_BV.cumsum(-1) - probabilities_BV
        probabilities_BV = probabilities_BV.masked_fill(before_BV >= top_p, 0.0)
    running_BV = probabilities_BV.cumsum(-1)
    draw_B1 = torch.from_numpy(draw_B).to(logits_BV.device)[:, None]
    found_B1 = torch.searchsorted(running_BV, draw_B1 * running_BV[:, -1:], right=True)
    found_B1 = found_B1.clamp_max(logits_BV.shape[1] - 1)
    return (found_B1 if order_BV is None else order_BV.gather(1, found_B1))[:, 0]
