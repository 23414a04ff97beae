"""Which stages a recipe asks for, and what it cannot ask for."""

import pytest

from volano.core.errors import RecipeError
from volano.study.recipe import Recipe
from volano.study.wheel import stages_of


def test_the_chat_of_a_base_is_not_set_without_one():
    chat = {"name": "one", "base_chat": "ours"}
    with pytest.raises(RecipeError, match="base_chat: is the chat of a finished base"):
        stages_of(Recipe.read(chat, "recipe.yaml"))
    with_base = {**chat, "base": "hf:models/tiny"}
    assert stages_of(Recipe.read(with_base, "recipe.yaml"))[0].name == "base"
