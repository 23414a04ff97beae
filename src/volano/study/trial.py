"""One trial of an ablation: an arm of the recipe with one seed, made and measured.

Its stages are those of the recipe, and one for each metric, so that a trial goes through the store
as any run does: what is there is reused, and what was stopped goes on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from volano.collect.step import COLLECT
from volano.core.artifact import Artifact
from volano.core.errors import VolanoError
from volano.core.files import json_digest
from volano.core.store import Order, Store
from volano.evaluate.section import EvaluateSection
from volano.evaluate.step import DOMAINS, LEAKS, MEMORISATION
from volano.study.axes import Arm
from volano.study.common_held_out import COMMON, HELD_OUT
from volano.study.continued import CONTINUED
from volano.study.recipe import Recipe
from volano.study.run import check_all, needed, order_of, run
from volano.study.section import AblateSection
from volano.study.wheel import Stage, documents_stage, stages_of
from volano.train.interruption import Stopped

BASE, REFERENCE, REPORT = "base", "reference", "report"
DATA = ("tokens", "tokenizer", HELD_OUT, "conversations", REFERENCE)
WITHOUT_ITEMS = "efficiency"  # a task whose figures are of the machine, not of the model


class Trial(NamedTuple):
    """One arm with one seed. `recipe` has both; `share` is of the arm's tokens."""

    arm: Arm
    seed: int
    recipe: Recipe
    share: float = 1.0

    @property
    def label(self) -> str:
        """What messages call it."""
        part = f"{self.share:g} of the tokens" if self.share < 1 else ""
        return ", ".join(filter(None, [self.arm.label, part, f"seed {self.seed}"]))


class Tried(NamedTuple):
    """What became of a trial: its base model and measurements, and why there are none or not
    all."""

    trial: Trial
    base: Artifact | None
    measured: dict[str, Artifact]
    failure: str = ""
    reused: bool = False


class Found(NamedTuple):
    """Of a trial: artifacts by stage, stages that are to be made, and the order of its base model,
    where what that is trained on is there."""

    present: dict[str, Artifact]
    missing: list[str]
    base: Order | None


def trial_of(arm: Arm, seed: int, name: str, asked: AblateSection, share: float = 1.0) -> Trial:
    """The arm's recipe with a seed; evaluated where tasks are asked for, and by those alone."""
    # By another name, so that NAME/base stands for a model of all tokens.
    label = name if share == 1 else f"{name}-{share:g}"
    changed: dict[str, object] = {"seed": seed, "name": label, "evaluate": None}
    if asked.tasks:
        evaluate = arm.recipe.evaluate or EvaluateSection()
        changed["evaluate"] = evaluate.model_copy(update={"tasks": list(asked.tasks)})
    return Trial(arm, seed, arm.recipe.model_copy(update=changed), share)


def stages_of_trial(
    recipe: Recipe, asked: AblateSection, *, common: bool = False
) -> tuple[list[Stage], list[str]]:
    """The stages of a trial in the order of making, and the names of those that measure. `common`:
    what arms are measured on is not what each holds out (study/common_held_out.py)."""
    stages = stages_of(recipe)
    base = {BASE: BASE}
    held_out = {HELD_OUT: HELD_OUT}
    documents = {"documents": documents_stage(recipe)}
    measuring = []
    if "bits_per_byte" in asked.metrics:
        corpora = dict(held_out)
        if asked.reference is not None:
            stages.append(Stage(REFERENCE, "collect", COLLECT, asked.reference, {}))
            corpora[REFERENCE] = REFERENCE
        section = asked.bits_per_byte
        measuring.append(Stage("domains", "evaluate", DOMAINS, section, base | corpora))
    if "memorisation" in asked.metrics:
        said = base | documents | {"curated": "curated"}
        measuring.append(Stage("memorisation", "evaluate", MEMORISATION, asked.memorisation, said))
    if "leaks" in asked.metrics:
        measuring.append(Stage("leaks", "evaluate", LEAKS, asked.leaks, base | documents))
    if "toxicity" in asked.metrics:
        section_of_speech = asked.toxicity
        measuring.append(
            Stage("toxicity", "evaluate", CONTINUED, section_of_speech, base | held_out)
        )
    names = [each.name for each in measuring]
    if asked.tasks:
        names.append(REPORT)
    whole = [*stages, *measuring]
    if common:
        whole = [_measured_on_common(each) if each.name in names else each for each in whole]
    return whole, names


def _measured_on_common(stage: Stage) -> Stage:
    inputs = {name: COMMON if of == HELD_OUT else of for name, of in stage.inputs.items()}
    return replace(stage, inputs=inputs)


def data_of(
    trial: Trial, store: Store, asked: AblateSection, silent: bool, only: Sequence[str] = ()
) -> dict[str, Artifact]:
    """What all trials of the arm read, by stage, or `only` some of it: made where it is not
    there."""
    stages, targets = stages_of_trial(trial.recipe, asked)
    wanted = {each.name for each in needed(stages, {}, targets, None)}
    data = only or (DATA if trial.arm.trains_base else (*DATA, BASE))
    outcomes = run(
        trial.recipe,
        store,
        stages=stages,
        targets=[each for each in data if each in wanted],
        silent=silent,
    )
    return {each.stage.name: each.artifact for each in outcomes}


def data_stages(trial: Trial, asked: AblateSection) -> list[str]:
    """Every stage before the models, in the order of making."""
    stages, targets = stages_of_trial(trial.recipe, asked)
    wanted = {each.name for each in needed(stages, {}, targets, None)}
    return [
        each.name for each in needed(stages, {}, [name for name in DATA if name in wanted], None)
    ]


def content_of(
    trial: Trial, store: Store, asked: AblateSection, present: dict[str, Artifact]
) -> str:
    """What decides the measurements of a trial, the data that are present given by content."""
    stages, targets = stages_of_trial(trial.recipe, asked, common=COMMON in present)
    known = {name: each.digest for name, each in present.items()}
    for stage in needed(stages, present, targets, None):
        order = store.order(stage.step, stage.section, {}, name=stage.name, seed=trial.seed)
        parents = {name: known[source] for name, source in stage.inputs.items()}
        known[stage.name] = json_digest(order.identity() | {"parents": parents})
    return json_digest([known[each] for each in targets])


def try_out(
    trial: Trial, store: Store, asked: AblateSection, data: Mapping[str, Artifact]
) -> Tried:
    """Train the models of a trial and measure them, on the data of its arm. Where something cannot
    be measured, or a later model not be trained, that is its failure and the rest is there. Raises
    VolanoError where nothing is."""
    stages, targets = stages_of_trial(trial.recipe, asked, common=COMMON in data)
    check_all(needed(stages, data, targets, None), trial.recipe, store, data)
    present, reused = dict(data), True
    failures: list[VolanoError] = []
    for target in targets:
        try:
            outcomes = run(
                trial.recipe, store, stages=stages, given=present, targets=[target], silent=True
            )
        except Stopped:
            raise
        except VolanoError as problem:
            if BASE not in found_of(trial, store, asked, data).present:
                raise
            failures.append(problem)
            continue
        present |= {each.stage.name: each.artifact for each in outcomes}
        trained = [each.reused for each in outcomes if each.artifact.kind == "checkpoint"]
        reused = reused and all(trained)
    measured = {each: present[each] for each in targets if each in present}
    if not measured:
        raise failures[0]
    told = "; ".join(dict.fromkeys(map(str, failures)))
    return Tried(trial, present.get(BASE), measured, told, reused and not failures)


def found_of(
    trial: Trial, store: Store, asked: AblateSection, data: Mapping[str, Artifact] | None = None
) -> Found:
    """What is in the store of a trial, as far as it goes, with the data of its arm, if they are
    known. Nothing is made."""
    present = dict(data or {})
    stages, targets = stages_of_trial(trial.recipe, asked, common=COMMON in present)
    missing, base = [], None
    for stage in needed(stages, present, targets, None):
        found = None
        if all(each in present for each in stage.inputs.values()):
            order = order_of(stage, trial.recipe, store, present)
            found = store.existing(order)
            if stage.name == BASE:
                base = order
        if found is None:
            missing.append(stage.name)
        else:
            present[stage.name] = found
    return Found(present, missing, base)
