"""The wheel as a list of stages: which step reads which artifacts, and which section it obeys."""

from dataclasses import dataclass
from typing import Any

from volano.align.section import SAFETY
from volano.align.step import ALIGN, PREFERENCES
from volano.collect.section import SafetySection
from volano.collect.step import COLLECT
from volano.collect.step import SAFETY as COLLECT_SAFETY
from volano.core.errors import RecipeError, did_you_mean
from volano.core.recipe import Section
from volano.core.step import Step
from volano.curate.step import STEP as CURATE
from volano.evaluate.section import HeldOutSection
from volano.evaluate.step import EVALUATE
from volano.evaluate.step import HELD_OUT_FUNCTIONS as HELD_OUT
from volano.finetune.section import FUNCTIONS
from volano.finetune.step import CONVERSATIONS, FINETUNE
from volano.pretrain.section import ImportSection
from volano.pretrain.step import IMPORT, PACK, PRETRAIN, TOKENIZER
from volano.study.recipe import Recipe

HELD_OUT_FUNCTIONS = "held_out_functions"


@dataclass(frozen=True)
class Stage:
    """One step in its place. `inputs` maps the step's input names to the stages that make them."""

    name: str
    phase: str
    step: Step[Any]
    section: Section
    inputs: dict[str, str]


def stages_of(recipe: Recipe) -> list[Stage]:
    """The stages that a recipe asks for, in the order of making. Raises RecipeError."""
    stages = [Stage("collected", "collect", COLLECT, recipe.collect, {})]
    stages.append(Stage("safety", "collect", COLLECT_SAFETY, SafetySection(), {}))
    stages.append(
        Stage("held_out", "collect", HELD_OUT, HeldOutSection(), {"documents": "collected"})
    )
    stages.append(
        Stage(
            "curated",
            "curate",
            CURATE,
            recipe.curate,
            {"documents": "collected", **_held_out_inputs(recipe)},
        )
    )
    if recipe.base is None:
        stages += _base_from_text(recipe)
    else:
        asked = "pretrain" in recipe.model_fields_set and recipe.pretrain is not None
        _require(not asked, "pretrain", "no base: a finished one is not trained again")
        stages.append(
            Stage("base", "pretrain", IMPORT, ImportSection.of(recipe.base, recipe.base_chat), {})
        )
    has_base = recipe.base is not None or recipe.pretrain is not None
    _require(has_base or recipe.finetune is None, "finetune", "a base model: set pretrain or base")
    if recipe.finetune is not None:
        stages += _fine_tuned(recipe)
    _require(recipe.finetune is not None or recipe.align is None, "align", "finetune, which is off")
    if recipe.align is not None:
        stages += _aligned(recipe)
    if recipe.evaluate is not None and has_base:
        models = [each.name for each in stages if each.step.kind == "checkpoint"]
        inputs = {"held_out_functions": "held_out", "safety": "safety"}
        inputs |= {name: name for name in models}
        stages.append(Stage("report", "evaluate", EVALUATE, recipe.evaluate, inputs))
    return _used(stages)


def _base_from_text(recipe: Recipe) -> list[Stage]:
    documents = {"documents": "curated"}
    stages = [Stage("tokenizer", "tokenizer", TOKENIZER, recipe.tokenizer, documents)]
    if recipe.pretrain is not None:
        mix, by = recipe.curate.mix, recipe.pretrain.mixture_by
        if mix is not None and mix.by == by and recipe.pretrain.packing().kinds:
            raise RecipeError(
                f"shares of {by}s are given here and in curate.mix",
                "pretrain.mixture" if recipe.pretrain.mixture else "pretrain.curriculum.stages",
                "Leave one of the two out.",
            )
        packing = {**documents, "tokenizer": "tokenizer"}
        stages.append(Stage("tokens", "pretrain", PACK, recipe.pretrain.packing(), packing))
        inputs = {"tokens": "tokens", "tokenizer": "tokenizer", "held_out": "held_out"}
        stages.append(Stage("base", "pretrain", PRETRAIN, recipe.pretrain, inputs))
    return stages


def _fine_tuned(recipe: Recipe) -> list[Stage]:
    assert recipe.finetune is not None
    section = recipe.finetune.conversations()
    inputs = {"documents": "curated"} if FUNCTIONS in section.names else {}
    return [
        Stage("conversations", "finetune", CONVERSATIONS, section, inputs),
        Stage(
            "sft",
            "finetune",
            FINETUNE,
            recipe.finetune,
            {"conversations": "conversations", "base": "base"},
        ),
    ]


def _aligned(recipe: Recipe) -> list[Stage]:
    assert recipe.align is not None
    section = recipe.align.preferences()
    inputs = {}
    if FUNCTIONS in section.names:
        inputs["documents"] = "curated"
    if SAFETY in section.names:
        inputs["safety"] = "safety"
    if section.needs_model:
        inputs["sft"] = "sft"
    return [
        Stage("preferences", "align", PREFERENCES, section, inputs),
        Stage(
            "aligned", "align", ALIGN, recipe.align, {"preferences": "preferences", "sft": "sft"}
        ),
    ]


def _held_out_inputs(recipe: Recipe) -> dict[str, str]:
    if recipe.curate.decontaminate is None:
        return {}
    known = {HELD_OUT_FUNCTIONS: "held_out"}
    for name in recipe.curate.decontaminate.against:
        if name not in known:
            raise RecipeError(
                f"no held-out corpus '{name}'",
                "curate.decontaminate.against",
                did_you_mean(name, known),
            )
    return {name: known[name] for name in recipe.curate.decontaminate.against}


def _require(holds: bool, section: str, what: str) -> None:
    if not holds:
        raise RecipeError(f"needs {what}", section, f"Or set `{section}: off`.")


def _used(stages: list[Stage]) -> list[Stage]:
    """The stages without those that feed no other and end nothing: a run makes no idle artifact."""
    ends = {"collected", "curated", "tokenizer", "base", "sft", "aligned", "report"}
    read = {source for each in stages for source in each.inputs.values()}
    return [each for each in stages if each.name in ends or each.name in read]
