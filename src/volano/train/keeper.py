"""Writes states beside training, and lets old ones go.

A state is copied, which is all that training waits for, and written by a thread of its own. Where
several processes share a run, each writes its part; the first says that the state is whole. They
agree by messages of a group of their own, so that those of training do not meet them.
"""

import math
import shutil
import time
from collections.abc import Mapping, Set
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_saver import save

from volano.core.corpus import write_shard
from volano.core.files import explained, sync, write_json
from volano.train.checkpoint import (
    SCALAR,
    STATE_FILE,
    STATES,
    TABLES,
    UNFINISHED,
    Columns,
    State,
    first_cause,
    folder_of,
    kept_states,
    let_go,
    remove_half_states,
)
from volano.train.share import Share, local
from volano.train.spikes import undone_by


class Keeper:
    """Keeps the last `most` states of a run, the best, and the last that is not in doubt."""

    def __init__(
        self,
        scratch: Path,
        *,
        most: int,
        first: bool = True,
        group: Any = None,
        shares: Mapping[str, Share] | None = None,
    ) -> None:
        """`group` joins the processes that write; None: there is one. `shares` are of what is split
        among them, by parameter."""
        self._scratch, self._most = scratch, most
        self._first, self._group, self._shares = first, group, shares or {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="keeper")
        self._pending: Future[None] | None = None
        self.seconds = 0.0  # that training has waited

    def __enter__(self) -> Self:
        if self._first:
            remove_half_states(self._scratch)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        try:
            self.wait()
        except Exception:
            if error is None:  # else the run's own error says more, and no state stands half there
                raise
        finally:
            self._thread.shutdown()

    def keep(self, state: State) -> None:
        """Keep a state, whose tensors may change from now on. Raises what became of the one before,
        as `wait` does."""
        began = time.perf_counter()
        self.wait()
        copied = {
            folder: {
                f"{name}{'' if value.dim() else SCALAR}": self._copied(name, value)
                for name, value in tensors.items()
            }
            for folder, tensors in state.tensors().items()
        }
        tables = {
            name: {column: list(values) for column, values in getattr(state, name).items()}
            for name in TABLES
        }
        settled = min((each["step"] for each in state.rewind), default=state.step)
        undone = undone_by(state.spikes)
        self._pending = self._thread.submit(
            self._write, state.plain(), copied, tables, undone, settled
        )
        self.seconds += time.perf_counter() - began

    def look(self) -> None:
        """Raise what has gone wrong with a state that is being written, if it has been found."""
        if self._pending is not None and self._pending.done():
            self.wait()

    def wait(self) -> None:
        """Until the state that is being written is whole. Raises RunFailed or StoreError where it
        could not be written."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        try:
            pending.result()
        except CheckpointException as failure:
            cause = first_cause(failure)
            if isinstance(cause, OSError):
                raise explained(cause, self._scratch / STATES) from None
            raise cause from None
        except OSError as problem:
            raise explained(problem, self._scratch / STATES) from None

    def _copied(self, name: str, value: Tensor) -> Tensor:
        """A copy in memory of its own, and of which part of the whole it is."""
        part = local(value.detach())
        copy = torch.empty(part.shape or (1,), dtype=part.dtype).copy_(part)
        share = next((self._shares[each] for each in name.split("/") if each in self._shares), None)
        if share is None or not value.dim():
            return copy
        return share.laid(copy)

    def _write(
        self,
        plain: dict[str, Any],
        tensors: Mapping[str, Mapping[str, Tensor]],
        tables: Mapping[str, Columns],
        undone: Set[int],
        settled: int,
    ) -> None:
        folder = folder_of(self._scratch, plain["step"])
        unfinished = folder.with_name(folder.name + UNFINISHED)
        try:
            self._fill(unfinished, plain, tensors, tables)
        except BaseException:  # a full disk has use for the room
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        if not self._first:
            return
        let_go(self._scratch, plain["step"])  # a state of the same step, by an earlier try
        unfinished.rename(folder)
        sync(folder.parent)
        for step in self._surplus(undone, settled):
            let_go(self._scratch, step)

    def _fill(
        self,
        unfinished: Path,
        plain: dict[str, Any],
        tensors: Mapping[str, Mapping[str, Tensor]],
        tables: Mapping[str, Columns],
    ) -> None:
        unfinished.mkdir(parents=True, exist_ok=True)
        for name, held in tensors.items():
            writer = HuggingFaceStorageWriter(str(unfinished / name), save_distributed=True)
            alone = self._group is None
            save(dict(held), storage_writer=writer, process_group=self._group, no_dist=alone)
        if not self._first:
            return
        for name, columns in tables.items():
            values = {column: pa.array(columns[column], pa.float64()) for column in columns}
            write_shard(unfinished / f"{name}.parquet", pa.table(values))
        write_json(unfinished / STATE_FILE, plain)
        for each in (*(unfinished / name for name in tensors), unfinished):
            sync(each)

    def _surplus(self, undone: Set[int], settled: int) -> list[int]:
        states = kept_states(self._scratch)
        # The best of all may yet be undone; that up to `settled`, the furthest way back, may not.
        known = [best_of(states, undone), best_of(states, undone, until=settled)]
        wanted = {*list(states)[-self._most :], *known}
        sound = [step for step, state in states.items() if not state["doubtful"]]
        return [step for step in states if step not in wanted | set(sound[-1:])]


def best_of(
    states: Mapping[int, Mapping[str, Any]], undone: Set[int], until: float = math.inf
) -> int | None:
    """The step of the lowest figure up to `until`; None where no state was evaluated. What was
    undone later does not count."""
    figures = {
        step: each["figure"]
        for step, each in states.items()
        if each["figure"] is not None and step not in undone and step <= until
    }
    return min(figures, key=lambda step: figures[step], default=None)
