"""Run the stages of a recipe: each is reused where it exists and made where it does not."""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path

from volano.collect.section import CollectSection
from volano.collect.sources import is_elsewhere
from volano.core.artifact import Artifact
from volano.core.errors import DataError, RecipeError, StoreError, did_you_mean
from volano.core.feedback import default_database
from volano.core.store import Order, Store
from volano.pretrain.section import ImportSection, PretrainSection
from volano.study.earlier_corpora import earlier_corpora
from volano.study.engines import engine_of
from volano.study.recipe import Recipe
from volano.study.room import check_memory
from volano.study.shape import shape_of
from volano.study.wheel import Stage, stages_of
from volano.train.parallel_plan import check_shape, plan_of, started_processes
from volano.train.section import AdaptedSection, TrainSection


@dataclass(frozen=True)
class Outcome:
    """What became of one stage."""

    stage: Stage
    artifact: Artifact
    reused: bool
    seconds: float


def run(
    recipe: Recipe,
    store: Store,
    *,
    only: str | None = None,
    stages: list[Stage] | None = None,
    given: Mapping[str, Artifact] | None = None,
    targets: Iterable[str] | None = None,
    silent: bool = False,
    report: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Make every stage of the recipe, in order, and report each as it ends.

    `only` names a phase: its stages are made and all others must exist. `given` puts an artifact
    in the place of a stage; `targets` makes only those stages and what they need. `stages` are
    those of the first version unless others are given.
    """
    stages = stages_of(recipe) if stages is None else stages
    if only is not None:
        check_phase(only, stages)
    present = dict(given or {})
    stages = needed(stages, present, targets, only)
    return _made(stages, recipe, store, present, only=only, silent=silent, report=report)


def check_all(
    stages: Sequence[Stage],
    recipe: Recipe,
    store: Store,
    given: Mapping[str, Artifact],
    *,
    only: str | None = None,
) -> None:
    """Raise what can be known before any of the stages is made: processes, devices, inputs,
    context and memory."""
    check_parallel(stages, recipe)
    check_device([each for each in stages if only in {None, each.phase}], recipe)
    _require_inputs(stages, recipe)
    check_context(stages, recipe, store, given, only=only)
    check_memory(stages, recipe, store, given, only=only)


def check_parallel(stages: Iterable[Stage], recipe: Recipe, started: int | None = None) -> None:
    """Raise RecipeError where a stage cannot be shared by as many processes as it asks for, or as
    were started: before any is made."""
    started = started_processes() if started is None else started
    for stage in stages:
        if isinstance(stage.section, TrainSection):
            plan = plan_of(stage.section, started=started)
            splits = plan.tensor > 1 or plan.pipeline > 1
            if splits and isinstance(stage.section, PretrainSection):
                check_shape(plan, stage.section.model.shape(recipe.tokenizer.vocabulary))


def check_device(stages: Iterable[Stage], recipe: Recipe) -> None:
    """Raise RecipeError where a stage asks for CUDA that is not there, or for more devices than
    there are: before any is made."""
    computing = [each for each in stages if each.step.on_device]
    plans = [
        plan_of(each.section, started=started_processes())
        for each in computing
        if isinstance(each.section, TrainSection)
    ]
    here = max((each.processes for each in plans), default=1)
    if started_processes():
        here = min(here, int(os.environ.get("LOCAL_WORLD_SIZE", here)))
    if computing and (recipe.device == "cuda" or here > 1):
        from volano.model.device import require_devices  # torch, which other stages do without

        require_devices(recipe.device, here)


def check_context(
    stages: Sequence[Stage],
    recipe: Recipe,
    store: Store,
    given: Mapping[str, Artifact],
    *,
    only: str | None = None,
) -> None:
    """Raise RecipeError where a stage asks for longer rows than the model reads, which it goes on
    from: before any is made, where the model's shape can be told."""
    wanted = [each for each in stages if only in {None, each.phase}]
    asking = [each for each in wanted if isinstance(each.section, AdaptedSection)]
    shape = shape_of(recipe, stages, store, given) if asking else None
    for stage in asking:
        if shape is None or not isinstance(stage.section, AdaptedSection):
            continue
        try:
            stage.section.context_of(shape.context)
        except RecipeError as problem:
            where = f"{stage.phase}: {problem.where}"
            raise RecipeError(problem.what, where, problem.remedy) from None


def check_phase(phase: str, stages: Sequence[Stage]) -> None:
    """Raise RecipeError where none of the stages belongs to it."""
    known = dict.fromkeys(each.phase for each in stages)
    if phase not in known:
        raise RecipeError(
            f"no phase '{phase}' in this recipe", "--only", did_you_mean(phase, known)
        )


def run_stages(
    stages: list[Stage],
    recipe: Recipe,
    store: Store,
    *,
    given: Mapping[str, Artifact] | None = None,
    silent: bool = False,
    report: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Make these stages, in order; `given` has the artifacts of others that they read."""
    present = dict(given or {})
    return _made(stages, recipe, store, present, only=None, silent=silent, report=report)


def missing_input(stage: Stage, recipe: Recipe) -> DataError | None:
    """What the stage reads and is not there, where the recipe knows how it is had."""
    section = stage.section
    if isinstance(section, ImportSection) and recipe.about.base_from:
        if not Path(section.path).exists():
            return DataError("no such file", f"base: {section.path}", recipe.about.base_from)
    elif isinstance(section, CollectSection) and recipe.about.texts_from:
        for path in section.paths:
            if not (is_elsewhere(path) or has_magic(path) or Path(path).expanduser().exists()):
                what = "no such file or folder"
                return DataError(what, f"collect.paths: {path}", recipe.about.texts_from)
    return None


def _require_inputs(stages: Sequence[Stage], recipe: Recipe) -> None:
    # Before anything is made, and with what the recipe knows: a run would end here minutes later.
    for stage in stages:
        missing = missing_input(stage, recipe)
        if missing is not None:
            raise missing


def _made(
    stages: list[Stage],
    recipe: Recipe,
    store: Store,
    present: dict[str, Artifact],
    *,
    only: str | None,
    silent: bool,
    report: Callable[[Outcome], None],
) -> list[Outcome]:
    check_all(stages, recipe, store, present, only=only)
    outcomes = []
    for stage in stages:
        begun = time.monotonic()
        order = order_of(stage, recipe, store, present)
        if only is not None and stage.phase != only:
            found = store.existing(order)
            if found is None:
                raise StoreError(
                    f"stage '{stage.name}' is not in the store",
                    f"--only {only}",
                    f"Run without --only, or with --only {stage.phase} first.",
                )
            present[stage.name] = found
            continue
        made = store.make(
            order,
            workers=recipe.workers,
            silent=silent,
            engine=engine_of(recipe),
            device=recipe.device,
        )
        present[stage.name] = made.artifact
        _check_best_weights(stages, stage, made.artifact)
        outcome = Outcome(stage, made.artifact, made.reused, time.monotonic() - begun)
        outcomes.append(outcome)
        report(outcome)
    return outcomes


def _check_best_weights(stages: list[Stage], stage: Stage, made: Artifact) -> None:
    # Before tokenizer and packing, which may take long.
    for later in stages:
        if (
            isinstance(later.section, PretrainSection)
            and later.inputs.get("held_out") == stage.name
        ):
            later.section.check_weights(int(made.corpus().manifest["records"]))


def order_of(stage: Stage, recipe: Recipe, store: Store, present: Mapping[str, Artifact]) -> Order:
    """The stage as an order of the store, its inputs taken from what is present."""
    inputs = {name: present[source] for name, source in stage.inputs.items()}
    section = stage.section
    if "database_url" in type(section).model_fields and not getattr(section, "database_url", ""):
        url = recipe.feedback.database_url or default_database(store.folder)
        section = section.model_copy(update={"database_url": url})
    name = f"{recipe.name}/{stage.name}"
    return store.order(
        stage.step,
        section,
        inputs | earlier_corpora(section, store, name),
        name=name,
        seed=recipe.seed,
    )


def needed(
    stages: list[Stage],
    given: Mapping[str, Artifact],
    targets: Iterable[str] | None,
    only: str | None,
) -> list[Stage]:
    """The stages that the targets (or the phase) rest on, without those that are given."""
    by_name = {each.name: each for each in stages}
    if targets is not None:
        stack = list(targets)
    elif only is not None:
        stack = [each.name for each in stages if each.phase == only]
    else:
        stack = list(by_name)
    wanted: set[str] = set()
    while stack:
        name = stack.pop()
        if name in wanted or name in given:
            continue
        wanted.add(name)
        stack.extend(by_name[name].inputs.values())
    return [each for each in stages if each.name in wanted]
