"""Speed and memory of answering. They differ from run to run, so they go to the bill alone."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from volano.core.bill import peak_memory_bytes
from volano.core.errors import DataError
from volano.core.records import Message
from volano.evaluate.stage import Stage
from volano.model.speed import measure_speed
from volano.stats.intervals import Interval, mean_interval
from volano.text.chat import encode_prompt
from volano.text.functions import FunctionDocument, plain_question

NEW_TOKENS = 24
PROMPTS = 64  # one batch
ALONE = 2  # prompts that are also run one at a time, in each round
ROUNDS = 5  # the interval is over rounds: prompts differ less than moments on a shared machine
PREFIX = "efficiency"
PEAK_MEMORY = f"{PREFIX}.peak_memory_megabytes"


class Speeds(NamedTuple):
    """What is measured of each stage; the names are those in the bill."""

    tokens_per_second: float
    tokens_per_second_alone: float
    milliseconds_to_first_token: float


def measure_efficiency(
    stages: Sequence[Stage], functions: Sequence[FunctionDocument]
) -> dict[str, float]:
    """For the bill: each stage's speeds as mean and 95 % interval over rounds, and peak memory.

    Stages take turns in each round, so that a busy moment meets them all. Memory is that of the
    whole process so far, one figure. Raises DataError where no question fits the context.
    """
    rounds: dict[str, list[Speeds]] = {stage.name: [] for stage in stages}
    prompts = [_prompts(stage, functions) for stage in stages]
    for _ in range(ROUNDS):
        for stage, asked in zip(stages, prompts, strict=True):
            rounds[stage.name].append(_speeds(stage, asked))
    bill: dict[str, float] = {PEAK_MEMORY: round(peak_memory_bytes() / 1e6, 1)}
    for name, measured in rounds.items():
        for figure, values in zip(Speeds._fields, zip(*measured, strict=True), strict=True):
            interval = mean_interval(values)
            for key, value in zip(("", ".low", ".high", ".n"), interval, strict=True):
                bill[f"{PREFIX}.{name}.{figure}{key}"] = round(value, 3)
    return bill


def read_efficiency(bill: Mapping[str, Any], stage: str, figure: str) -> Interval | None:
    """A figure as `measure_efficiency` put it into the bill; None where it is not there."""
    name = f"{PREFIX}.{stage}.{figure}"
    if name not in bill:
        return None
    value, low, high, n = (bill[name + key] for key in ("", ".low", ".high", ".n"))
    return Interval(value, low, high, int(n))


def _prompts(stage: Stage, functions: Sequence[FunctionDocument]) -> list[list[int]]:
    encoded = [
        encode_prompt(stage.tokenizer, [Message("user", plain_question(each.qualified_name))])
        for each in functions[:PROMPTS]
    ]
    room = stage.model.config.context - NEW_TOKENS
    fitting = [ids for ids in encoded if len(ids) <= room]
    if not fitting:
        what = f"no question leaves room for {NEW_TOKENS} tokens in a context of"
        remedy = "Leave `efficiency` out of evaluate.tasks."
        raise DataError(f"{what} {stage.model.config.context}", "evaluate", remedy)
    return fitting


def _speeds(stage: Stage, prompts: Sequence[Sequence[int]]) -> Speeds:
    speed = measure_speed(stage.model, prompts, new_tokens=NEW_TOKENS, alone=ALONE)
    return Speeds(
        speed.tokens_per_second, speed.tokens_per_second_alone, 1000 * speed.seconds_to_first_token
    )
