"""A process that helps with training: it is told a step, runs it up to its results, and waits.

    python -m volano.train.helper

torchrun starts the command everywhere, and all but the first process come here from its door.
Nothing is written but to a folder that is thrown away.
"""

import json
import os
import signal
import sys
import tempfile
import threading
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import torch.distributed as dist

from volano.core.artifact import Artifact
from volano.core.errors import RunFailed, VolanoError
from volano.core.step import Context, Step
from volano.train.distributed import HELPER, Led, WorkDone, begin_to_help, meet

PATIENCE = timedelta(days=365)  # data may be made for long before anything is trained
OURS = "volano."


def main() -> None:
    """Help until the first process says that it is done; exits with 1 where a run has failed."""
    if HELPER in os.environ:
        threading.Thread(target=_end_with_starter, daemon=True).start()
    try:
        store, rank, processes = meet()
    except RunFailed as problem:
        sys.exit(f"volano: {problem}")
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)  # the first process says when to stop
    store.set_timeout(PATIENCE)
    led, number = Led(store), 0
    while True:
        if not led.wait(f"task/{number}"):
            led, number = Led(store), 0
            continue
        task = json.loads(led.store.get(f"task/{number}"))
        if task is None:
            return
        if not begin_to_help(led, number, rank, processes, task["device"]):
            led, number = Led(store), 0
            continue
        try:
            run_task(task)
        except WorkDone:
            pass
        except Exception as problem:
            led.store.set(f"failed/{number}/{rank}", _said(problem))
            raise
        finally:
            if dist.is_initialized():
                dist.destroy_process_group()
        number += 1


def run_task(task: dict[str, Any]) -> None:
    """Run a step as the first process does; what it writes is thrown away."""
    module, _, name = task["step"].partition(":")
    assert module.startswith(OURS), "a step of somebody else"
    step = getattr(import_module(module), name)
    assert isinstance(step, Step)
    section = step.section.model_validate_json(json.dumps(task["section"]))
    inputs = {each: Artifact.open(folder) for each, folder in task["inputs"].items()}
    with tempfile.TemporaryDirectory(prefix="volano-") as folder:
        context = Context(
            Path(folder),
            Path(task["scratch"]),
            task["seed"],
            task["workers"],
            silent=True,
            device=task["device"],
        )
        step.run(section, inputs, context)


def _said(problem: Exception) -> str:
    if isinstance(problem, VolanoError):
        return str(problem).rstrip(".")
    return f"{type(problem).__name__}: {problem}".splitlines()[0]


def _end_with_starter() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
