"""Which process this is, how it joins a run of several, and how it leaves what it helps with."""

import os
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore

HELPER = "VOLANO_HELPER"  # set for a process that the command has started for itself
WORKER_LOG = "process-{}.log"  # in the scratch folder: what a helper says before it is lost
# That one may wait for another, which is evaluating or writing. A lost one is noticed at once.
RUN_TIMEOUT = timedelta(hours=2)


class WorkDone(Exception):
    """Ends the part of a process that is not the first: the first alone has results."""


def is_first() -> bool:
    """Whether this process keeps states and results."""
    return not dist.is_initialized() or dist.get_rank() == 0


def processes_here() -> int:
    """How many processes of the run share the cores of this machine."""
    if not dist.is_initialized():
        return 1
    return int(os.environ.get("LOCAL_WORLD_SIZE", dist.get_world_size()))


def join(store: Any, number: int, rank: int, processes: int) -> None:
    """Join run number `number` of those that meet at this store."""
    if rank:
        store.set(f"ready/{number}/{rank}", "")
    dist.init_process_group(
        "gloo",
        store=PrefixStore(f"run/{number}", store),
        rank=rank,
        world_size=processes,
        timeout=RUN_TIMEOUT,
    )
