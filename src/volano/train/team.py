"""One process or many: who reads which rows, and how gradients, norm and state become whole.

The loop asks a team and does not know how many there are. Every decision of a run (a spike, a stop)
follows from figures that are equal everywhere, or from the first process, which alone keeps states
and results.

A batch is a pure function of the step, so each process takes its rows of the same global batch. The
mean is over all its labels: losses are weighted by their labels before they are added up, since
rows hold unequal many.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from volano.model.decoder import Decoder
from volano.train.checkpoint import SCALAR, learning_state, take_up
from volano.train.compute import LossFunction
from volano.train.dynamics import Row
from volano.train.energy import EnergyCounter, TogetherCounter
from volano.train.parallel import mesh_of, parallelise, synchronised
from volano.train.parallel_plan import Plan, check_rows, check_shape, plan_of
from volano.train.pipeline import Pipeline
from volano.train.section import TrainSection
from volano.train.share import Share, like, local
from volano.train.sums import SMALLEST, Sums

State = Mapping[str, Any]  # by parameter: a tensor, or tensors by name
CLIP_EPSILON = 1e-6  # as in torch.nn.utils.clip_grad_norm_


class Alone:
    """One process, which does all."""

    first, reader = True, 0
    processes = 1

    def __init__(self, model: Decoder, loss_of: LossFunction) -> None:
        self.model, self._loss_of = model, loss_of
        self.shown = model  # the one that the phase has; whole in the first process
        self.frozen = not all(each.requires_grad for each in model.parameters())
        self.shares: dict[str, Share] = {}
        self.writers: Any = None  # the group of those that keep states

    def backward(self, batch: Any, micro_batches: int) -> Row:
        """Gradients of the mean loss over the whole batch, and the step's figures."""
        device = next(self.model.parameters()).device
        sums = Sums()
        parts = [np.array_split(field, micro_batches) for field in batch]
        for fields in zip(*parts, strict=True):
            if not len(fields[0]):
                continue
            part = type(batch)(*(torch.from_numpy(field).to(device) for field in fields))
            output = self._loss_of(self.model, part)
            weight = sums.add(output)
            (output.loss * weight if micro_batches > 1 else output.loss).backward()  # type: ignore[no-untyped-call]
        if micro_batches > 1:
            for parameter in self.model.parameters():
                if parameter.grad is not None:
                    parameter.grad /= max(sums.weight, SMALLEST)
        return {**sums.means(), "tokens": float(batch[0].size)}

    def clip(self, largest: float) -> float:
        """The norm of the whole gradient before clipping."""
        norm = torch.nn.utils.clip_grad_norm_(
            self.model.parameters(), largest or float("inf"), foreach=True
        )
        return float(norm)

    def room(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor | None:
        """A tensor to read into what is held here of a name of a kept state; None: nothing is."""
        return torch.empty(shape, dtype=dtype)

    def settled(self, state: State) -> State:
        """What was read into such tensors, as the model and its optimiser hold it."""
        return state

    def show(self) -> None:
        """Give the phase's model the weights of now, in the first process: it is to be asked."""

    def agree(self, *flags: bool) -> tuple[bool, ...]:
        """What the first process decides."""
        return flags

    def counter(self, counter: EnergyCounter) -> EnergyCounter:
        """A counter of the energy of all."""
        return counter


class Team(Alone):
    """One of several processes. All methods are collective."""

    def __init__(self, model: Decoder, plan: Plan, loss_of: LossFunction) -> None:
        self.plan, self.processes, self.first = plan, plan.processes, dist.get_rank() == 0
        split = plan.processes > plan.data
        trained = deepcopy(model) if split else model
        if split and not self.first:
            model.to("meta")  # the first alone is asked what the model can do
        super().__init__(model, loss_of)
        self.model = trained
        device = next(trained.parameters()).device.type
        self._mesh = mesh_of(plan, device)
        laid = parallelise(trained, plan, self._mesh, loss_of)
        self._learner, self.shares = laid.learner, laid.shares
        self.reader = self._place("data") * plan.shard + self._place("shard")
        self._counts = self._place("tensor") == 0 and (laid.stage is None or laid.stage.last)
        self._sums = Sums()
        self.writers = dist.new_group(backend="gloo")
        own = dict(trained.named_parameters())
        self._partial = [own[name] for name in laid.partial if own[name].requires_grad]
        self._pipeline: Pipeline | None = None
        self._tied: Any = None
        if laid.stage is not None:
            group = self._mesh.get_group("pipeline")
            self._pipeline = Pipeline(laid.stage, plan.pipeline, group, self._micro_batch_loss)
            self._tied = _group_of_ends(self._mesh) if model.config.tied else None
            self._is_end = laid.stage.first or laid.stage.last
            self._tied_counted_elsewhere = model.config.tied and not laid.stage.first

    def backward(self, batch: Any, micro_batches: int) -> Row:
        """As `Alone.backward`, of the batch of all; each takes its share of the rows."""
        self._sums = Sums()
        device = local(next(each for each in self.model.parameters() if each.requires_grad)).device
        if self._pipeline is not None:
            check_rows(self.plan, len(batch[0]), micro_batches)
        mine = [np.array_split(field, self.plan.readers)[self.reader] for field in batch]
        idle = not len(mine[0])
        if idle:  # fewer rows than readers: take part, and weigh nothing
            mine = [field[:1] for field in batch]
        if self._pipeline is not None:
            fields = (torch.from_numpy(field).to(device) for field in mine)
            self._pipeline.backward(type(batch)(*fields), micro_batches)
        else:
            # As many for each: sharded layers are gathered together, or some would wait for ever.
            count = min(micro_batches, max(1, len(batch[0]) // self.plan.readers))
            split = [np.array_split(field, count) for field in mine]
            for place, fields in enumerate(zip(*split, strict=True)):
                part = type(batch)(*(torch.from_numpy(field).to(device) for field in fields))
                with synchronised(self._learner, last=place + 1 == count):
                    output = self._learner(part)
                    weight = self._sums.add(output, idle=idle)
                    (output.loss * weight).backward()
        found: list[Any] = [None] * self.processes
        dist.all_gather_object(found, self._sums if self._counts else Sums())
        total = Sums.of(found)
        self._synchronise(max(total.weight, SMALLEST))
        return {**total.means(), "tokens": float(batch[0].size)}

    def _micro_batch_loss(self, model: Any, part: Any) -> Tensor:
        output = self._loss_of(model, part)
        return output.loss * self._sums.add(output)

    def _synchronise(self, weight: float) -> None:
        """What torch's wrappers leave to be done: the sums over the other axes, and the mean."""
        if self._partial:
            _add_up([each.grad for each in self._partial], self._mesh.get_group("tensor"))
        if self._pipeline is not None:
            if self._tied is not None and self._is_end:
                _add_up([self.model.head_weight.grad], self._tied)
            if self.plan.data > 1:
                gradients = [each.grad for each in self._learning()]
                _add_up(gradients, self._mesh.get_group("data"))
        # DDP and FSDP2 have divided by the number of readers: they would take a mean of means.
        divided = 1 if self._pipeline is not None else self.plan.readers
        for parameter in self._learning():
            if parameter.grad is not None:
                parameter.grad *= divided / weight

    def clip(self, largest: float) -> float:
        """The norm of the whole gradient before clipping; each entry counts once."""
        replica = self._place("data") == 0
        squares = 0.0
        for name, parameter in self.model.named_parameters():
            if parameter.grad is None or not replica:
                continue
            if name not in self.shares and self._place("tensor"):
                continue
            if self._tied_elsewhere(parameter):
                continue
            norm = torch.linalg.vector_norm(local(parameter.grad), dtype=torch.float64)
            squares += float(norm) ** 2
        total = torch.tensor(squares, dtype=torch.float64)
        dist.all_reduce(total)
        norm = float(total.sqrt())
        if largest:
            factor = min(1.0, largest / (norm + CLIP_EPSILON))
            for parameter in self._learning():
                if parameter.grad is not None:
                    parameter.grad *= factor
        return norm

    def room(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor | None:
        """As `Alone.room`."""
        mine = self._mine()
        parameter = next((each for each in name.split("/") if each in mine), None)
        if parameter is None:
            return None
        share = self.shares.get(parameter)
        if share is None or name.endswith(SCALAR):
            return torch.empty(shape, dtype=dtype)
        return share.room(dtype)

    def settled(self, state: State) -> State:
        """As `Alone.settled`."""
        return {
            name: {key: self._settle(name, each) for key, each in value.items()}
            if isinstance(value, Mapping)
            else self._settle(name, value)
            for name, value in state.items()
        }

    def show(self) -> None:
        """Give the phase's model the weights of now, in the first process: it is to be asked."""
        if self.shown is self.model:
            return
        joined = {name: self._join(name, value) for name, value in self._mine().items()}
        if self._pipeline is not None:
            joined = self._of_all_stages(joined)
        if self.first:
            take_up(self.shown, {name: joined[name] for name in learning_state(self.shown)})

    def _of_all_stages(self, joined: dict[str, Tensor]) -> dict[str, Tensor]:
        replica = not (self._place("data") or self._place("tensor"))
        # By pickle: on the processor, or each would arrive on a device of somebody else.
        joined = {name: value.cpu() for name, value in joined.items()}
        stages: list[Any] = [None] * self.plan.pipeline
        dist.gather_object(
            joined if replica else None,
            stages if self._place("pipeline") == 0 else None,
            group=self._mesh.get_group("pipeline"),
            group_dst=0,
        )
        present = [stage for stage in stages if stage is not None]
        return {name: value for stage in reversed(present) for name, value in stage.items()}

    def agree(self, *flags: bool) -> tuple[bool, ...]:
        """What the first process decides."""
        decided = torch.tensor(flags, dtype=torch.int32)
        dist.broadcast(decided, 0)
        return tuple(bool(each) for each in decided)

    def counter(self, counter: EnergyCounter) -> EnergyCounter:
        """A counter of the energy of all."""
        return TogetherCounter(counter)

    def _place(self, axis: str) -> int:
        return int(self._mesh.get_local_rank(axis))

    def _learning(self) -> list[Any]:
        return [each for each in self.model.parameters() if each.requires_grad]

    def _tied_elsewhere(self, parameter: Tensor) -> bool:
        return (
            self._pipeline is not None
            and self._tied_counted_elsewhere
            and parameter is self.model.head_weight
        )

    def _mine(self) -> dict[str, Tensor]:
        return learning_state(self.model)

    def _join(self, name: str, value: Tensor) -> Tensor:
        share = self.shares.get(name)
        return value.detach() if share is None else share.whole(local(value))

    def _settle(self, name: str, value: Tensor) -> Tensor:
        split = name in self.shares and value.dim()  # a count of steps is no part of anything
        return like(local(value), self._mine()[name]) if split else value


def team_of(model: Decoder, section: TrainSection, loss_of: LossFunction) -> Alone:
    """The team of a run that starts now. Raises RecipeError where the plan does not suit it."""
    started = dist.get_world_size() if dist.is_initialized() else 1
    plan = plan_of(section, started=started)
    check_shape(plan, model.config)
    return Alone(model, loss_of) if plan.processes == 1 else Team(model, plan, loss_of)


def _add_up(tensors: list[Any], group: Any) -> None:
    """The sum over a group in the place of each tensor, in one message."""
    present = [each for each in tensors if each is not None]
    flat = torch.cat([each.flatten() for each in present])
    dist.all_reduce(flat, group=group)
    parts = torch.split(flat, [each.numel() for each in present])
    for tensor, part in zip(present, parts, strict=True):
        tensor.copy_(part.view(tensor.shape))


def _group_of_ends(mesh: Any) -> Any:
    """The group of the first and the last stage that this process's column of stages has."""
    stages = mesh.mesh.flatten(1)  # pipeline × columns
    mine = None
    for column in range(stages.shape[1]):
        ends = [int(stages[0, column]), int(stages[-1, column])]
        group = dist.new_group(ends)
        if int(mesh.get_rank()) in [int(each) for each in stages[:, column]]:
            mine = group
    return mine
