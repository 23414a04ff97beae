"""What a recipe's models would take on this machine, and what they took where they were made.

FLOPs follow from shapes and tokens, minutes from tokens and a rate: either measured now, in a few
steps of each stage on random tokens, or that of the bills of a former run. How many tokens
fine-tuning and alignment read is known only once their data are made: until then it is what the
recipe says (`about.epoch_tokens`, counted when the recipe was measured), or unknown.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import pyarrow.compute as pc
import pyarrow.parquet as pq

from volano.align.section import AlignSection
from volano.core.artifact import Artifact
from volano.core.engine import available_cores
from volano.core.errors import RecipeError, StoreError
from volano.core.store import Store
from volano.evaluate.section import EvaluateSection
from volano.model.config import DecoderConfig
from volano.model.families import read_config
from volano.pretrain.section import PretrainSection
from volano.study.planned_epochs import planned_epochs
from volano.study.recipe import Recipe
from volano.study.reckoned_rate import Reckoned, reckoned_for
from volano.study.room import check_memory, memory_in, room_of
from volano.study.section_memory import SectionMemory, memory_of_section
from volano.study.shape import shape_of
from volano.study.training_cost import (
    ModelSize,
    flops_per_token,
    forward_flops_per_token,
    size_of,
)
from volano.study.wheel import Stage
from volano.study.whole import whole_stages
from volano.train.section import AdaptedSection, TrainSection

BUSY = 0.5  # of the cores
HELD_OUT = {
    "held_out_functions",
    "safety",
    "conversations",
}  # what an evaluation reads besides models
if TYPE_CHECKING:
    from volano.study.measured_rate import Measured

PAIR_WIDTH = 0.6  # of the context: a mean side of a pair, in both shipped recipes

Rates = Literal["measured", "bills"]


@dataclass(frozen=True)
class StagePlan:
    """One stage. What is None is not known; `seconds` are of training alone, as bills have them."""

    stage: str
    phase: str
    parameters: int
    tokens: float | None
    tokens_from: str
    flops: float | None
    memory_bytes: float | None
    tokens_per_second: float | None
    rate_from: str
    seconds: float | None
    processor_seconds: float | None = None
    bill: Mapping[str, float] = field(default_factory=dict)
    bill_settings: bool = True  # whether the bill is of the same settings
    trained: bool = True  # evaluation only reads and generates
    # Kind → how often it is read over, of pre-training whose tokens are in the store.
    epochs: Mapping[str, float] = field(default_factory=dict)

    @property
    def bill_seconds(self) -> float | None:
        """What training took where the stage was made, or all of an evaluation."""
        return self.bill.get("training_seconds" if self.trained else "seconds")

    @property
    def bill_processor_seconds(self) -> float | None:
        """The step's processor time, by the share of training in its seconds."""
        if not self.bill_seconds or not self.trained:
            return None
        return self.bill["processor_seconds"] * self.bill_seconds / self.bill["seconds"]

    @property
    def ratio(self) -> float | None:
        """Plan over bill, where both are known and of the same settings."""
        return self._over(self.seconds, self.bill_seconds)

    @property
    def processor_ratio(self) -> float | None:
        """The same of processor time, which a busy machine stretches less."""
        return self._over(self.processor_seconds, self.bill_processor_seconds)

    def _over(self, planned: float | None, billed: float | None) -> float | None:
        return planned / billed if planned and billed and self.bill_settings else None


@dataclass(frozen=True)
class RecipePlan:
    """All training stages, and what every other stage took the last time, in seconds."""

    name: str
    stages: list[StagePlan]
    others: dict[str, float]
    busy: float = 0.0  # processes that wanted a core before rates were measured, if many did
    reckoned: Reckoned | None = None  # with which device, where it is not this machine

    @property
    def unknown(self) -> list[str]:
        """Training stages whose time cannot be told."""
        return [each.stage for each in self.stages if each.trained and each.seconds is None]

    @property
    def seconds(self) -> float:
        """Of training, stages with unknown time left out."""
        return sum(each.seconds or 0.0 for each in self.stages)


def plan_recipe(
    recipe: Recipe,
    store: Store,
    rates: Rates = "measured",
    *,
    device: str | None = None,
    utilisation: float | None = None,
    told: Callable[[str], None] = lambda said: None,
) -> RecipePlan:
    """The plan of every training stage of the recipe. Nothing is made.

    `told` hears of each stage before its rate is measured, which takes seconds to minutes.
    `device` names an accelerator to reckon with in the place of measuring (reckoned_rate.py).
    Raises RecipeError for a recipe that no run would take or whose training does not fit into
    memory, StoreError where bills are asked for and no stage has one, or where a GGUF base is not
    yet imported.
    """
    stages, load = whole_stages(recipe, store), os.getloadavg()[0]
    if rates == "bills" and device is not None:
        raise RecipeError("each give a rate", "--by-bills and --device", "Leave one of them out.")
    reckoned = reckoned_for(recipe, device, utilisation)
    room = None if reckoned is None else reckoned.room()
    check_memory(stages, recipe, store, {}, room=room)
    shape = shape_of(recipe, stages, store, {})
    if shape is None and recipe.base is not None:
        raise StoreError(
            "the shape of the base is known once it is imported",
            recipe.name,
            "Run it with --only pretrain first.",
        )
    planned: list[StagePlan] = []
    others: dict[str, float] = {}
    measurements = _Measurements(recipe, told)
    for stage in stages:
        made = _made(store, f"{recipe.name}/{stage.name}")
        if shape is not None and isinstance(stage.section, TrainSection):
            of_stage = _stage(
                stage, stage.section, shape, recipe, made, rates, measurements, reckoned
            )
            planned.append(replace(of_stage, epochs=planned_epochs(stage, stages, recipe, store)))
        elif shape is not None and isinstance(stage.section, EvaluateSection):
            planned.append(_evaluation(stage, stage.section, size_of(shape), recipe, made))
        elif made is not None:
            others[stage.name] = float(made.bill().get("seconds", 0.0))
    if rates == "bills" and all(each.seconds is None for each in planned):
        raise StoreError(
            "no bill of this recipe's training is in the store",
            recipe.name,
            "Run it first, or leave --by-bills out: rates are then measured.",
        )
    busy = load if load > BUSY * available_cores() else 0.0
    shown = reckoned if rates == "measured" else None
    return RecipePlan(recipe.name, planned, others, busy, shown)


def _stage(
    stage: Stage,
    section: TrainSection,
    shape: DecoderConfig,
    recipe: Recipe,
    made: Artifact | None,
    rates: Rates,
    measurements: "_Measurements",
    reckoned: Reckoned | None,
) -> StagePlan:
    size = size_of(shape)
    tokens, source = _tokens(stage, section, recipe, made)
    rate, of_processor, rate_from = None, None, "no bill of this stage"
    if rates == "bills" and made is not None:
        rate, rate_from = _billed_rate(made, size)
    elif rates == "measured" and reckoned is not None:
        rate = reckoned.tokens_per_second(_flops_per_token(section, size))
        rate_from = reckoned.rate_from
    elif rates == "measured":
        measured = measurements.of(stage, section, shape)
        rate, of_processor = measured.tokens_per_second, measured.tokens_per_processor_second
        rate_from = f"{measured.steps} steps, now"
    return StagePlan(
        stage=stage.name,
        phase=stage.phase,
        parameters=size.parameters,
        tokens=tokens,
        tokens_from=source,
        flops=None if tokens is None else tokens * _flops_per_token(section, size),
        memory_bytes=_memory(section, size, recipe, reckoned).total,
        tokens_per_second=rate,
        rate_from=rate_from,
        seconds=None if tokens is None or rate is None else tokens / rate,
        processor_seconds=None if tokens is None or not of_processor else tokens / of_processor,
        bill={} if made is None else dict(made.bill()),
        bill_settings=made is not None and _same_settings(made, stage, recipe),
    )


def _memory(
    section: TrainSection, size: ModelSize, recipe: Recipe, reckoned: Reckoned | None
) -> SectionMemory:
    """On the device that the plan is of; where this machine has CUDA, `auto` takes it."""
    room = room_of(recipe) if reckoned is None else reckoned.room()
    return memory_of_section(section, size) if room is None else memory_in(room, section, size)


class _Measurements:
    """Rates of sections; stages that differ in their epochs alone share one."""

    def __init__(self, recipe: Recipe, told: Callable[[str], None]) -> None:
        self._recipe, self._told = recipe, told
        self._known: dict[str, Measured] = {}

    def of(self, stage: Stage, section: TrainSection, shape: DecoderConfig) -> "Measured":
        from volano.study.measured_rate import measure_rate

        alike = section.model_copy(update={"epochs": 1.0} if hasattr(section, "epochs") else {})
        key = f"{type(section).__name__} {alike.model_dump_json()}"
        if key not in self._known:
            self._told(f"{stage.name}: training for some steps, to measure the rate …")
            self._known[key] = measure_rate(
                shape,
                section,
                row_tokens=_row_tokens(section, shape),
                workers=self._recipe.workers,
                device=self._recipe.device,
            )
        return self._known[key]


def _evaluation(
    stage: Stage,
    section: EvaluateSection,
    size: ModelSize,
    recipe: Recipe,
    made: Artifact | None,
) -> StagePlan:
    """An upper bound of the arithmetic: every item there may be, each as long as the context.

    No time: batches that end early and the single answers of `efficiency` do not follow it.
    """
    models = len(stage.inputs.keys() - HELD_OUT)
    items = 0
    if "bits_per_byte" in section.tasks:
        items += section.bits_documents
    if "held_out_functions" in section.tasks:
        items += section.choice_items + section.answers * (1 + section.seeds)
    if "conversations" in section.tasks:
        items += 2 * section.conversations
    if "safety" in section.tasks:
        items += section.safety_prompts
    tokens = float(models * items * size.context)
    return StagePlan(
        stage=stage.name,
        phase=stage.phase,
        parameters=size.parameters,
        tokens=tokens,
        tokens_from=f"at most: {models} models × {items:,} items × {size.context}",
        flops=tokens * forward_flops_per_token(size),
        memory_bytes=None,
        tokens_per_second=None,
        rate_from="",
        seconds=None,
        bill={} if made is None else dict(made.bill()),
        bill_settings=made is not None and _same_settings(made, stage, recipe),
        trained=False,
    )


def _tokens(
    stage: Stage, section: TrainSection, recipe: Recipe, made: Artifact | None
) -> tuple[float | None, str]:
    if isinstance(section, PretrainSection):
        tokens = section.steps * section.batch_rows * section.model.context
        return float(tokens), "steps × rows × context"
    epochs = float(getattr(section, "epochs", 1.0))
    if made is not None:
        settings = made.meta["identity"]["settings"]
        read = pc.sum(pq.read_table(made.folder / "metrics.parquet")["tokens"]).as_py()
        return read * epochs / float(settings["epochs"]), "last run's data"
    expected = recipe.about.epoch_tokens.get(stage.name)
    if expected is not None:
        return expected * epochs, "about.epoch_tokens of the recipe"
    return None, "unknown before its data are made"


def _flops_per_token(section: TrainSection, size: ModelSize) -> float:
    flops = flops_per_token(size)
    if isinstance(section, AdaptedSection):
        size = replace(size, context=section.context_of(size.context))
        flops = flops_per_token(size)
        if section.lora is not None:  # of frozen weights no gradient is made
            flops -= 2.0 * size.in_matmuls
    # The reference reads each pair once: in the first epoch a forward pass more than others.
    if isinstance(section, AlignSection):
        flops += forward_flops_per_token(size) / max(section.epochs, 1.0)
    return flops


def _row_tokens(section: TrainSection, shape: DecoderConfig) -> int:
    if isinstance(section, AlignSection):
        return max(2, round(PAIR_WIDTH * section.context_of(shape.context)))
    if isinstance(section, AdaptedSection):
        return section.context_of(shape.context)
    return shape.context


def _made(store: Store, name: str) -> Artifact | None:
    try:
        return store.find(name)
    except StoreError:
        return None


def _same_settings(made: Artifact, stage: Stage, recipe: Recipe) -> bool:
    identity = made.meta["identity"]
    return bool(
        identity["settings"] == stage.section.identity()
        and identity["version"] == stage.step.version
        and identity["seed"] in {None, recipe.seed}
    )


def _billed_rate(made: Artifact, size: ModelSize) -> tuple[float | None, str]:
    """Tokens a second of a former run, by the FLOPs of its own shape."""
    bill = made.bill()
    if "tokens_per_second" not in bill:
        return None, "its bill has no rate"
    former = flops_per_token(size_of(read_config(made.folder)))
    rate = float(bill["tokens_per_second"]) * former / flops_per_token(size)
    return rate, f"bill of {str(bill['finished'])[:10]}"
