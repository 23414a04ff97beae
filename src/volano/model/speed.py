"""How fast a model answers: for the evaluation table, never part of an artifact's digest."""

from collections.abc import Sequence
from statistics import median
from time import perf_counter
from typing import NamedTuple

from volano.model.decoder import Decoder
from volano.model.generate import generate


class Speed(NamedTuple):
    """Wall-clock figures on this machine, with the threads that torch has now."""

    seconds_to_first_token: float  # one prompt alone, median over the prompts
    tokens_per_second_alone: float  # one prompt at a time, prompt reading included
    tokens_per_second: float  # all prompts in batches, prompt reading included
    new_tokens: int  # of the batched run


def measure_speed(
    model: Decoder, prompts: Sequence[Sequence[int]], *, new_tokens: int, alone: int = 8
) -> Speed:
    """Greedy answers of `new_tokens` each, with no stop id, so that every model does equal work.

    The first `alone` prompts are run one at a time, then all of them together. A prompt after
    which the context has less room gives fewer tokens.
    """
    generate(model, prompts[:1], max_new_tokens=new_tokens)  # the first call warms up
    began = perf_counter()
    singles = [generate(model, [each], max_new_tokens=new_tokens)[0] for each in prompts[:alone]]
    seconds_alone = perf_counter() - began
    began = perf_counter()
    batched = generate(model, prompts, max_new_tokens=new_tokens)
    seconds = perf_counter() - began
    count = sum(len(each.tokens) for each in batched)
    return Speed(
        seconds_to_first_token=median(each.seconds_to_first_token for each in singles),
        tokens_per_second_alone=sum(len(each.tokens) for each in singles) / seconds_alone,
        tokens_per_second=count / seconds,
        new_tokens=count,
    )
