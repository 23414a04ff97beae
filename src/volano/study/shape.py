"""The shape of what a recipe trains, where it can be told before anything is made."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from volano.core.artifact import Artifact
from volano.core.store import Store
from volano.model.config import DecoderConfig
from volano.model.families import read_config
from volano.pretrain.section import ImportSection
from volano.study.recipe import Recipe
from volano.study.wheel import Stage


def shape_of(
    recipe: Recipe, stages: Sequence[Stage], store: Store, given: Mapping[str, Artifact]
) -> DecoderConfig | None:
    """None where it is not known yet: that of a GGUF file is once the file is imported, and what
    the store holds of another file under the same name tells nothing of it."""
    checkpoint = given.get("base") or given.get("sft")
    if checkpoint is not None:
        return _read(checkpoint.folder)
    if recipe.base is None:
        if recipe.pretrain is None:
            return None
        return recipe.pretrain.model.shape(recipe.tokenizer.vocabulary)
    entered = ImportSection.of(recipe.base, recipe.base_chat)
    if entered.form == "hf":
        return _read(Path(entered.path).expanduser())
    imported = _imported(recipe, stages, store)
    return None if imported is None else _read(imported.folder)


def _imported(recipe: Recipe, stages: Sequence[Stage], store: Store) -> Artifact | None:
    for stage in stages:
        if isinstance(stage.section, ImportSection) and Path(stage.section.path).is_file():
            name = f"{recipe.name}/{stage.name}"
            order = store.order(stage.step, stage.section, {}, name=name, seed=recipe.seed)
            return store.existing(order)
    return None


def _read(folder: Path) -> DecoderConfig | None:
    return read_config(folder) if folder.is_dir() else None
