"""Which stages a recipe asks for, and what it cannot ask for."""

import json

import pytest

from volano.core.errors import RecipeError
from volano.core.store import Store
from volano.study.recipe import Recipe
from volano.study.run import run
from volano.study.turn import first_stages, turn_stages
from volano.study.wheel import stages_of


def test_the_chat_of_a_base_is_not_set_without_one():
    chat = {"name": "one", "base_chat": "ours"}
    with pytest.raises(RecipeError, match="base_chat: is the chat of a finished base"):
        stages_of(Recipe.read(chat, "recipe.yaml"))
    with_base = {**chat, "base": "hf:models/tiny"}
    assert stages_of(Recipe.read(with_base, "recipe.yaml"))[0].name == "base"


def test_alignment_is_reminded_of_what_each_version_was_fine_tuned_on():
    values = {"name": "one", "align": {"reminders": 0.2}}
    recipe = Recipe.read(values, "recipe.yaml")
    made = {each.name: each for each in [*first_stages(recipe), *turn_stages(recipe, 2)]}
    assert made["preferences"].inputs["learnt"] == "conversations"
    assert made["preferences-2"].inputs["learnt"] == "conversations-2"
    without = Recipe.read({"name": "one", "align": {}}, "recipe.yaml")
    made = {each.name: each for each in [*first_stages(without), *turn_stages(without, 2)]}
    assert all("learnt" not in made[each].inputs for each in ("preferences", "preferences-2"))


BEST = {"weights": "best", "evaluate_steps": 9}


def test_best_weights_are_refused_where_the_recipe_says_that_nothing_is_held_out():
    for collect in ({"held_out_functions": 0}, {"kinds": ["topic"]}):
        recipe = Recipe.read({"name": "one", "collect": collect, "pretrain": BEST}, "recipe.yaml")
        with pytest.raises(RecipeError, match=r"pretrain\.weights: nothing is held out"):
            stages_of(recipe)
    assert stages_of(Recipe.read({"name": "one", "pretrain": BEST}, "recipe.yaml"))


def test_best_weights_are_refused_as_soon_as_the_texts_are_read_and_none_is_held_out(tmp_path):
    line = {"text": "One short text of a user's own. " * 4}
    (tmp_path / "texts.jsonl").write_text(json.dumps(line))
    collect = {"source": "files", "paths": [str(tmp_path / "texts.jsonl")]}
    plain = {"finetune": False, "align": False, "evaluate": False, "pretrain": BEST}
    recipe = Recipe.read({"name": "one", "collect": collect, **plain}, "recipe.yaml")
    made = []
    with pytest.raises(RecipeError, match=r"pretrain\.weights: nothing is held out"):
        run(recipe, Store(tmp_path / "runs"), targets=["base"], silent=True, report=made.append)
    assert [each.stage.name for each in made] == ["collected"]
