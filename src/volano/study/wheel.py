"""The wheel as a list of stages: which step reads which artifacts, and which section it obeys."""

from dataclasses import dataclass
from typing import Any

from volano.align.section import SAFETY
from volano.align.step import ALIGN, PREFERENCES
from volano.collect.plant import PLANT
from volano.collect.section import CollectSection, SafetySection
from volano.collect.step import COLLECT
from volano.collect.step import SAFETY as COLLECT_SAFETY
from volano.core.errors import RecipeError, did_you_mean
from volano.core.recipe import Section
from volano.core.step import Step
from volano.curate.section import CurateSection
from volano.curate.step import LEARN, LEARNT
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


def stages_of(recipe: Recipe, *, turns: bool = False) -> list[Stage]:
    """The stages that a recipe asks for, in the order of making. Raises RecipeError.

    With a finished base, text is collected and curated only where something is made of it. Where
    the wheel `turns`, a later version reads the corpora too.
    """
    stages = []
    if recipe.base is not None:  # first, so that a checkpoint of no use is refused at once
        asked = "pretrain" in recipe.model_fields_set and recipe.pretrain is not None
        _require(not asked, "pretrain", "no base: a finished one is not trained again")
        imported = ImportSection.of(recipe.base, recipe.base_chat)
        stages.append(Stage("base", "pretrain", IMPORT, imported, {}))
    stages.append(Stage("collected", "collect", COLLECT, recipe.collect, {}))
    stages.append(Stage("safety", "collect", COLLECT_SAFETY, SafetySection(), {}))
    stages.append(
        Stage("held_out", "collect", HELD_OUT, HeldOutSection(), {"documents": "collected"})
    )
    if recipe.plant is not None:
        stages.append(Stage("planted", "collect", PLANT, recipe.plant, {"documents": "collected"}))
    documents = {"documents": documents_stage(recipe)}
    curation = curation_of(recipe)
    inputs = documents | _held_out_inputs(curation)
    classifier = recipe.curate.classifier
    if classifier is not None and classifier.learn is not None:
        stages.append(Stage(LEARNT, "curate", LEARN, classifier.learn, documents))
        inputs |= {LEARNT: LEARNT}
    stages.append(Stage("curated", "curate", CURATE, curation, inputs))
    if recipe.base is None:
        if "base_chat" in recipe.model_fields_set:
            what = "is the chat of a finished base, and there is none"
            raise RecipeError(what, "base_chat", "Set base, or leave this out.")
        stages += _base_from_text(recipe)
    has_base = recipe.base is not None or recipe.pretrain is not None
    _require(has_base or recipe.finetune is None, "finetune", "a base model: set pretrain or base")
    if recipe.finetune is not None:
        stages += _fine_tuned(recipe)
    _require(recipe.finetune is not None or recipe.align is None, "align", "finetune, which is off")
    if recipe.align is not None:
        stages += _aligned(recipe)
    if recipe.evaluate is not None and has_base:
        models = [each.name for each in stages if each.step.kind == "checkpoint"]
        inputs = evaluation_inputs(recipe) | {name: name for name in models}
        stages.append(Stage("report", "evaluate", EVALUATE, recipe.evaluate, inputs))
    ends = {"tokenizer", "base", "sft", "aligned", "report"}
    if turns or recipe.base is None:
        ends |= {"collected", "curated"}
    if turns:
        ends |= {"held_out", "safety"}
    return _used(stages, ends)


def documents_stage(recipe: Recipe) -> str:
    """The stage whose documents are curated."""
    return "collected" if recipe.plant is None else "planted"


def evaluation_inputs(recipe: Recipe, conversations: str = "conversations") -> dict[str, str]:
    """What the tasks of the evaluation read besides models; `conversations` names their stage."""
    assert recipe.evaluate is not None
    tasks, learnt = set(recipe.evaluate.tasks), recipe.finetune
    inputs = {}
    about_functions = learnt is not None and FUNCTIONS in learnt.names
    if tasks - {"safety", "conversations"} or ("conversations" in tasks and about_functions):
        inputs["held_out_functions"] = "held_out"
    if "safety" in tasks:
        inputs["safety"] = "safety"
    if "conversations" in tasks:
        if learnt is None:
            raise RecipeError(
                "conversations are held out by fine-tuning, which is off",
                "evaluate.tasks",
                "Leave conversations out, or set finetune.",
            )
        inputs["conversations"] = conversations
    return inputs


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
        recipe.pretrain.check_start(recipe.tokenizer.vocabulary)
        if _holds_nothing_out(recipe.collect):
            recipe.pretrain.check_weights(0)
        packing = {**documents, "tokenizer": "tokenizer"}
        stages.append(Stage("tokens", "pretrain", PACK, recipe.pretrain.packing(), packing))
        inputs = {"tokens": "tokens", "tokenizer": "tokenizer", "held_out": "held_out"}
        stages.append(Stage("base", "pretrain", PRETRAIN, recipe.pretrain, inputs))
    return stages


def _holds_nothing_out(collect: CollectSection) -> bool:
    # Of files only their records tell: each may have a split of its own.
    functions = collect.held_out_functions if "function" in collect.kinds else 0
    return collect.source != "files" and not (functions or collect.held_out_fraction)


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
    if section.paths and recipe.finetune is not None and recipe.finetune.paths:
        inputs["conversations"] = "conversations"  # of which some are held out
    if section.reminders:
        inputs["learnt"] = "conversations"
    return [
        Stage("preferences", "align", PREFERENCES, section, inputs),
        Stage(
            "aligned", "align", ALIGN, recipe.align, {"preferences": "preferences", "sft": "sft"}
        ),
    ]


def curation_of(recipe: Recipe) -> CurateSection:
    """Its curation, which lets no copy of what the recipe holds out into training, unless other
    corpora are named."""
    own = [] if _holds_nothing_out(recipe.collect) else ["held_out"]
    return recipe.curate.decontaminated_against(own)


def _held_out_inputs(section: CurateSection) -> dict[str, str]:
    if section.decontaminate is None:
        return {}
    known = {HELD_OUT_FUNCTIONS: "held_out", "held_out": "held_out"}  # of any kind of document
    against = section.decontaminate.against or []
    for name in against:
        if name not in known:
            raise RecipeError(
                f"no held-out corpus '{name}'",
                "curate.decontaminate.against",
                did_you_mean(name, known),
            )
    return {name: known[name] for name in against}


def _require(holds: bool, section: str, what: str) -> None:
    if not holds:
        raise RecipeError(f"needs {what}", section, f"Or set `{section}: off`.")


def _used(stages: list[Stage], ends: set[str]) -> list[Stage]:
    """The stages that end something or feed one that does: a run makes no idle artifact."""
    used: list[Stage] = []
    read: set[str] = set()
    for stage in reversed(stages):
        if stage.name in ends | read:
            used.append(stage)
            read |= set(stage.inputs.values())
    return used[::-1]
