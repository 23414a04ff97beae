"""Which engine a recipe's shards run on. Adapters are named here, and nowhere below."""

from volano.core.engine import Engine, LocalEngine
from volano.study.recipe import Recipe


def engine_of(recipe: Recipe) -> Engine:
    """The engine of a recipe's section `engine`."""
    if recipe.engine.kind == "local":
        return LocalEngine(recipe.workers)
    from volano.adapters.ray import RayEngine

    return RayEngine(recipe.engine.address, recipe.workers)
