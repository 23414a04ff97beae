"""Memory of one process of our own training, worked out from a section and the model's shape.

Interpreter and libraries are not in it, nor the buffers of a moment: what was measured is more
(docs/training-plan.md). So a section whose plan is above what a machine has cannot run there.
"""

from dataclasses import replace
from typing import Literal, NamedTuple

from volano.align.section import AlignSection
from volano.study.training_cost import ModelSize
from volano.study.training_memory import CHUNK_BYTES, Layout, bytes_held, memory_of
from volano.train.parallel_plan import plan_of, started_processes
from volano.train.section import AdaptedSection, TrainSection

DEVICE_CHUNK_BYTES = 256 << 20  # of logits on CUDA; model/likelihood.py


class SectionMemory(NamedTuple):
    """Bytes by kind. `copies` are weights joined or cast for a matmul and kept for the way back,
    and the head's gradient, which is there before the others."""

    weights: float
    gradients: float
    optimiser: float
    gathered: float
    activations: float
    logits: float
    copies: float

    @property
    def total(self) -> float:
        """All of it at once."""
        return sum(self)

    def sum(self) -> str:
        """The addition in GB, as a message shows it; what is below 0.05 explains nothing."""
        named = zip(self._fields, self, strict=True)
        return " + ".join(f"{bytes_ / 1e9:,.1f} {name}" for name, bytes_ in named if bytes_ >= 5e7)


def memory_of_section(
    section: TrainSection,
    size: ModelSize,
    *,
    device: Literal["cpu", "cuda"] = "cpu",
    reduced: bool | None = None,
) -> SectionMemory:
    """Bytes that training takes of one process of ours.

    Weights are float32. Where the head is tied its gradient is there once more as the embedding's.
    Under an adapter the base is held once, in the type that matmuls run in, and the adapter's own
    numbers are left out: they are few. `reduced`: whether matmuls run in 16 bits; None asks this
    machine's torch what `precision` means on it.
    """
    if reduced is None:
        reduced = _is_reduced(section)
    plan = plan_of(section, started=started_processes())
    held = replace(bytes_held("float32", section.optimiser), computing=2 if reduced else 4)
    rows = section.batch_rows * (2 if isinstance(section, AlignSection) else 1)
    recomputed = section.activations == "recomputed"
    layout = Layout(
        data=plan.data,
        shard=plan.shard,
        tensor=plan.tensor,
        pipeline=plan.pipeline,
        micro_batch=max(1, rows // section.accumulate // plan.readers),
        checkpointing="full" if recomputed else "none",
    )
    if isinstance(section, AdaptedSection):
        size = replace(size, context=section.context_of(size.context))
    on_cuda = device == "cuda"
    planned = memory_of(
        size,
        layout,
        held,
        scores_kept=not on_cuda,
        chunk_bytes=DEVICE_CHUNK_BYTES if on_cuda else CHUNK_BYTES,
    )
    if isinstance(section, AdaptedSection) and section.lora is not None:
        weights = planned.weights / held.weights * held.computing
        planned = planned._replace(weights=weights, gradients=0, optimiser=0)
        return SectionMemory(*planned, copies=0)
    copied = size.per_layer if reduced else _joined(size)
    layers = 1 if recomputed else size.layers / layout.pipeline
    copies = layers * copied / layout.tensor * held.computing
    head = size.embedding * held.gradients * (2 if size.tied else 1)
    return SectionMemory(*planned, copies=copies + head)


def _is_reduced(section: TrainSection) -> bool:
    import torch

    from volano.train.compute import compute_dtype

    return compute_dtype(section.precision) is torch.bfloat16


def _joined(size: ModelSize) -> int:
    """Parameters of a layer's queries, keys and values, and of gate and up."""
    heads = size.heads + 2 * size.key_value_heads
    return size.width * (heads * size.head_width + 2 * size.feed_forward)
