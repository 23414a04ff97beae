"""What of a training run lies in the memory of one device, and how to split it until it fits.

A layout has four axes, whose product is the number of devices:

data      replicas: all lies on each
shard     fully sharded (FSDP, ZeRO stage 3): weights, gradients and optimiser are split; the layer
          that computes and the next one are gathered whole
tensor    within a layer; activations are split too (sequence parallel)
pipeline  layers in stages; the first stage holds the activations of as many micro-batches as there
          are stages (one forward, one backward)

What is counted is the stage that holds most. Logits are never held whole (model/likelihood.py).

Sources: Rajbhandari et al. 2020 (ZeRO), section 3; Korthikanti et al. 2022, sections 4 and 5
(activations: with its GPT layer and fused attention this file gives its 34 bytes less the two
dropout masks).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import ceil, log2
from typing import Literal, NamedTuple

from volano.core.errors import DataError
from volano.study.training_cost import ModelSize

USABLE = 0.9  # of a device: the rest is left to CUDA, communication buffers and fragmentation
GATHERED_LAYERS = 2  # the one that computes, and the next, which is fetched meanwhile
MOST_TENSOR = 8  # devices that share a fast link in a usual machine
MOST_DEVICES = 2**20
CHUNK_BYTES = 4 << 20  # of logits; model/likelihood.py

AXES = ("data", "shard", "tensor", "pipeline")


@dataclass(frozen=True)
class Layout:
    """How a run lies on its devices. `micro_batch` is in rows of the context on each replica."""

    data: int = 1
    shard: int = 1
    tensor: int = 1
    pipeline: int = 1
    micro_batch: int = 1
    checkpointing: Literal["none", "full"] = "none"

    @property
    def devices(self) -> int:
        """All of them."""
        return self.data * self.shard * self.tensor * self.pipeline

    def __str__(self) -> str:
        axes = ",".join(f"{axis}={getattr(self, axis)}" for axis in AXES)
        return f"{axes}, micro-batch {self.micro_batch}, checkpointing {self.checkpointing}"


@dataclass(frozen=True)
class Held:
    """Bytes that a parameter takes, of each kind.

    `others_optimiser` is of what Muon does not take: embedding, head and norms.
    """

    weights: int
    gradients: int
    optimiser: int
    others_optimiser: int
    computing: int  # of a weight or an activation while it computes


def bytes_held(precision: str, optimiser: str) -> Held:
    """bfloat16: 2 for a weight, 4 for its gradient, and with AdamW 12 for master, mean and square
    in float32; float32: 4, 4 and 8. Muon keeps one momentum in the place of mean and square."""
    mixed = precision == "bfloat16"
    weights, master = (2, 4) if mixed else (4, 0)
    return Held(
        weights=weights,
        gradients=4,
        optimiser=master + (8 if optimiser == "adamw" else 4),
        others_optimiser=master + 8,
        computing=2 if mixed else 4,
    )


class Memory(NamedTuple):
    """Bytes on the device that holds most."""

    weights: float
    gradients: float
    optimiser: float
    gathered: float  # whole layers of what is sharded
    activations: float
    logits: float

    @property
    def total(self) -> float:
        """All of it at once."""
        return sum(self)


def memory_of(
    size: ModelSize,
    layout: Layout,
    held: Held,
    *,
    scores_kept: bool = False,
    chunk_bytes: int = CHUNK_BYTES,
) -> Memory:
    """Bytes by kind. Raises DataError for a layout that the model cannot take.

    `scores_kept`: attention keeps its weights for the way back, as ours on a CPU does; fused
    kernels compute them again. `chunk_bytes`: of logits, at a time.
    """
    _check(size, layout)
    layers = ceil(size.layers / layout.pipeline)
    matrices = layers * size.per_layer / layout.tensor
    # With one stage, an untied model has both of its embeddings there; else each end has one.
    ends = size.embedding * (2 if layout.pipeline == 1 and not size.tied else 1) / layout.tensor
    stage = matrices + ends
    gathered = 0.0
    if layout.shard > 1:
        layer = size.per_layer / layout.tensor
        gathered = min(GATHERED_LAYERS, layers) * layer * held.computing + layer * held.gradients
    chunk = max(chunk_bytes / held.computing / size.vocabulary, size.width, 64)
    rows = min(chunk, layout.micro_batch * size.context)
    return Memory(
        weights=stage * held.weights / layout.shard,
        gradients=stage * held.gradients / layout.shard,
        optimiser=(matrices * held.optimiser + ends * held.others_optimiser) / layout.shard,
        gathered=gathered,
        activations=_activations(size, layout, layers, held.computing, scores_kept),
        logits=2 * rows * size.vocabulary * held.computing,  # and their probabilities
    )


def elements_per_token(size: ModelSize, *, scores_kept: bool = False) -> float:
    """Numbers that a layer keeps of a token for the way back: into and out of both norms, queries,
    keys, values, what was attended, and the feed-forward's inner states."""
    queries = size.heads * size.head_width
    attention = 2 * queries + 2 * size.key_value_heads * size.head_width
    feed_forward = (4 if size.gated else 2) * size.feed_forward
    scores = size.heads * size.context if scores_kept else 0
    return 4 * size.width + attention + feed_forward + scores


def _activations(
    size: ModelSize, layout: Layout, layers: int, width: int, scores_kept: bool
) -> float:
    tokens = layout.micro_batch * size.context / layout.tensor
    whole = elements_per_token(size, scores_kept=scores_kept)
    in_flight = layers * layout.pipeline
    if layout.checkpointing == "none":
        return tokens * width * (in_flight * whole + 2 * size.width)
    # Of each layer its input alone, and all of the one that is computed again.
    return tokens * width * (in_flight * size.width + whole + 2 * size.width)


def _check(size: ModelSize, layout: Layout) -> None:
    where = "--parallel"
    if layout.pipeline > size.layers:
        raise DataError(
            f"pipeline={layout.pipeline} is more than {size.layers} layers", where, "Lower it."
        )
    for count, what in ((size.heads, "heads"), (size.key_value_heads, "key-value heads")):
        if count % layout.tensor:
            told = f"tensor={layout.tensor} does not divide {count} {what}"
            raise DataError(told, where, "Take a divisor.")


def fits(memory: Memory, device_bytes: int) -> bool:
    """Whether a device has the room, with a tenth left over."""
    return memory.total <= USABLE * device_bytes


def nearest_that_fits(
    size: ModelSize,
    layout: Layout,
    held: Held,
    device_bytes: int,
    *,
    fixed: frozenset[str] = frozenset(),
) -> Layout | None:
    """The layout that fits and is nearest to the given one; None where none is. `fixed` names what
    may not change: micro_batch, checkpointing, devices.

    As many devices first, and only where no such layout fits, more of them. Near is what changes
    few settings and each by few doublings, in the order of what it costs: shards and a smaller
    micro-batch little, a pipeline more, checkpointing a third of all arithmetic, more devices most.
    """
    devices = layout.devices
    while devices <= max(MOST_DEVICES, layout.devices):
        ways = [
            each
            for each in _candidates(size, layout, devices, fixed)
            if fits(memory_of(size, each, held), device_bytes)
        ]
        if ways:
            return min(ways, key=lambda each: _distance(layout, each))
        if "devices" in fixed:
            return None
        devices *= 2
    return None


def _candidates(
    size: ModelSize, layout: Layout, devices: int, fixed: frozenset[str]
) -> Iterator[Layout]:
    ways_to_keep: list[Literal["none", "full"]] = ["none", "full"]
    if layout.checkpointing == "full" or "checkpointing" in fixed:
        ways_to_keep = [layout.checkpointing]
    rows = [layout.micro_batch] if "micro_batch" in fixed else _halvings(layout.micro_batch)
    for tensor in _divisors(devices):
        if tensor > max(MOST_TENSOR, layout.tensor) or size.heads % tensor:
            continue
        if size.key_value_heads % tensor:
            continue
        for pipeline in _divisors(devices // tensor):
            if pipeline > size.layers:
                break
            rest = devices // tensor // pipeline
            for shard, micro_batch, kept in product(_divisors(rest), rows, ways_to_keep):
                yield Layout(rest // shard, shard, tensor, pipeline, micro_batch, kept)


def _distance(old: Layout, new: Layout) -> float:
    def doublings(name: str) -> float:
        before, after = int(getattr(old, name)), int(getattr(new, name))
        return abs(log2(after / before))

    changed = (old.tensor != new.tensor) + (old.pipeline != new.pipeline)
    return (
        0.1 * (doublings("shard") + doublings("data"))
        + 0.5 * doublings("micro_batch")
        + doublings("tensor")
        + doublings("pipeline")
        + changed
        + 3 * (old.checkpointing != new.checkpointing)
    )


def _divisors(number: int) -> list[int]:
    small = [each for each in range(1, int(number**0.5) + 1) if number % each == 0]
    return sorted({*small, *(number // each for each in small)})


def _halvings(number: int) -> list[int]:
    found = [number]
    while found[-1] > 1:
        found.append(found[-1] // 2)
    return found


def read_layout(text: str, layout: Layout, devices: int) -> Layout:
    """`layout` with the axes of `data=2,shard=8,tensor=4,pipeline=4`.

    One left out is 1, but `data`, or where that is given `shard`, takes the devices left. Raises
    DataError where they do not multiply to `devices`.
    """
    axes: dict[str, int] = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        if name not in AXES or not value.isdigit() or int(value) < 1 or name in axes:
            raise DataError(
                f"cannot read '{part.strip()}'",
                "--parallel",
                f"Write each of {', '.join(AXES)} once at most, as tensor=8,pipeline=4.",
            )
        axes[name] = int(value)
    data, shard, tensor, pipeline = (axes.get(axis, 1) for axis in AXES)
    layout = replace(layout, data=data, shard=shard, tensor=tensor, pipeline=pipeline)
    free = next((axis for axis in ("data", "shard") if axis not in axes), None)
    if free is not None and devices % layout.devices == 0:
        left = devices // layout.devices
        layout = replace(layout, data=left) if free == "data" else replace(layout, shard=left)
    if layout.devices != devices:
        raise DataError(
            f"{' × '.join(f'{axis} {getattr(layout, axis)}' for axis in AXES)} is "
            f"{layout.devices:,} devices, and --devices says {devices:,}",
            "--parallel",
            "Make their product the number of devices.",
        )
    return layout
