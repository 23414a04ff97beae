"""What a trial makes behind its base model: fine-tuning, alignment, and what they read of a model.

Arms that differ there alone share their base models, so a plan counts each base once and these
stages for every trial.
"""

from collections.abc import Mapping, Sequence
from statistics import median

from volano.core.artifact import Artifact
from volano.study.axes import Arm
from volano.study.recipe import Recipe
from volano.study.section import AblateSection
from volano.study.trial import BASE, Trial, stages_of_trial
from volano.study.wheel import Stage

Made = Mapping[str, Artifact]  # of one trial, by stage
BEFORE = ("seed", "collect", "plant", "curate", "tokenizer", "pretrain")  # what a base comes from


def stages_behind(recipe: Recipe, asked: AblateSection) -> list[Stage]:
    """The stages that read the base model or what is made of it, but those that measure."""
    stages, targets = stages_of_trial(recipe, asked)
    reached, found = {BASE}, []
    for stage in stages:
        if reached.intersection(stage.inputs.values()):
            reached.add(stage.name)
            if stage.name not in targets:
                found.append(stage)
    return found if asked.tasks else []


def seconds_behind(
    arm: Arm, asked: AblateSection, per_epoch: Mapping[str, float]
) -> dict[str, float]:
    """Stage → seconds of it in a trial of the arm, by those of one epoch of another arm."""
    return {
        stage.name: per_epoch.get(stage.name, 0.0) * _epochs(stage)
        for stage in stages_behind(arm.recipe, asked)
    }


def billed_per_epoch(
    trials: Sequence[tuple[Trial, Made]], asked: AblateSection
) -> dict[str, float]:
    """Stage → seconds of one epoch, the median of the trials that have it."""
    found: dict[str, list[float]] = {}
    for trial, made in trials:
        for stage in stages_behind(trial.recipe, asked):
            if stage.name in made:
                seconds = float(made[stage.name].bill()["seconds"])
                found.setdefault(stage.name, []).append(seconds / _epochs(stage))
    return {name: median(each) for name, each in found.items()}


def base_key(trial: Trial) -> str:
    """The same for trials that share a base model; known before any of it is made."""
    return trial.recipe.model_dump_json(include=set(BEFORE))


def _epochs(stage: Stage) -> float:
    return float(getattr(stage.section, "epochs", 1.0))
