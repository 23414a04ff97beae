"""How a run went, step by step: what is the same in every equal run, and so part of the artifact.

What differs from run to run is in train/measured.py.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from math import isfinite, log
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from volano.core.corpus import write_shard
from volano.text.stream import IGNORED_LABEL

METRICS_FILE, SEEN_FILE = "metrics.parquet", "seen.parquet"
SPIKES_FILE, SAMPLES_FILE = "spikes.parquet", "samples.parquet"
WHOLE = {"step", "tokens", "undone"}  # columns of whole numbers
UNDONE = "undone"

Row = dict[str, float]
Validate = Callable[[], Mapping[str, float]]
SPIKES = pa.schema(
    [
        ("step", pa.int64()),
        ("loss", pa.float64()),  # null where it is no finite number, as are the two below
        ("median", pa.float64()),  # of the steps before
        ("deviations", pa.float64()),
        ("action", pa.string()),  # recorded, left out or went back
        ("back_to", pa.int64()),  # the step whose weights were taken again; null: none were
        ("documents", pa.list_(pa.string())),
    ]
)
SAMPLES = pa.schema(
    [
        ("step", pa.int64()),
        ("tokens", pa.int64()),  # read until then
        ("prompt", pa.string()),
        ("continuation", pa.string()),
    ]
)


class Sampler(Protocol):
    """Lets a run's model speak at some of its steps."""

    def at(self, step: int) -> bool:
        """Whether it is to speak after so many steps."""
        ...

    def speak(self) -> Sequence[tuple[str, str]]:
        """Prompts, and what the model goes on with."""
        ...


class LabelBytes:
    """Bits per byte of a batch, from the bytes that each token stands for."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self._lengths = np.asarray(lengths, np.int64)

    def bits_per_byte(self, row: Mapping[str, float], labels: npt.NDArray[Any]) -> float:
        """All bits of the labels that are learnt over the bytes of their text.

        The end of a text costs bits and has no bytes. Not a number where there are no bytes.
        """
        learnt = labels[labels != IGNORED_LABEL]
        utf8_bytes = int(self._lengths[learnt].sum())
        nats = likelihood_of(row) * len(learnt)
        return nats / log(2) / utf8_bytes if utf8_bytes else float("nan")


class Metrics:
    """Columns that grow by a row per step; a figure that a step lacks is None there."""

    def __init__(self) -> None:
        self.columns: dict[str, list[float | None]] = {}
        self.rows = 0

    def add(self, row: Mapping[str, float]) -> None:
        for name in row.keys() - self.columns.keys():
            self.columns[name] = [None] * self.rows
        for name, values in self.columns.items():
            values.append(row.get(name))
        self.rows += 1

    def undo(self, after: int) -> None:
        """Mark the steps behind that one: the weights no longer hold them."""
        marks = self.columns.setdefault(UNDONE, [None] * self.rows)
        marks[after:] = [1.0] * (self.rows - after)

    def undone(self) -> list[int]:
        """Steps, counted from 0, that the weights do not hold."""
        return [step for step, mark in enumerate(self.columns.get(UNDONE, [])) if mark]

    def losses(self) -> Iterable[tuple[int, float]]:
        """Step, counted from 1, and likelihood's loss of all that the weights hold."""
        undone = set(self.undone())
        for place, loss in enumerate(self.columns.get("nll", self.columns.get("loss", []))):
            if place not in undone and loss is not None:
                yield place + 1, loss

    def total(self, name: str) -> int:
        return round(sum(value or 0 for value in self.columns.get(name, [])))

    def table(self) -> pa.Table:
        """The step first, the others by name."""
        return pa.table(
            {
                name: pa.array(self.columns[name], pa.int64() if name in WHOLE else pa.float64())
                for name in sorted(self.columns, key=lambda name: (name != "step", name))
            }
        )


class TrainResult(NamedTuple):
    """What a run leaves beside the weights, which are in the model."""

    steps: int
    tokens: int  # positions of all batches, padding included
    metrics: pa.Table  # one row per step; no time of day, so that equal runs give equal bytes
    seen: dict[str, int]  # source document → its tokens that were trained on
    spikes: list[dict[str, Any]]
    samples: list[dict[str, Any]]
    measured: dict[str, float]  # what differs from run to run, for bill.json
    save_measured: Callable[[Path], None]

    def bill(self) -> dict[str, float]:
        """What differs from run to run, for bill.json, and how many spikes there were."""
        return self.measured | ({"spikes": len(self.spikes)} if self.spikes else {})

    def save(self, folder: Path) -> None:
        """Write metrics.parquet, seen.parquet, measurements/, and where there are any,
        spikes.parquet and samples.parquet."""
        write_shard(folder / METRICS_FILE, self.metrics)
        seen = {
            "id": pa.array(self.seen.keys(), pa.string()),
            "tokens": pa.array(self.seen.values(), pa.int64()),
        }
        write_shard(folder / SEEN_FILE, pa.table(seen))
        if self.spikes:
            write_shard(folder / SPIKES_FILE, pa.Table.from_pylist(self.spikes, SPIKES))
        if self.samples:
            write_shard(folder / SAMPLES_FILE, pa.Table.from_pylist(self.samples, SAMPLES))
        self.save_measured(folder)


def likelihood_of(row: Mapping[str, float]) -> float:
    """The loss without what is added to it; the whole where that is no finite number."""
    return row.get("nll", row["loss"]) if isfinite(row["loss"]) else row["loss"]


def finite_or_none(value: float) -> float | None:
    """Parquet and JSON have a word for what is missing, and none that all read for infinity."""
    return value if isfinite(value) else None


def steps_at(fractions: Collection[float], steps: int) -> frozenset[int]:
    """After how many steps these fractions of a run are done; what is above 0 is one at least."""
    return frozenset(max(1, round(each * steps)) if each else 0 for each in fractions)
