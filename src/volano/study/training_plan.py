"""What a training run would take before it is made: arithmetic, memory, time, money, power, CO₂.

Device-hours are FLOPs / (peak × utilisation). Utilisation is an input, or that of a published run
on the same device; no figure here is fitted to another. Each carries the formula that gave it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from volano.core.errors import DataError
from volano.study.devices import Device
from volano.study.scale import HOUR, Figure
from volano.study.training_cost import (
    ModelSize,
    attention_flops,
    dpo_flops_per_token,
    flops_per_token,
    forward_flops_per_token,
)
from volano.study.training_memory import (
    USABLE,
    Layout,
    Memory,
    bytes_held,
    fits,
    memory_of,
    nearest_that_fits,
)

DAY, KILO, MEGA = 24, 1e3, 1e6
PUE = 1.10  # Source: Patterson et al. 2021, table 4 (GPT-3); LLaMA takes the same
KILOGRAMS_PER_KWH = 0.429  # Source: Patterson et al. 2021, table 4: the United States in 2020
RECOMPUTED = 4 / 3  # a second forward pass beside a forward and a backward one


@dataclass(frozen=True)
class TrainingTarget:
    """What is asked for. Tokens of the stages after pre-training may be 0: they are left out."""

    size: ModelSize
    tokens: float
    device: Device
    devices: int
    layout: Layout = field(default_factory=Layout)
    choose: frozenset[str] = frozenset()  # what of the layout is free: axes, checkpointing
    utilisation: float | None = None  # of model FLOPs; None: published, of the device
    hardware_utilisation: float | None = None  # with what is computed twice
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    optimiser: Literal["adamw", "muon"] = "adamw"
    sft_tokens: float = 0
    align_tokens: float = 0  # both sides of every pair
    evaluate_tokens: float = 0  # read and generated
    price_per_hour: float | None = None
    watts: float | None = None
    pue: float = PUE
    kilograms_per_kwh: float = KILOGRAMS_PER_KWH
    claims: Mapping[str, float] = field(default_factory=dict)

    def reached(self) -> tuple[float, str]:
        """The utilisation and where it is from. Raises DataError where neither side knows one."""
        if self.utilisation is not None:
            return self.utilisation, "as given"
        if self.hardware_utilisation is not None:
            if self.layout.checkpointing == "none":
                return self.hardware_utilisation, "as given; nothing is computed twice"
            share = self.hardware_utilisation / RECOMPUTED
            return share, f"{self.hardware_utilisation:g} / 4 × 3: a forward pass is made twice"
        if self.device.utilisation is None:
            raise DataError(
                f"no run on {self.device.name} is known whose utilisation was published",
                "--utilisation",
                "Give one: 0.4 is usual for a large model that is well split.",
            )
        return self.device.utilisation, self.device.utilisation_source


@dataclass(frozen=True)
class TrainingPlan:
    """The figures, the layout that they hold for, and the memory of one of its devices."""

    figures: list[Figure]
    layout: Layout
    memory: Memory


def training_plan(target: TrainingTarget) -> TrainingPlan:
    """The plan. Raises DataError where the layout does not fit into the memory of a device, with
    the arithmetic and the nearest that fits."""
    held, room = bytes_held(target.precision, target.optimiser), target.device.memory_bytes
    layout = _layout(target)
    memory = memory_of(target.size, layout, held)
    if not fits(memory, room):
        raise _refusal(target, layout, memory)
    target = replace(target, layout=layout)
    figures = [*_work(target), *_memory(memory, target), *time_of(target)]
    return TrainingPlan(figures, layout, memory)


def layouts_tried(target: TrainingTarget, base: Layout) -> list[tuple[str, Memory]]:
    """Memory of the plain ways to split over all devices, whether they fit or not; micro-batch and
    checkpointing are those of `base`."""
    held = bytes_held(target.precision, target.optimiser)
    return [
        (name, memory_of(target.size, layout, held))
        for name, layout in _plain(target, base).items()
    ]


def _plain(target: TrainingTarget, base: Layout) -> dict[str, Layout]:
    devices, size = target.devices, target.size

    def layout(shard: int = 1, tensor: int = 1, pipeline: int = 1) -> Layout:
        data = devices // (shard * tensor * pipeline)
        return replace(base, data=data, shard=shard, tensor=tensor, pipeline=pipeline)

    rows = {"data parallel (DP)": layout()}
    if devices > 1:
        rows["fully sharded (FSDP)"] = layout(shard=devices)
    tensor = next((n for n in (8, 4, 2) if not devices % n and not size.heads % n), 1)
    stages = next((n for n in (16, 12, 8, 4, 2) if n <= size.layers and not devices % n), 1)
    if tensor > 1:
        rows[f"tensor {tensor} (TP)"] = layout(tensor=tensor)
    if stages > 1:
        rows[f"pipeline {stages} (PP)"] = layout(pipeline=stages)
    if tensor > 1 and stages > 1 and devices % (tensor * stages) == 0:
        rows[f"TP {tensor}, PP {stages}"] = layout(tensor=tensor, pipeline=stages)
        rest = devices // tensor // stages
        if rest > 1:
            rows[f"TP {tensor}, PP {stages}, FSDP {rest}"] = layout(rest, tensor, stages)
    return rows


def _layout(target: TrainingTarget) -> Layout:
    """The layout asked for, or where its axes are free, the nearest to plain data parallel."""
    if "axes" not in target.choose:
        return target.layout
    base = replace(target.layout, data=target.devices, shard=1, tensor=1, pipeline=1)
    fixed = {"devices", "micro_batch", *({"checkpointing"} - target.choose)}
    held, room = bytes_held(target.precision, target.optimiser), target.device.memory_bytes
    return nearest_that_fits(target.size, base, held, room, fixed=frozenset(fixed)) or base


def _refusal(target: TrainingTarget, layout: Layout, memory: Memory) -> DataError:
    device = target.device
    parts = " + ".join(
        f"{value / 1e9:,.1f} {name}"
        for name, value in memory._asdict().items()
        if value >= 5e7  # below 0.1 GB it explains nothing
    )
    held = bytes_held(target.precision, target.optimiser)
    nearest = nearest_that_fits(target.size, layout, held, device.memory_bytes)
    if nearest is None:
        remedy = (
            "No split of up to a million devices fits: shorten --context, or take a larger one."
        )
    else:
        fitting = memory_of(target.size, nearest, held).total
        axes = ",".join(
            f"{axis}={getattr(nearest, axis)}"
            for axis in ("data", "shard", "tensor", "pipeline")
            if getattr(nearest, axis) > 1
        )
        settings = [f"--parallel {axes}"] if axes else []
        if nearest.devices != target.devices:
            settings.insert(0, f"--devices {nearest.devices}")
        if nearest.micro_batch != layout.micro_batch:
            settings.append(f"--micro-batch {nearest.micro_batch}")
        if nearest.checkpointing != layout.checkpointing:
            settings.append(f"--checkpointing {nearest.checkpointing}")
        remedy = f"The nearest that fits takes {fitting / 1e9:,.1f} GB: {' '.join(settings)}."
    return DataError(
        f"{memory.total / 1e9:,.1f} GB a device ({parts}) do not fit into nine tenths of "
        f"{device.memory_bytes / 1e9:,.0f} GB of {device.name}",
        "plan training",
        remedy,
    )


def _work(target: TrainingTarget) -> list[Figure]:
    size, each = target.size, flops_per_token(target.size)
    lookups = "" if size.tied else f" - {size.embedding:,} only looked up"
    figures = [
        Figure("parameters", size.parameters, "parameters",
               f"{size.layers} layers of width {size.width:,}, vocabulary {size.vocabulary:,}"),
        Figure("tokens", target.tokens, "tokens", "as given"),
        Figure("FLOPs a token", each, "FLOPs",
               f"6 × ({size.parameters:,}{lookups}) + {attention_flops(size):.3g} attention "
               f"(12 × {size.layers} × {size.heads * size.head_width:,} × {size.context:,})"),
    ]  # fmt: skip
    for stage, tokens, cost in _stages(target):
        figures.append(
            Figure(f"{stage}", tokens * cost, "FLOPs", f"{tokens:.3g} tokens × {cost:.4g}")
        )
    return figures


def _stages(target: TrainingTarget) -> list[tuple[str, float, float]]:
    """Name, tokens, FLOPs a token of each stage that has tokens."""
    size = target.size
    stages = [
        ("pre-training", target.tokens, flops_per_token(size)),
        ("SFT", target.sft_tokens, flops_per_token(size)),
        ("alignment (DPO)", target.align_tokens, dpo_flops_per_token(size)),
        ("evaluation", target.evaluate_tokens, forward_flops_per_token(size)),
    ]
    return [stage for stage in stages if stage[1]]


def _memory(memory: Memory, target: TrainingTarget) -> list[Figure]:
    held = bytes_held(target.precision, target.optimiser)
    told = {
        "weights": f"{held.weights} bytes a parameter",
        "gradients": f"{held.gradients} bytes a parameter",
        "optimiser": f"{held.optimiser} bytes a parameter, {target.optimiser}",
        "gathered": "two layers whole, and the gradient of one",
        "activations": "of the micro-batches in flight",
        "logits": "a chunk of rows: they are never held whole",
    }
    figures = [
        Figure(f"memory: {name}", value, "bytes", told[name])
        for name, value in memory._asdict().items()
        if value
    ]
    room = f"of {target.device.memory_bytes:,}; a tenth is left over"
    return [*figures, Figure("memory of a device", memory.total, "bytes", room)]


def time_of(target: TrainingTarget) -> list[Figure]:
    """Rates, hours, energy and money, with no look at memory."""
    reached, source = target.reached()
    device, size = target.device, target.size
    effective = device.peak_flops * reached
    seconds = {name: tokens * cost / effective for name, tokens, cost in _stages(target)}
    hours = sum(seconds.values()) / HOUR
    rate = effective / flops_per_token(size)
    figures = [
        Figure("utilisation", reached, "share", source),
        Figure("tokens a second and device", rate, "tokens/s",
               f"{device.peak_flops:.4g} × {reached:.3f} / {flops_per_token(size):.4g}"),
        Figure("tokens a second", rate * target.devices, "tokens/s",
               f"{rate:,.0f} × {target.devices:,} devices"),
    ]  # fmt: skip
    if len(seconds) > 1:
        figures += [
            Figure(f"{name}: device-hours", value / HOUR, "hours",
                   f"{value / HOUR / hours:.2%} of all")
            for name, value in seconds.items()
        ]  # fmt: skip
    watts = target.watts or device.watts
    energy = hours * watts * target.pue / MEGA
    days = hours / target.devices / DAY
    figures += [
        Figure("device-hours", hours, "hours",
               f"{sum(each * cost for _, each, cost in _stages(target)):.4g} FLOPs / "
               f"({device.peak_flops:.4g} × {reached:.3f}) / {HOUR}"),
        Figure("time", days, "days", f"{hours:,.0f} / {target.devices:,} devices / {DAY}"),
        Figure("energy", energy, "MWh",
               f"{hours:,.0f} device-hours × {watts:g} W × {target.pue:g} (PUE)"),
        Figure("CO₂", energy * target.kilograms_per_kwh, "t",
               f"{energy:,.1f} MWh × {target.kilograms_per_kwh:g} kg/kWh"),
    ]  # fmt: skip
    price = target.price_per_hour if target.price_per_hour is not None else device.price_per_hour
    if price is not None:
        told = "as given" if target.price_per_hour is not None else device.price_source
        figures.append(
            Figure("price", hours * price, "money", f"{hours:,.0f} × {price:g} ({told})")
        )
    return figures


def usable_bytes(device_bytes: int) -> float:
    """Of a device's memory, what a plan may fill."""
    return USABLE * device_bytes
