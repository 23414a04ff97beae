import pytest

from volano.core.errors import RecipeError
from volano.pretrain.section import ModelSection, PretrainSection


def test_depth_takes_the_place_of_parameters():
    section = ModelSection.read({"depth": 8}, "pretrain.model")
    assert section.identity() == {"parameters": None, "depth": 8, "context": 128, "tied": True}
    shape = section.shape(vocabulary=4096)
    assert (shape.layers, shape.width, shape.heads) == (8, 512, 8)


def test_neither_dial_given_is_the_documented_number_of_parameters():
    section = ModelSection.read({}, "pretrain.model")
    assert (section.parameters, section.depth) == (1_400_000, None)
    assert section.shape(vocabulary=4096).layers == 4
    assert ModelSection() == section


def test_depth_keeps_the_other_settings():
    shape = ModelSection.read({"depth": 2, "tied": "off", "context": 64}, "model").shape(300)
    assert (shape.layers, shape.width, shape.tied, shape.context) == (2, 32, False, 64)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"parameters": "2M", "depth": 4}, "both are given. Set one of them"),
        ({"parameters": None}, "neither is given. Set one of them"),
        ({"depth": 46}, "less than or equal to 45, got 46"),
        ({"depth": 0}, "greater than or equal to 1, got 0"),
    ],
)
def test_two_dials_or_none_are_refused(values, problem):
    with pytest.raises(RecipeError) as refused:
        PretrainSection.read({"model": values}, "recipe.yaml: pretrain")
    assert problem in str(refused.value)
