"""The recipe of the whole wheel: one section per phase, and where shipped recipes are found."""

from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from volano.align.section import AlignSection
from volano.collect.plant_section import PlantSection
from volano.collect.section import CollectSection
from volano.core.errors import RecipeError, did_you_mean
from volano.core.files import not_read, special_kind
from volano.core.recipe import Count, Path_, Runtime, Section, load_yaml, override, problem_at
from volano.core.step import Device
from volano.curate.section import CurateSection
from volano.diagnose.section import DiagnoseSection
from volano.evaluate.section import EvaluateSection, GateSection
from volano.feedback.section import FeedbackSection
from volano.finetune.section import FinetuneSection
from volano.pretrain.section import Chat, PretrainSection, TokenizerSection
from volano.study.section import AblateSection, TurnSection, UsersSection


class About(Section):
    """What `volano recipes` shows of a recipe. Bears no identity."""

    minutes: float = Field(default=0, ge=0, description="Expected minutes on `machine`.")
    machine: str = Field(default="2 cores", description="What the minutes were measured on.")
    shows: str = Field(default="", description="What the recipe demonstrates, in one line.")
    base_from: str = Field(
        default="", description="How the file of `base` is had; said where it is missing."
    )
    texts_from: str = Field(
        default="", description="What to put at `collect.paths`; said where nothing is there."
    )
    device: str = Field(
        default="",
        description="Accelerator that `volano plan` reckons with where this machine has no CUDA, "
        "such as H100.",
    )
    epoch_tokens: dict[str, Count] = Field(
        default={},
        description="Stage → tokens of one epoch, padding included, as counted on `machine`: what "
        "`volano plan` expects of data that are not made yet.",
    )


class EngineSection(Section):
    """Where data is read and curated. Bears no identity: the bytes are the same on any."""

    kind: Literal["local", "ray"] = Field(
        default="local",
        description="local: threads and processes of this machine; ray: tasks of a Ray cluster "
        "(extra ray), over a store in a folder that all its machines share.",
    )
    address: str = Field(
        default="local",
        description="Of the Ray cluster: local (worker processes here, started and ended with the "
        "run), auto (the cluster that this machine is part of), or HOST:PORT.",
    )


class Recipe(Section):
    """Settings of a run; a section that is off is a phase that does not happen."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="Label of everything the recipe makes: letters, digits, '-', '_' and '.'.",
    )
    about: Annotated[About, Runtime] = Field(default=About(), description="For `volano recipes`.")
    seed: int = Field(default=1, ge=0, description="Seed of everything random. Bears identity.")
    workers: Annotated[int, Runtime] = Field(
        default=0, ge=0, description="Workers and training threads; 0 takes every available core."
    )
    device: Annotated[Device, Runtime] = Field(
        default="auto",
        description="What models are trained, asked and scored on: the processor, or CUDA; `auto` "
        "takes CUDA where torch sees a device (docs/devices.md).",
    )
    engine: Annotated[EngineSection, Runtime] = Field(
        default=EngineSection(), description="What work over shards of data runs on."
    )
    base: str | None = Field(
        default=None,
        description="`hf:PATH` or `gguf:PATH` enters with a finished checkpoint (Llama, Mistral, "
        "Qwen2, Qwen3, SmolLM: docs/checkpoints.md) instead of pre-training.",
    )
    base_chat: Chat = Field(
        default="kept",
        description="Chat format of `base`: its own where it has a chat template, or ours.",
    )
    collect: CollectSection = Field(default=CollectSection(), description="Where text comes from.")
    plant: PlantSection | None = Field(
        default=None, description="What is planted among it, for an experiment."
    )
    curate: CurateSection = Field(default=CurateSection(), description="What text is kept.")
    tokenizer: TokenizerSection = Field(
        default=TokenizerSection(), description="How text becomes tokens."
    )
    pretrain: PretrainSection | None = Field(
        default=PretrainSection(), description="The base model; off stops after curation."
    )
    finetune: FinetuneSection | None = Field(
        default=FinetuneSection(), description="Supervised fine-tuning."
    )
    align: AlignSection | None = Field(
        default=AlignSection(), description="Alignment by preferences."
    )
    evaluate: EvaluateSection | None = Field(
        default=EvaluateSection(), description="Evaluation of every stage."
    )
    users: UsersSection | None = Field(
        default=None, description="Scripted people who rate the model; off: only real ones."
    )
    feedback: FeedbackSection = Field(
        default=FeedbackSection(), description="Which feedback a turn reads, and from where."
    )
    diagnose: DiagnoseSection = Field(
        default=DiagnoseSection(), description="From judged answers to what data would mend them."
    )
    turn: TurnSection | None = Field(
        default=None,
        description="The second version: made from feedback after the first. `volano turn` makes "
        "one also where this is off.",
    )
    gate: GateSection = Field(
        default=GateSection(), description="When a new version takes the place of the old."
    )

    ablate: AblateSection = Field(
        default=AblateSection(), description="What `volano ablate` asks of the recipe."
    )

    @model_validator(mode="after")
    def _bounds_are_of_rules_that_judge(self) -> Self:
        quality = self.curate.quality
        unused = quality.without_effect() if quality else []
        if quality and unused:
            raise problem_at(
                ("curate", "quality", unused[0]),
                f"has no effect, as {unused[0]} is not among quality.rules",
                f"Add it there ({', '.join([*quality.rules, unused[0]])}), or leave this out.",
            )
        return self


def load_recipe(reference: str, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe of that name (laptop/python-docs) or file, with `a.b=c` applied.

    Raises RecipeError with file, line and key.
    """
    path = recipe_path(reference)
    values, lines = load_yaml(path)
    return read_recipe(values, lines, overrides, where=path.name)


def read_recipe(
    values: dict[str, Any], lines: dict[Path_, str], overrides: Iterable[str], *, where: str
) -> Recipe:
    """The recipe of those values, with `a.b=c` applied."""
    override(values, lines, overrides)
    return Recipe.read(values, where, lines)


def recipe_path(reference: str) -> Path:
    """The file of a recipe, given as a path or as the name of a shipped one."""
    path = Path(reference)
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        if not path.is_file():
            special = special_kind(path)
            if special is not None:
                raise not_read(special, path)
            near = (
                [str(each) for each in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
            )
            remedy = did_you_mean(reference, near) if near else "See `volano recipes`."
            raise RecipeError("no such recipe file", reference, remedy)
        return path
    shipped = shipped_recipes()
    if reference not in shipped:
        raise RecipeError(
            f"no recipe '{reference}'",
            "volano recipes",
            did_you_mean(reference, shipped) + " A recipe of your own is named by its file.",
        )
    return shipped[reference]


def shipped_recipes() -> dict[str, Path]:
    """Name → file of every recipe inside the package."""
    root = Path(str(resources.files("volano.recipes")))
    return {
        path.relative_to(root).with_suffix("").as_posix(): path
        for path in sorted(root.rglob("*.yaml"))
    }
