"""A model under test, and what a task finds out about it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from volano.core.files import read_json, write_json
from volano.core.report import Measurement
from volano.stats.intervals import Interval
from volano.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from volano.model.decoder import Decoder

RANDOM = "random"  # the model of the same shape as the stages, before any training
AS_DOCUMENT = "base as document"  # the base model, asked in the form of its training documents


class Stage(NamedTuple):
    """One model: base, sft, aligned, or the randomly initialised one."""

    name: str
    model: "Decoder"
    tokenizer: Tokenizer


class Item(NamedTuple):
    """One result, kept so that later runs can be compared with this one item by item."""

    task: str
    id: str
    stage: str
    answer: str | None = None
    score: float | None = None
    correct: bool | None = None
    weight: float | None = None  # of its score in the mean, such as bytes; None: as any other


class Found(NamedTuple):
    """What a task found about one stage."""

    measurements: list[Measurement]
    items: list[Item]


def kept(path: Path, measure: Callable[[], Found]) -> Found:
    """What an interrupted run measured and kept at `path`, or what `measure` finds now."""
    if path.is_file():
        measurements, items = read_json(path)
        return Found([Measurement(*row) for row in measurements], [Item(*row) for row in items])
    found = measure()
    write_json(path, [[list(vars(each).values()) for each in found.measurements], found.items])
    return found


def measured(
    name: str, stage: str, interval: Interval, *, unit: str = "share", note: str = ""
) -> Measurement:
    """An interval as a measurement."""
    return Measurement(name, stage, *interval, unit, note)


def without_error(
    name: str, stage: str, value: float, n: int, *, unit: str = "share", note: str = ""
) -> Measurement:
    """A figure that is known exactly, such as chance."""
    return Measurement(name, stage, value, value, value, n, unit, note)


def outcomes(items: Sequence[Item], task: str, stage: str) -> dict[str, float]:
    """Id → score (or 1 and 0 for right and wrong) of one task and stage."""
    found = {}
    for item in items:
        if (item.task, item.stage) == (task, stage):
            value = item.score if item.correct is None else float(item.correct)
            if value is not None:
                found[item.id] = value
    return found
