"""A whole recipe: the first version and, where the recipe has one, the second turn.

Everything of the turn is imported only for a recipe that has one: the others run without the
packages that serve and keep feedback.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from volano.core.store import Store
from volano.study.recipe import Recipe
from volano.study.run import Outcome, run
from volano.study.serving import require_extra
from volano.study.wheel import Stage, stages_of

if TYPE_CHECKING:
    from volano.study.turn import Turned

SECOND = 2


def run_whole(
    recipe: Recipe,
    store: Store,
    *,
    silent: bool = False,
    report: Callable[[Outcome], None] = lambda outcome: None,
) -> tuple[list[Outcome], "Turned | None"]:
    """Make everything that the recipe says; every outcome, and what the turn came to.

    Where a recipe has a turn and nobody has said anything so far, the turn waits.
    """
    if recipe.turn is None:
        return run(recipe, store, silent=silent, report=report), None
    require_extra()  # before hours of training, and not after them
    from volano.study.turn import first_version, is_heard, turn

    if recipe.users is None and not is_heard(recipe, store):
        turned = first_version(recipe, store, silent=silent, report=report)
        turned.notes.append(
            "The turn waits for feedback: serve this version (volano serve "
            f"@{recipe.turn.release}) and rate its answers, or import logs (volano feedback "
            "import); then run again."
        )
    else:
        turned = turn(recipe, store, version=SECOND, silent=silent, report=report)
    return turned.outcomes, turned


def run_only(
    recipe: Recipe,
    store: Store,
    phase: str,
    *,
    silent: bool = False,
    report: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """One phase: its stages of the first version, or, where that has none, those of the turn."""
    stages = stages_with(phase, recipe, store)
    return run(recipe, store, only=phase, stages=stages, silent=silent, report=report)


def stages_with(phase: str, recipe: Recipe, store: Store) -> list[Stage]:
    """The stages of the first version, or where it has none of this phase, those of both."""
    first = stages_of(recipe)
    return first if phase in {each.phase for each in first} else whole_stages(recipe, store)


def whole_stages(recipe: Recipe, store: Store) -> list[Stage]:
    """Every stage that `run_whole` may make; the last one only if the gate lets it."""
    if recipe.turn is None:
        return stages_of(recipe)
    require_extra()
    from volano.study.turn import first_stages, is_heard, release_stage, turn_stages

    if recipe.users is None and not is_heard(recipe, store):
        return first_stages(recipe)
    return [*first_stages(recipe), *turn_stages(recipe, SECOND), release_stage(SECOND)]
