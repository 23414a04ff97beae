"""Starting the processes that share a run, and hearing of it when one of them is lost.

The first process is the command itself. The others are helpers (train/helper.py): torchrun has
started them, or they are started here, on this machine, for as long as the run takes. Each is told
in plain JSON which step to run, with which settings and inputs, and then does what the first does
up to the end of training. All read the inputs and the kept state from the same folders, so across
machines the store is on a shared disk.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch._C._distributed_c10d import TCPStore

from volano.core.engine import available_cores
from volano.core.errors import RunFailed
from volano.core.step import Context, Inputs
from volano.model.config import DecoderConfig
from volano.train.distributed import (
    HELPER,
    POLL_SECONDS,
    RUN_TIMEOUT,
    WORKER_LOG,
    begin_to_lead,
    lead,
    meet,
)
from volano.train.interruption import caught_signals, stopped
from volano.train.parallel_plan import Plan, check_shape, plan_of, started_processes
from volano.train.section import TrainSection

LOCALHOST = "127.0.0.1"
END_SECONDS = 10.0  # that a helper has to end by itself, or to be found dead
AGAIN = "Run the same command again: it resumes."
_runs = count()  # of this process, in which helpers of torchrun take part one after another


@contextmanager
def processes_for(
    step: str,
    section: TrainSection,
    inputs: Inputs,
    context: Context,
    *,
    config: DecoderConfig | None = None,
) -> Iterator[None]:
    """Inside, all processes that the section asks for run `step`, such as
    "volano.pretrain.step:PRETRAIN", together; with one process nothing is started.

    `config` is the shape of the model, where it is known already. Raises RecipeError where the plan
    cannot be, and RunFailed where a helper is lost or SIGTERM comes before all are there.
    """
    if dist.is_initialized():  # a helper, which is in the middle of it
        yield
        return
    plan = plan_of(section, started=started_processes())
    if config is not None:
        check_shape(plan, config)
    if plan.processes == 1:
        yield
        return
    task = {
        "step": step,
        "section": as_sent(section),
        "inputs": {name: str(each.folder) for name, each in inputs.items()},
        "scratch": str(context.scratch),
        "seed": context.seed,
        "workers": context.workers,
        "device": context.device,
    }
    if started_processes():
        with _led(_torchrun_store(), next(_runs), task, plan, []):
            yield
        return
    cores = available_cores()
    if plan.processes > cores and not context.silent:  # which may take minutes
        on = "1 core" if cores == 1 else f"{cores} cores"
        print(
            f"training: starting {plan.processes} processes on {on} …", file=sys.stderr, flush=True
        )
    with (
        _Start() as start,
        _helpers(plan, context, start) as (store, helpers),
        _led(store, 0, task, plan, helpers, start),
    ):
        yield


def as_sent(section: TrainSection) -> dict[str, Any]:
    """A section as helpers read it: without defaults, as what is set decides what may stand beside
    it."""
    return section.model_dump(mode="json", exclude_unset=True)


class _Start:
    """The time until all processes are there. A signal ends it between two of its parts, so that no
    process is left that nobody knows of; from then on the run takes signals as it does alone."""

    def __init__(self) -> None:
        self._signals = ExitStack()
        self._caught: list[int] = []

    def __enter__(self) -> "_Start":
        self._caught = self._signals.enter_context(caught_signals())
        return self

    def __exit__(self, *_: object) -> None:
        self._signals.close()

    def go_on(self) -> None:
        """Raise Stopped on SIGTERM and KeyboardInterrupt on Ctrl-C."""
        if self._caught:
            raise stopped(self._caught[0], "while its processes started")

    def end(self) -> None:
        """All are there."""
        self._signals.close()
        self.go_on()


@contextmanager
def _led(
    store: Any,
    number: int,
    task: Any,
    plan: Plan,
    helpers: Sequence["subprocess.Popen[bytes]"],
    start: _Start | None = None,
) -> Iterator[None]:
    store.set(f"task/{number}", json.dumps(task))
    try:
        # Until all are there a lost one would be waited for in vain.
        while not begin_to_lead(store, number, plan.processes, task["device"]):
            if any(each.poll() is not None for each in helpers):
                raise RuntimeError("a helper has not come up")
            if start is not None:
                start.go_on()
            time.sleep(POLL_SECONDS)
        if start is not None:
            start.end()
        yield
    except RuntimeError as problem:  # torch's own, of a connection that broke
        lost = _lost(store, number, plan, helpers, Path(task["scratch"]))
        if lost is None:
            raise
        raise RunFailed(lost, "training", AGAIN) from problem
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _lost(
    store: Any,
    number: int,
    plan: Plan,
    helpers: Sequence["subprocess.Popen[bytes]"],
    logs: Path,
) -> str | None:
    """What became of a helper that is lost, if one is."""
    deadline = time.monotonic() + (END_SECONDS if helpers else 1.0)
    while time.monotonic() < deadline:
        for rank in range(1, plan.processes):
            if store.check([f"failed/{number}/{rank}"]):
                return f"process {rank}: {store.get(f'failed/{number}/{rank}').decode()}"
        for rank, helper in enumerate(helpers, start=1):
            code = helper.poll()
            if code is not None and code < 0:
                return f"process {rank} of {plan.processes} was killed by signal {-code}"
            if code:
                log = logs / WORKER_LOG.format(rank)
                return f"process {rank} of {plan.processes} ended with code {code} (see {log})"
        time.sleep(POLL_SECONDS)
    return None


@contextmanager
def _helpers(
    plan: Plan, context: Context, start: _Start
) -> Iterator[tuple[Any, list["subprocess.Popen[bytes]"]]]:
    # A socket of this machine alone: nobody else can reach the run.
    with socket.create_server((LOCALHOST, 0)) as listening:
        port = listening.getsockname()[1]
        store = TCPStore(
            LOCALHOST,
            port,
            is_master=True,
            wait_for_workers=False,
            timeout=RUN_TIMEOUT,
            master_listen_fd=os.dup(listening.fileno()),
        )
    shared = {"MASTER_ADDR": LOCALHOST, "MASTER_PORT": str(port)}
    shared |= {"WORLD_SIZE": str(plan.processes), HELPER: "1"}
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    helpers = []
    try:
        for rank in range(1, plan.processes):
            start.go_on()
            with (context.scratch / WORKER_LOG.format(rank)).open("wb") as log:
                helpers.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "volano.train.helper"],
                        env={**os.environ, **shared, "RANK": str(rank)},
                        stdin=subprocess.PIPE,  # its end tells a helper that we are gone
                        stdout=log,
                        stderr=log,
                    )
                )
        led = lead(store)
        yield led, helpers
        led.set("task/1", json.dumps(None))
        for helper in helpers:
            helper.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        pass  # it is ended below; the run is done
    finally:
        for helper in helpers:
            helper.kill()
            helper.wait()
            if helper.stdin is not None:
                helper.stdin.close()


@lru_cache
def _torchrun_store() -> Any:
    return lead(meet()[0])


def dismiss_helpers() -> None:
    """Let the helpers that torchrun has started go: the command is done with them."""
    if started_processes() > 1 and os.environ.get("RANK") == "0":
        _torchrun_store().set(f"task/{next(_runs)}", json.dumps(None))
