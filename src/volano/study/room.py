"""Whether a training fits into the memory that there is, told before anything is made.

What is refused here could not have run: the plan counts less than a run takes
(docs/training-plan.md), the room is all that the machine has, and where rows follow from data that
are not made yet, as in fine-tuning and alignment, the fewest and shortest are counted. What is not
refused may still run out of memory.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from volano.align.section import AlignSection
from volano.core.artifact import Artifact
from volano.core.errors import RecipeError
from volano.core.memory import usable_memory_bytes
from volano.core.store import Store
from volano.pretrain.section import ModelSection, PretrainSection
from volano.study.recipe import Recipe
from volano.study.section_memory import SectionMemory, memory_of_section
from volano.study.shape import shape_of
from volano.study.training_cost import ModelSize, size_of
from volano.study.wheel import Stage
from volano.train.parallel_plan import plan_of, started_processes
from volano.train.section import AdaptedSection, LoraSection, TrainSection

SHORTEST = 2  # tokens of a side of a pair: its batches are as wide as their longest
ANYWHERE = 2e9  # bytes that any machine and device has: below them nobody has to be asked
Changes = dict[str, Any]


class Room(NamedTuple):
    """What there is for a process, and of whom a message speaks."""

    device: Literal["cpu", "cuda"]
    bytes: int
    of: str
    shared: bool  # by all processes of the run on this machine


def check_memory(
    stages: Sequence[Stage],
    recipe: Recipe,
    store: Store,
    given: Mapping[str, Artifact],
    *,
    only: str | None = None,
    room: Room | None = None,
) -> None:
    """Raise RecipeError for the first stage that is to be trained and cannot fit, with the sum and
    the nearest that fits. A model whose shape is not known yet passes, and so does what is made
    already or of another phase than `only`. `room`: None takes that of this machine."""
    wanted = [each for each in stages if only in {None, each.phase}]
    training = [each for each in wanted if isinstance(each.section, TrainSection)]
    shape = shape_of(recipe, stages, store, given) if training else None
    if shape is None:
        return
    size = size_of(shape)
    large = [each for each in training if _most(each.section, size) > ANYWHERE]
    if not large:
        return
    room = room or room_of(recipe)
    over = [each for each in large if room is not None and not _fits(each.section, size, room)]
    if not over or room is None:
        return
    from volano.study.plan import plan

    made = {each.stage for each in plan(recipe, store, given, stages) if not each.reuse}
    for stage in over:
        if stage.name in made:
            raise _refusal(stage, size, room)


def room_of(recipe: Recipe) -> Room | None:
    """The memory of the device that the recipe takes; None where the system does not say."""
    import torch

    from volano.model.device import name_of

    if recipe.device != "cpu" and torch.cuda.is_available():
        device = torch.device("cuda", 0)
        found = int(torch.cuda.get_device_properties(device).total_memory)
        return Room("cuda", found, name_of(device), shared=False)
    usable = usable_memory_bytes()
    return None if usable is None else Room("cpu", usable, "this machine", shared=True)


def _fits(section: Any, size: ModelSize, room: Room) -> bool:
    return _taken(section, size, room) <= room.bytes


def _taken(section: TrainSection, size: ModelSize, room: Room) -> float:
    """Of all processes that share the room. Where layers are split their sum is not known: the
    largest is counted alone."""
    plan = plan_of(section, started=started_processes())
    alike = plan.processes if plan.tensor == plan.pipeline == 1 else 1
    here = alike if room.shared and not started_processes() else 1
    return here * memory_in(room, _least(section), size).total


def memory_in(room: Room, section: TrainSection, size: ModelSize) -> SectionMemory:
    """What the section takes of that room."""
    if room.device == "cpu":
        return memory_of_section(section, size)
    # 16 bits where nobody asks for more: what does not fit so does not fit at all.
    reduced = section.precision in {"auto", "bfloat16"}
    return memory_of_section(section, size, device="cuda", reduced=reduced)


def _least(section: TrainSection) -> TrainSection:
    """The section as little data would have it: a batch has no more rows than there are."""
    if not isinstance(section, AdaptedSection):
        return section
    plan = plan_of(section, started=started_processes())
    rows: Changes = {"accumulate": plan.pipeline, "batch_rows": plan.readers * plan.pipeline}
    short: Changes = {"context": SHORTEST} if isinstance(section, AlignSection) else {}
    return section.model_copy(update=rows | short)


def _most(section: Any, size: ModelSize) -> float:
    plan = plan_of(section, started=started_processes())
    return plan.processes * memory_of_section(_least(section), size, reduced=False).total


def _refusal(stage: Stage, size: ModelSize, room: Room) -> RecipeError:
    section = stage.section
    assert isinstance(section, TrainSection)
    taken, one = _taken(section, size, room), memory_in(room, _least(section), size)
    several = round(taken / one.total)
    each = f"{several} processes × " if several > 1 else ""
    nearest = nearest_that_fits(section, size, room)
    if nearest is None:
        remedy = "Nothing that the section can set makes it fit: take a smaller model."
    else:
        settings = " ".join(f"{stage.phase}.{key}={value}" for key, value in nearest[0].items())
        remedy = f"The nearest that fits takes {nearest[1] / 1e9:,.1f} GB: {settings}."
    return RecipeError(
        f"{taken / 1e9:,.1f} GB ({each}{one.sum()}) are more than the "
        f"{room.bytes / 1e9:,.1f} GB of {room.of}",
        f"{stage.phase} ({stage.name})" if stage.name.startswith("sft-") else stage.phase,
        remedy,
    )


def nearest_that_fits(
    section: TrainSection, size: ModelSize, room: Room
) -> tuple[Changes, float] | None:
    """Settings to change and the bytes then taken; None where none is found.

    In the order of what they cost: more micro-batches a step, which learn the same; activations
    made again, a third more work; an adapter in the place of the whole model; a smaller model.
    """
    for changes in _candidates(section, size):
        changed, other = _changed(section, size, changes)
        taken = _taken(changed, other, room)
        if taken <= room.bytes:
            return changes, taken
    return None


def _candidates(section: TrainSection, size: ModelSize) -> Iterator[Changes]:
    readers = plan_of(section, started=started_processes()).readers
    counts = list(_doublings(section.accumulate, section.batch_rows // readers))
    again: Changes = {} if section.activations == "recomputed" else {"activations": "recomputed"}
    if section.compile:  # which decides by itself what is kept
        again = {**again, "compile": "off"}
    ways: Iterable[Changes] = ({}, again) if again else ({},)
    for way in ways:
        for count in counts:
            yield {**({"accumulate": count} if count != section.accumulate else {}), **way}
    last = {**({"accumulate": counts[-1]} if counts[-1] != section.accumulate else {}), **again}
    if isinstance(section, AdaptedSection) and section.lora is None:
        yield {**last, "lora": "on"}
    if isinstance(section, PretrainSection):
        for key, value in _smaller(section.model, size):
            yield {**last, key: value}


def _smaller(model: ModelSection, size: ModelSize) -> Iterator[tuple[str, Any]]:
    """The dial that the section has, turned down, as far as there are such decoders."""
    if model.depth is not None:
        yield from (("model.depth", depth) for depth in range(model.depth - 1, 0, -1))
        return
    parameters = size.parameters
    while parameters > 2 * size.embedding:
        parameters = parameters * 3 // 4
        large = parameters >= 1e9
        yield (
            "model.parameters",
            f"{parameters / 1e9:.2f}B" if large else f"{parameters / 1e6:.1f}M",
        )


def _changed(
    section: TrainSection, size: ModelSize, changes: Changes
) -> tuple[TrainSection, ModelSize]:
    values = dict(changes)
    if "compile" in values:
        values["compile"] = False
    if "lora" in values:
        values["lora"] = LoraSection()
    for key in ("depth", "parameters"):
        asked = values.pop(f"model.{key}", None)
        if asked is not None:
            assert isinstance(section, PretrainSection)
            model = ModelSection.read({**section.model.model_dump(), key: asked}, "model")
            size = size_of(model.shape(size.vocabulary))
    return section.model_copy(update=values), size


def _doublings(first: int, most: int) -> Iterator[int]:
    count = first
    while count < most:
        yield count
        count = min(2 * count, most)
    yield max(count, first)
