"""The parallel plan, applied to a model from outside: all that a model meets of it is here.

    mesh = mesh_of(Plan(data=2, tensor=2), "cpu")
    laid = parallelise(model, plan, mesh, loss)

Mesh: (pipeline, data, shard, tensor), so that the processes that talk most are next to each other.
In this order, each on what the one before has left:

pipeline  the layers of other stages are emptied                          pipeline.py
tensor    each layer keeps its heads and neurons, hooks join the rows     tensor_parallel.py
shard     each layer, then the rest, is handed to torch's FSDP2
data      the whole is wrapped by torch's DDP; stages add up by themselves (team.py)
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel

from volano.model.decoder import Decoder
from volano.train.compute import LossFunction
from volano.train.objective import LossOutput
from volano.train.parallel_plan import Plan
from volano.train.pipeline import Stage
from volano.train.share import Share
from volano.train.tensor_parallel import split_layers


class Learner(nn.Module):
    """Model and loss as one module: what wraps a module sees the whole way from batch to loss."""

    def __init__(self, model: Decoder, loss: LossFunction) -> None:
        super().__init__()
        self.model, self._loss = model, loss

    def forward(self, batch: Any) -> LossOutput:
        return self._loss(self.model, batch)


@dataclass
class Laid:
    """How a model lies on the mesh, seen from one process."""

    learner: nn.Module  # batch → LossOutput, with the synchronisation of gradients within
    stage: Stage | None = None
    shares: dict[str, Share] = field(default_factory=dict)  # of what is split, by name
    partial: list[str] = field(default_factory=list)  # see tensor_parallel.Split


def mesh_of(plan: Plan, device: str) -> DeviceMesh:
    """All processes, by axis. The process group is there already."""
    return init_device_mesh(
        device,
        (plan.pipeline, plan.data, plan.shard, plan.tensor),
        mesh_dim_names=("pipeline", "data", "shard", "tensor"),
    )


def parallelise(model: Decoder, plan: Plan, mesh: DeviceMesh, loss: LossFunction) -> Laid:
    """Leave in `model` what this process holds of it. Collective, and all models are equal."""
    laid = Laid(Learner(model, loss))
    layers = range(model.config.layers)
    if plan.pipeline > 1:
        laid.stage = Stage(model, mesh["pipeline"].get_local_rank(), plan.pipeline)
        layers = laid.stage.layers
    if plan.tensor > 1:
        laid.shares, laid.partial = split_layers(model, layers, mesh["tensor"])
    if plan.shard > 1:
        _shard(laid.learner, model, mesh["data", "shard"] if plan.data > 1 else mesh["shard"])
        laid.shares = {
            name: Share(mesh["shard"], 0, tuple(each.shape))
            for name, each in model.named_parameters()
        }
    elif plan.data > 1 and laid.stage is None:
        laid.learner = DistributedDataParallel(
            laid.learner, process_group=mesh.get_group("data"), forward_sync_buffers=False
        )
    return laid


def _shard(learner: nn.Module, model: Decoder, mesh: DeviceMesh) -> None:
    # A layer is gathered when it runs, and its weights let go behind it.
    for module in (*model.model.layers, learner):
        fully_shard(module, mesh=mesh)


def synchronised(learner: nn.Module, *, last: bool) -> AbstractContextManager[None]:
    """Around one micro-batch, forward and backward: gradients travel at the last one alone."""
    if isinstance(learner, DistributedDataParallel) and not last:
        return learner.no_sync()
    if isinstance(learner, FSDPModule):
        learner.set_requires_gradient_sync(last)
    return nullcontext()
