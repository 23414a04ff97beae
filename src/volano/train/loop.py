"""The one training loop: pre-training, fine-tuning and alignment hand it a model, a loss, batches.

A run stopped at any moment and started again gives the same bytes as an undisturbed one: batches
and random numbers follow from the step alone, weights and optimiser come from the last kept state.

It stops of itself, before a step does harm, where loss or gradient is no finite number, and says
which documents were in the batch.
"""

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from llvmlite.binding import get_host_cpu_name

from volano.core.corpus import write_shard
from volano.core.engine import available_cores
from volano.core.errors import MissingExtra, RunFailed
from volano.core.progress import Bar, SilentBar
from volano.model.decoder import Decoder
from volano.train.checkpoint import ResumeState, load_state, save_state
from volano.train.objective import LossOutput, Objective, Stream
from volano.train.optimiser import Optimiser
from volano.train.schedule import rate_factor
from volano.train.section import TrainSection

AMD = "znver"  # as LLVM names Zen and its successors
NAMED_DOCUMENTS = 5  # of a batch whose loss is not finite; the rest are counted

Validate = Callable[[], Mapping[str, float]]
LossFunction = Callable[[Decoder, Any], LossOutput]


class TrainResult(NamedTuple):
    """What a run leaves beside the weights, which are in the model."""

    steps: int
    tokens: int  # positions of all batches, padding included
    metrics: pa.Table  # one row per step; no time of day, so that equal runs give equal bytes
    seen: dict[str, int]  # source document → its tokens that were trained on
    seconds: float  # of all steps, those before a resumption too
    tokens_per_second: float  # since the last resumption
    threads: int  # byte identity of weights holds per thread count

    def bill(self) -> dict[str, float]:
        """What differs from run to run, for bill.json."""
        return {
            "training_seconds": round(self.seconds, 3),
            "tokens_per_second": round(self.tokens_per_second, 1),
            "threads": self.threads,
        }

    def save(self, folder: Path) -> None:
        """Write metrics.parquet and seen.parquet."""
        write_shard(folder / "metrics.parquet", self.metrics)
        seen = {
            "id": pa.array(self.seen.keys(), pa.string()),
            "tokens": pa.array(self.seen.values(), pa.int64()),
        }
        write_shard(folder / "seen.parquet", pa.table(seen))


def train(
    model: Decoder,
    objective: Objective,
    stream: Stream,
    section: TrainSection,
    *,
    seed: int,
    scratch: Path,
    workers: int = 0,
    bar: Bar | None = None,
    validate: Validate | None = None,
) -> TrainResult:
    """Train `model` in place over the whole stream, resuming from `scratch` where a state is kept.

    `workers` is the number of threads where the section names none; 0 takes every available core.
    `validate` is called every `evaluate_steps` and after the last step; its figures join the
    metrics. Raises RunFailed where the loss is not finite and on SIGTERM; Ctrl-C raises
    KeyboardInterrupt. In each case the state is kept first.
    """
    bar = bar or SilentBar()
    scratch.mkdir(parents=True, exist_ok=True)
    threads = section.threads or workers or available_cores()
    loss_of = _compiled(objective.loss) if section.compile else objective.loss
    dtype = compute_dtype(section.precision)
    optimiser = Optimiser(model, section, dtype)
    metrics = _Metrics()
    first, earlier_seconds = _resume(scratch, model, optimiser, metrics)
    tokens = resumed_tokens = metrics.total("tokens")
    if first:
        bar.resume(tokens)
    start = kept_at = time.monotonic()

    def keep(step: int) -> None:
        save_state(
            scratch,
            ResumeState(
                step=step,
                model=model.state_dict(),
                optimiser=optimiser.state_dict(),
                metrics=metrics.columns,
                seconds=earlier_seconds + time.monotonic() - start,
            ),
        )

    with _computing(model, dtype, threads), _caught_signals() as caught:
        model.train()
        for step in range(first, stream.steps):
            torch.manual_seed(seed * 1_000_003 + step)
            batch = stream.batch(step)
            row = _backward(model, loss_of, batch, section.accumulate)
            row["gradient_norm"] = _clip(model, section.clip_norm)
            if not np.isfinite([row["loss"], row["gradient_norm"]]).all():
                keep(step)  # the last good state: this step's update never happens
                raise _not_finite(row, step, stream)
            factor = rate_factor(
                step,
                stream.steps,
                schedule=section.schedule,
                warmup_fraction=section.warmup_fraction,
                decay_fraction=section.decay_fraction,
            )
            optimiser.step(factor)
            row["rate_factor"] = factor
            done, last = step + 1, step + 1 == stream.steps
            due = section.evaluate_steps and done % section.evaluate_steps == 0
            if validate is not None and (due or last):
                row |= validate()
                model.train()
            metrics.add({"step": done, **row})
            tokens += int(row["tokens"])
            bar.advance(row["tokens"])
            bar.note(f"loss {row['loss']:.3f}")
            overdue = time.monotonic() - kept_at >= section.checkpoint_seconds
            if last or overdue or done % section.checkpoint_steps == 0 or caught:
                keep(done)
                kept_at = time.monotonic()
            if caught and not last:
                raise _stopped(caught[0], done)
    seconds = time.monotonic() - start
    return TrainResult(
        steps=stream.steps,
        tokens=tokens,
        metrics=metrics.table(),
        seen=dict(stream.documents(stream.steps)),
        seconds=earlier_seconds + seconds,
        tokens_per_second=(tokens - resumed_tokens) / seconds,
        threads=threads,
    )


class _Metrics:
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

    def total(self, name: str) -> int:
        return round(sum(value or 0 for value in self.columns.get(name, [])))

    def table(self) -> pa.Table:
        whole = {"step", "tokens"}
        return pa.table(
            {
                name: pa.array(self.columns[name], pa.int64() if name in whole else pa.float64())
                for name in sorted(self.columns, key=lambda name: (name != "step", name))
            }
        )


def _resume(
    scratch: Path, model: Decoder, optimiser: Optimiser, metrics: _Metrics
) -> tuple[int, float]:
    """Steps done and their seconds."""
    state = load_state(scratch)
    if state is None:
        return 0, 0.0
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    metrics.columns, metrics.rows = state["metrics"], state["step"]
    return state["step"], state.get("seconds", 0.0)  # none in states of former versions


def _backward(
    model: Decoder, loss_of: LossFunction, batch: Any, micro_batches: int
) -> dict[str, float]:
    """Gradients of the mean loss over the whole batch, and the step's figures."""
    device = next(model.parameters()).device
    weights, totals = 0.0, {"loss": 0.0}
    parts = [np.array_split(field, micro_batches) for field in batch]
    for fields in zip(*parts, strict=True):
        if not len(fields[0]):
            continue
        part = type(batch)(*(torch.from_numpy(field).to(device) for field in fields))
        output = loss_of(model, part)
        weight = float(output.weight)
        (output.loss * weight if micro_batches > 1 else output.loss).backward()  # type: ignore[no-untyped-call]
        weights += weight
        for name, value in {"loss": output.loss, **output.metrics}.items():
            totals[name] = totals.get(name, 0.0) + float(value.detach()) * weight
    if micro_batches > 1:
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad /= max(weights, 1e-12)
    figures = {name: total / max(weights, 1e-12) for name, total in totals.items()}
    return {**figures, "tokens": float(batch[0].size)}


def _clip(model: Decoder, largest: float) -> float:
    """The norm of the whole gradient before clipping."""
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), largest or float("inf"), foreach=True)
    return float(norm)


def _compiled(loss: LossFunction) -> LossFunction:
    compilers = [os.environ.get("CXX", ""), "g++", "clang++"]
    if not any(shutil.which(name) for name in compilers if name):
        raise MissingExtra(
            "no C++ compiler found", "compile: on", "Install g++, or set compile: off."
        )
    # The loss is compiled and not the model: under no_grad that would recompile at each shape.
    compiled: LossFunction = torch.compile(loss, dynamic=False)
    return compiled


def compute_dtype(precision: str) -> torch.dtype:
    """The type of matmuls. `auto` is bfloat16 where that is faster on this processor: with AMX, and
    with AVX-512 bf16 on AMD's, where it doubles the speed. Intel's without AMX multiply in it at
    0.64 of the speed of float32 (docs/log.md, 2026-11-28)."""
    pays = torch.cpu._is_amx_tile_supported() or (
        torch.cpu._is_avx512_bf16_supported() and get_host_cpu_name().startswith(AMD)
    )
    reduced = precision == "bfloat16" or (precision == "auto" and pays)
    return torch.bfloat16 if reduced else torch.float32


@contextmanager
def _computing(model: Decoder, dtype: torch.dtype, threads: int) -> Iterator[None]:
    """The type and the threads of the run; both as before afterwards."""
    before = model.compute_dtype, torch.get_num_threads()
    model.compute_in(dtype)
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        model.compute_in(before[0])
        torch.set_num_threads(before[1])


@contextmanager
def _caught_signals() -> Iterator[list[int]]:
    """A list that SIGTERM and the first Ctrl-C are put into; the second Ctrl-C interrupts."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught  # Python delivers signals to the main thread alone
        return

    def catch(number: int, _frame: FrameType | None) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    before = {number: signal.signal(number, catch) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stopped(number: int, step: int) -> BaseException:
    if number == signal.SIGINT:
        return KeyboardInterrupt()
    return RunFailed(
        f"stopped by {signal.Signals(number).name} after step {step:,}",
        "training",
        "Run the same command again: it resumes.",
    )


def _not_finite(row: Mapping[str, float], step: int, stream: Stream) -> RunFailed:
    name = "loss" if not np.isfinite(row["loss"]) else "gradient"
    documents = stream.documents_at(step)
    named = ", ".join(documents[:NAMED_DOCUMENTS]) or "no documents"
    rest = len(documents) - NAMED_DOCUMENTS
    more = f" and {rest} more" if rest > 0 else ""
    return RunFailed(
        f"the {name} is not finite at step {step + 1:,}; its batch holds {named}{more}",
        "training",
        "Lower learning_rate or matrix_learning_rate, or look at these documents.",
    )
