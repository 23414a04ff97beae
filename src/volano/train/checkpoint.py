"""States of a run in the making: each whole or absent, and taken up by the next try.

    scratch/states/000000400/     after 400 steps; written aside and renamed when it is whole
        weights/                  the parameters that learn, by name
        rest/                     what the optimiser keeps of each, and weights to go back to
        metrics.parquet, measured.parquet, state.json

Tensors are written by torch's distributed checkpoints in Hugging Face's storage: safetensors, which
hold no code, one file per process and folder. Each process writes what it holds, replicas share
the writing out, and a run of another shape reads the parts that it needs.

They lie in the step's scratch folder, which survives a kill and is never published. What is
published are weights in safetensors (model/huggingface.py).
"""

import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.checkpoint.state_dict_loader import load

from volano.core.errors import RunFailed, StoreError
from volano.core.files import read_json
from volano.model.decoder import Decoder

STATES, STATE_FILE = "states", "state.json"
WEIGHTS, REST = "weights", "rest"
TABLES = ("metrics", "measured")
UNFINISHED = ".unfinished"
EARLIER_FILE = "resume.pt"
SCALAR = "#"  # ends the name of a tensor without axes, which is written with one
OPTIMISER, REWIND = "optimiser", "rewind"
PLAIN = ("step", "spikes", "samples", "doubtful", "figure", "seconds", "threads", "processes")
# Said each time that one process alone reads or writes.
warnings.filterwarnings("ignore", message="torch.distributed is disabled")

Columns = dict[str, list[float | None]]
Room = Callable[[str, tuple[int, ...], torch.dtype], Tensor | None]
Nested = dict[str, Any]  # by parameter: a tensor, or tensors by name


class State(NamedTuple):
    """All that the next step depends on, apart from settings and seed. Randomness is drawn from the
    seed and the step alone, so the step is its state."""

    step: int  # steps done
    weights: dict[str, Tensor]
    optimiser: Nested
    metrics: Columns  # one value per step done
    measured: Columns  # likewise, what differs from run to run
    spikes: list[dict[str, Any]]
    samples: list[dict[str, Any]]
    rewind: list[dict[str, Any]]  # states that a spike may take the run back to
    doubtful: bool  # the loss was rising
    figure: float | None  # of the evaluation after this step; the lowest is the best
    seconds: float  # that these steps took
    threads: int = 0  # that computed the last of them; 0: an earlier Volano has not said
    processes: int = 1

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """By folder and name."""
        rest = _flat({OPTIMISER: self.optimiser})
        for place, each in enumerate(self.rewind):
            rest |= _flat({f"{REWIND}/{place}": {key: each[key] for key in (WEIGHTS, OPTIMISER)}})
        return {WEIGHTS: self.weights, REST: rest}

    def plain(self) -> dict[str, Any]:
        """What goes into state.json."""
        plain = {name: getattr(self, name) for name in PLAIN}
        return plain | {
            REWIND: [{key: each[key] for key in ("step", "returned_to")} for each in self.rewind]
        }


def learning_state(model: Decoder) -> dict[str, Tensor]:
    """The parameters that learn, by name: a frozen base is not written again and again."""
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


def take_up(model: Decoder, state: Mapping[str, Tensor]) -> None:
    """Give the parameters that learn the values of `learning_state`."""
    own = learning_state(model)
    assert own.keys() == state.keys(), "a state of another model"
    with torch.no_grad():
        for name, value in state.items():
            own[name].copy_(value)


def folder_of(scratch: Path, step: int) -> Path:
    """Where the state after so many steps lies."""
    return scratch / STATES / f"{step:09}"


def kept_states(scratch: Path) -> dict[int, dict[str, Any]]:
    """What state.json says of each state, by step, the latest last."""
    found = sorted((scratch / STATES).glob(f"*/{STATE_FILE}"))
    whole = [path for path in found if not path.parent.name.endswith(UNFINISHED)]
    return {int(path.parent.name): _described(path) for path in whole}


def let_go(scratch: Path, step: int) -> None:
    """Delete a state: first what makes it one, so that no half of it is taken for a whole."""
    folder = folder_of(scratch, step)
    (folder / STATE_FILE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def remove_half_states(scratch: Path) -> None:
    """Delete what a kill has left of states that were being written or let go."""
    for folder in (scratch / STATES).glob("*"):
        if folder.name.endswith(UNFINISHED) or not (folder / STATE_FILE).is_file():
            shutil.rmtree(folder, ignore_errors=True)


def fall_back(scratch: Path) -> int | None:
    """Let the states go that are in doubt; how many steps the last good one has done, or None where
    there is none: then the run begins anew."""
    good = None
    for step, state in kept_states(scratch).items():
        if state["doubtful"]:
            let_go(scratch, step)
        else:
            good = step
    return good


def load_state(scratch: Path, room: Room | None = None) -> State | None:
    """The latest state, or None. `room` gives a tensor to read a name, shape and type into, which
    may be a part of it, or None where it is not held here; without, all is read whole.

    Raises RunFailed where the state is damaged.
    """
    if (scratch / EARLIER_FILE).is_file():
        raise RunFailed(
            "an earlier Volano has kept this state for resuming",
            str(scratch / EARLIER_FILE),
            "Delete this file to train from the start.",
        )
    states = kept_states(scratch)
    if not states:
        return None
    *earlier, step = states
    folder = folder_of(scratch, step)
    try:
        weights = _read(folder / WEIGHTS, room)
        rest = _nested(_read(folder / REST, room))
        metrics, measured = (_columns(folder / f"{name}.parquet") for name in TABLES)
    except (OSError, SafetensorError, CheckpointException, pa.ArrowException) as failure:
        raise damaged(folder, failure, earlier[-1] if earlier else None) from None
    plain = states[step]
    to_go_back_to = rest.get(REWIND, {})
    return State(
        step=step,
        weights=weights,
        optimiser=rest.get(OPTIMISER, {}),
        metrics=metrics,
        measured=measured,
        spikes=plain["spikes"],
        samples=plain["samples"],
        rewind=[
            each | {OPTIMISER: {}} | to_go_back_to[str(place)]
            for place, each in enumerate(plain[REWIND])
        ],
        doubtful=plain["doubtful"],
        figure=plain["figure"],
        seconds=plain["seconds"],
        threads=plain.get("threads", 0),
    )


def load_weights(scratch: Path, step: int, room: Room | None = None) -> dict[str, Tensor]:
    """The weights of a state alone. Raises RunFailed where they are damaged."""
    folder = folder_of(scratch, step)
    try:
        return _read(folder / WEIGHTS, room)
    except (OSError, SafetensorError, CheckpointException) as failure:
        raise damaged(folder, failure, None) from None


def damaged(folder: Path, failure: BaseException, earlier: int | None) -> RunFailed:
    """The error of a state that cannot be read."""
    cause = first_cause(failure)
    problem = (str(cause).splitlines() or [type(cause).__name__])[0]
    then = "train from the start" if earlier is None else f"go on from step {earlier:,}"
    return RunFailed(
        f"the state kept for resuming is damaged ({problem})",
        str(folder),
        f"Delete this folder to {then}.",
    )


def first_cause(failure: BaseException) -> BaseException:
    """What went wrong in the first process in which something did."""
    if isinstance(failure, CheckpointException):
        return next((each[0] for each in failure.failures.values()), failure)
    return failure


def _described(path: Path) -> dict[str, Any]:
    try:
        plain = read_json(path)
    except StoreError as failure:
        raise damaged(path.parent, failure, None) from None
    assert isinstance(plain, dict)
    return plain


def _read(folder: Path, room: Room | None) -> dict[str, Tensor]:
    if not folder.is_dir():
        return {}
    room = room or (lambda name, shape, dtype: torch.empty(shape, dtype=dtype))
    reader = HuggingFaceStorageReader(str(folder))
    kept: Mapping[str, Any] = reader.read_metadata().state_dict_metadata
    found = {
        name: place
        for name, each in kept.items()
        if (place := room(name, tuple(each.size), each.properties.dtype)) is not None
    }
    if found:
        load(found, storage_reader=reader, no_dist=True)
    return {
        name.removesuffix(SCALAR): value.reshape(()) if name.endswith(SCALAR) else value
        for name, value in found.items()
    }


def _columns(path: Path) -> Columns:
    return dict(pq.read_table(path).to_pydict())


def _flat(nested: Mapping[str, Any], path: str = "") -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for key, value in nested.items():
        name = f"{path}/{key}" if path else key
        found |= {name: value} if isinstance(value, Tensor) else _flat(value, name)
    return found


def _nested(flat: Mapping[str, Tensor]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *path, last = name.split("/")
        at = nested
        for part in path:
            at = at.setdefault(part, {})
        at[last] = value
    return nested
