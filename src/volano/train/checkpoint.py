"""The state of a run in the making: written whole or not at all, and taken up by the next try.

It lies in the step's scratch folder, which survives a kill and is never published. What is
published are weights in safetensors (model/huggingface.py).

Where the loss is rising when a state is kept, the last one from before stays beside it: a run that
then diverges has a good state to name.
"""

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor

from volano.core.errors import RunFailed
from volano.core.files import atomic_path
from volano.model.decoder import Decoder

RESUME_FILE = "resume.pt"
GOOD_FILE = "good.pt"  # the last state from before the loss began to rise


class ResumeState(TypedDict):
    """All that the next step depends on, apart from settings and seed. Randomness is drawn from the
    seed and the step alone, so the step is its state."""

    step: int  # steps done
    model: dict[str, Any]
    optimiser: dict[str, Any]
    metrics: dict[str, list[float | None]]  # by column, one value per step done
    measured: dict[str, list[float | None]]  # likewise, what differs from run to run
    spikes: list[dict[str, Any]]
    samples: list[dict[str, Any]]
    rewind: list[dict[str, Any]]  # states that a spike may take the run back to
    doubtful: bool  # the loss was rising
    seconds: float  # that these steps took


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


def save_state(scratch: Path, state: ResumeState) -> None:
    """Keep the state, in place of the one before."""
    resume, good = scratch / RESUME_FILE, scratch / GOOD_FILE
    if state["doubtful"] and resume.is_file() and not good.is_file():
        resume.rename(good)
    with atomic_path(scratch / RESUME_FILE) as unfinished:
        # Through memory: on a full disk torch's own writer raises no OSError.
        content = io.BytesIO()
        torch.save(state, content)
        unfinished.write_bytes(content.getbuffer())
    if not state["doubtful"]:
        good.unlink(missing_ok=True)


def fall_back(scratch: Path) -> int | None:
    """Put the last good state in the place of one that diverged; the steps that it has done, or
    None where there is none: then the run begins anew."""
    resume, good = scratch / RESUME_FILE, scratch / GOOD_FILE
    if good.is_file():
        good.replace(resume)
    state = load_state(scratch)
    if state is not None and state["doubtful"]:
        resume.unlink()
        return None
    return None if state is None else state["step"]


def load_state(scratch: Path) -> ResumeState | None:
    """The state kept last, or None. Raises RunFailed where the file is damaged."""
    path = scratch / RESUME_FILE
    if not path.is_file():
        path = scratch / GOOD_FILE  # killed between the two
    if not path.is_file():
        return None
    try:
        # weights_only: tensors and plain values, no code, whoever wrote the file.
        state: ResumeState = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as failure:
        problem = str(failure).splitlines()[0]
    else:
        if "adamw" not in state["optimiser"]:
            return state
        raise RunFailed(
            "an earlier Volano has kept this state for resuming",
            str(path),
            "Delete this file to train from the start.",
        )
    raise RunFailed(
        f"the state kept for resuming is damaged ({problem})",
        str(path),
        "Delete this file to train from the start.",
    )
