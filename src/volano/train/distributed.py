"""Which process this is, how it joins a run of several, and how it leaves what it helps with."""

import os
import time
from datetime import timedelta
from typing import Any
from uuid import uuid4

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.nn import Module

from volano.core.errors import RunFailed
from volano.core.step import Device

HELPER = "VOLANO_HELPER"  # set for a process that the command has started for itself
WORKER_LOG = "process-{}.log"  # in the scratch folder: what a helper says before it is lost
# That one may wait for another, which is evaluating or writing. A lost one is noticed at once.
RUN_TIMEOUT = timedelta(hours=2)
LEADER = "volano/leader"
POLL_SECONDS = 0.05
MEETING_TIMEOUT = timedelta(minutes=5)


class WorkDone(Exception):
    """Ends the part of a process that is not the first: the first alone has results."""


def is_first() -> bool:
    """Whether this process keeps states and results."""
    return not dist.is_initialized() or dist.get_rank() == 0


def as_first(model: Module) -> None:
    """Give the weights of the first process to all: each has made its own by arithmetic that may
    round differently on another kind of machine, and split by layer or neuron they would be mixed.
    """
    if dist.is_initialized() and dist.get_world_size() > 1:
        for weight in (*model.parameters(), *model.buffers()):
            dist.broadcast(weight.detach(), 0)


def processes_here() -> int:
    """How many processes of the run share the cores of this machine."""
    if not dist.is_initialized():
        return 1
    return int(os.environ.get("LOCAL_WORLD_SIZE", dist.get_world_size()))


def meet(patience: timedelta = MEETING_TIMEOUT) -> tuple[Any, int, int]:
    """The store that all processes of a run know of, this one's rank, and how many there are.
    Raises RunFailed where nobody answers."""
    try:
        store, rank, processes = next(rendezvous("env://", timeout=patience))
    except (dist.DistError, ValueError, OSError) as problem:  # ValueError: of its variables
        where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise RunFailed(
            f"no answer from {where}, where the processes of this run meet "
            f"({str(problem).splitlines()[0]})",
            "training",
            "Start all of them with torchrun, and see that they reach that port.",
        ) from None
    return store, rank, processes


def lead(store: Any) -> PrefixStore:
    """What the first process of a run says to its helpers, and they to it, goes through this.

    torchrun keeps one store for all its restarts, in which those who are gone have left theirs.
    """
    name = uuid4().hex
    store.set(LEADER, name)
    return PrefixStore(name, store)


class Led:
    """The leader's store as a helper sees it, until another leader takes its place: a helper that
    is started again may come up before the first process does."""

    def __init__(self, store: Any) -> None:
        self._whole = store
        self.name = bytes(store.get(LEADER))
        self.store = PrefixStore(self.name.decode(), store)

    def wait(self, key: str, value: str | None = None) -> bool:
        """Whether the leader has written it, and no other has come instead."""
        while not (self.store.check([key]) and value in (None, self.store.get(key).decode())):
            if self._whole.get(LEADER) != self.name:
                return False
            time.sleep(POLL_SECONDS)
        return True


def begin_to_lead(store: Any, number: int, processes: int, device: Device) -> bool:
    """Join run number `number` as its first process where all helpers are there; else False."""
    ready = [f"ready/{number}/{rank}" for rank in range(1, processes)]
    if not store.check(ready):
        return False
    for key in ready:  # back to those who wrote it: they know that we have heard them
        store.set(f"go/{key}", store.get(key).decode())
    _join(store, number, 0, processes, device)
    return True


def begin_to_help(led: Led, number: int, rank: int, processes: int, device: Device) -> bool:
    """Join run number `number`; False where its first process is gone."""
    key, mine = f"ready/{number}/{rank}", uuid4().hex
    led.store.set(key, mine)
    if not led.wait(f"go/{key}", mine):
        return False
    _join(led.store, number, rank, processes, device)
    return True


def _join(store: Any, number: int, rank: int, processes: int, device: Device) -> None:
    # On CUDA tensors of the device travel by NCCL, and all else by gloo.
    on_cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_cuda else "gloo",
        store=PrefixStore(f"run/{number}", store),
        rank=rank,
        world_size=processes,
        timeout=RUN_TIMEOUT,
    )
