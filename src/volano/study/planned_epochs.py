"""How often a planned pre-training would read its text over, where that is packed already."""

from collections.abc import Mapping, Sequence

from volano.core.errors import StoreError
from volano.core.store import Store
from volano.pretrain.section import PretrainSection
from volano.study.recipe import Recipe
from volano.study.wheel import Stage
from volano.text.stream import TokenShards, TokenStream


def planned_epochs(
    stage: Stage, stages: Sequence[Stage], recipe: Recipe, store: Store
) -> Mapping[str, float]:
    """Kind → epochs, of the tokens of that name that the store holds; empty where it has none that
    were packed with these settings, and for a stage that is no pre-training.

    Raises DataError where the run could not read them as its mixture or curriculum says.
    """
    section = stage.section
    packing = [each for each in stages if each.name == stage.inputs.get("tokens")]
    if not isinstance(section, PretrainSection) or not packing:
        return {}
    try:
        tokens = store.find(f"{recipe.name}/{packing[0].name}")
    except StoreError:
        return {}
    identity = tokens.meta["identity"]
    wanted = (packing[0].section.identity(), packing[0].step.version)
    if (identity["settings"], identity["version"]) != wanted:
        return {}
    stream = TokenStream(
        TokenShards(tokens.folder),
        steps=section.steps,
        batch_rows=section.batch_rows,
        seed=recipe.seed,
        mixture=section.mixture,
        curriculum=section.reading(),
    )
    return stream.epochs()
