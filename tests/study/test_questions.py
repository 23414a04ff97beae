"""What scripted people ask of harmless requests and how they rate; that every recipe is whole."""

import json
from dataclasses import replace
from importlib.resources import files

import pytest

from volano.core.feedback import default_database
from volano.core.records import Conversation, Message
from volano.core.store import Store
from volano.study.questions import questions_of, stars_of, writes_it_down
from volano.study.recipe import load_recipe
from volano.study.run import order_of
from volano.study.section import UsersSection
from volano.study.turn import turn_stages


def prompt(n, kind, split):
    turns = (Message("user", f"{kind} request {n}"), Message("assistant", f"Do {n} like this."))
    metadata = json.dumps({"pair": f"{n}", "set": "natural"})
    return Conversation(f"{kind}{n}", turns, "s", kind, split, metadata=metadata)


SAFETY = [
    prompt(n, kind, ("train", "test")[n % 2]) for n in range(40) for kind in ("safe", "unsafe")
]


def test_harmless_requests_of_training_alone_are_asked_and_a_refusal_is_rated_down():
    section = UsersSection(functions=1, safe_requests=12, edits=1.0)
    questions = questions_of([], SAFETY, section)
    assert len(questions) == 12
    assert {each.rule for each in questions} == {"answered"}
    asked = {each.document for each in questions}
    assert asked <= {each.id for each in SAFETY if each.kind == "safe" and each.split == "train"}
    [first, *_] = questions
    assert stars_of("I can't help with that.", first) == 1
    assert stars_of("Do it like this.", first) == 5
    assert writes_it_down(first, 1, section)
    assert not writes_it_down(first, 5, section)


@pytest.mark.parametrize("name", ["tiny/python-docs", "laptop/python-docs", "laptop/over-refusal"])
def test_every_recipe_that_ships_turns_the_wheel_and_protects_all_that_the_gate_knows(name):
    recipe = load_recipe(name, [])
    assert recipe.turn is not None
    assert recipe.users is not None
    assert recipe.gate.protects == [
        "choice_pmi", "answers_end", "refusal_unsafe", "answered_safe", "bits_per_byte",
    ]  # fmt: skip
    assert (recipe.gate.accuracy_margin, recipe.gate.bits_margin) == (0.05, 0.01)
    assert (recipe.gate.finding_margin, recipe.gate.significance) == (0.1, 0.05)
    assert recipe.gate.min_items >= 200
    written = (files("volano.recipes") / f"{name}.yaml").read_text()
    for setting in ("accuracy_margin", "bits_margin", "finding_margin", "min_items"):
        assert f"{setting}: " in written, "in the recipe, and not by default"


def test_scripted_people_write_where_the_recipes_feedback_is_read(tmp_path):
    store = Store(tmp_path / "runs")
    for given, expected in (
        ([], default_database(store.folder)),
        (["feedback.database_url=other.sqlite"], "other.sqlite"),
        (["feedback.database_url=other.sqlite", "users.database_url=own.sqlite"], "own.sqlite"),
    ):
        recipe = load_recipe("tiny/python-docs", given)
        users = next(each for each in turn_stages(recipe, 2) if each.name == "users-2")
        order = order_of(replace(users, inputs={}), recipe, store, {})
        assert order.section.database_url == expected
