"""How many processes share a run, and in what way; an impossible plan is refused with its sums.

Four axes, whose product is the number of processes:

data      replicas: each learns from its share of the rows of every batch
shard     the same, and weights, gradients and optimiser are split as well (FSDP2)
tensor    within each layer: heads and neurons are split, and between layers the tokens of a row
pipeline  layers in stages, the micro-batches of a step one behind the other (1F1B)

No torch here: a recipe is refused before anything is loaded.
"""

import os
from typing import NamedTuple

from volano.core.errors import RecipeError
from volano.model.config import DecoderConfig
from volano.train.section import TrainSection

AXES = ("data", "shard", "tensor", "pipeline")


class Plan(NamedTuple):
    """The size of each axis."""

    data: int = 1
    shard: int = 1
    tensor: int = 1
    pipeline: int = 1

    @property
    def processes(self) -> int:
        """How many processes the plan takes."""
        return self.data * self.shard * self.tensor * self.pipeline

    @property
    def readers(self) -> int:
        """How many parts the rows of a batch are read in."""
        return self.data * self.shard

    def sum(self) -> str:
        """The product, as a message shows it."""
        return " × ".join(f"{name} {size}" for name, size in zip(AXES, self, strict=True))


def started_processes() -> int:
    """How many processes torchrun has started; 0 where it has started none."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 0


def plan_of(section: TrainSection, *, started: int = 0) -> Plan:
    """The plan that a section asks for; `data: 0` takes the processes started that are left over.
    Raises RecipeError where the section contradicts itself or what was started."""
    asked = section.parallel
    others = asked.shard * asked.tensor * asked.pipeline
    plan = Plan(asked.data or max(1, started // others), asked.shard, asked.tensor, asked.pipeline)
    if started and plan.processes != started:
        raise _impossible(
            f"{plan.sum()} = {plan.processes} processes, and torchrun starts {started}",
            f"Start it with {plan.processes}, or change an axis.",
        )
    if plan.processes > 1:
        _check_section(plan, section)
    return plan


def _check_section(plan: Plan, section: TrainSection) -> None:
    if plan.shard > 1 and (plan.tensor > 1 or plan.pipeline > 1):
        raise _impossible(
            f"shard is not joined with tensor or pipeline ({plan.sum()})",
            "Set parallel.shard=1, or tensor and pipeline to 1.",
        )
    least = plan.readers * section.accumulate
    if section.batch_rows < least:
        raise _impossible(
            f"data {plan.data} × shard {plan.shard} × accumulate {section.accumulate} = {least} "
            f"micro-batches, and batch_rows is {section.batch_rows}",
            "Set more batch_rows, or less of the others.",
        )
    if section.compile and plan.processes > plan.data:
        raise _impossible(
            f"compile is for data alone ({plan.sum()})", "Set compile: off, or the others to 1."
        )
    if plan.pipeline > 1:
        _check_pipeline(plan, section)
    if plan.processes > plan.data and getattr(section, "lora", None) is not None:
        raise _impossible(
            f"an adapter is trained with data alone ({plan.sum()})",
            "Set the others to 1, or lora: off.",
        )


def _check_pipeline(plan: Plan, section: TrainSection) -> None:
    if not section.in_stages:
        raise _impossible(
            "pairs do not go through a pipeline: it takes rows of tokens, all of one length",
            "Set parallel.pipeline=1.",
        )
    if section.accumulate < plan.pipeline:
        raise _impossible(
            f"{plan.pipeline} stages need {plan.pipeline} micro-batches or more, and accumulate "
            f"is {section.accumulate}",
            f"Set accumulate={plan.pipeline} or more; each stage then waits for "
            f"{plan.pipeline - 1} of them.",
        )
    check_rows(plan, section.batch_rows, section.accumulate)


def check_rows(plan: Plan, rows: int, accumulate: int) -> None:
    """Raise RecipeError where the rows of a batch do not divide as a pipeline needs them; where
    there is less data than `batch_rows`, a batch has fewer."""
    parts = plan.readers * accumulate
    if rows % parts:
        raise _impossible(
            f"batch of {rows} rows / (data {plan.data} × accumulate {accumulate}) = "
            f"{rows / parts:.2f} rows a micro-batch, and a pipeline takes whole ones",
            f"Set batch_rows to a multiple of {parts}, of no more than there are.",
        )


def check_shape(plan: Plan, config: DecoderConfig) -> None:
    """Raise RecipeError where a model of that shape cannot be split so."""
    if plan.tensor > 1:
        for name in ("heads", "key_value_heads", "feed_forward"):
            count = getattr(config, name)
            if count % plan.tensor:
                raise _impossible(
                    f"{name} {count} / tensor {plan.tensor} = {count / plan.tensor:.2f}, and none "
                    "can be divided",
                    f"Set parallel.tensor to a divisor of {count}.",
                )
        if config.attention_bias == "all" or config.feed_forward_bias:
            raise _impossible(
                "tensor: a model with biases on the way out of attention or feed-forward is not "
                "split",
                "Set parallel.tensor=1.",
            )
    if config.layers < plan.pipeline:
        raise _impossible(
            f"{config.layers} layers / pipeline {plan.pipeline} = "
            f"{config.layers / plan.pipeline:.2f}, and a stage has one at least",
            f"Set parallel.pipeline to at most {config.layers}.",
        )


def _impossible(what: str, remedy: str) -> RecipeError:
    return RecipeError(what, "parallel", remedy)
