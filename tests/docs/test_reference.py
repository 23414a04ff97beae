"""docs/reference is what the code says."""

import importlib.util

import pytest

from volano.core.recipe import Section, section_of
from volano.study.recipe import Recipe


@pytest.fixture(scope="module")
def script(root):
    spec = importlib.util.spec_from_file_location("reference", root / "scripts/write_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fields_of(section: type[Section], path: str = ""):
    for name, field in section.model_fields.items():
        yield f"{path}{name}", field
        inner = section_of(field.annotation)
        if inner is not None:
            yield from fields_of(inner, f"{path}{name}.")


def test_reference_is_what_the_code_says(script):
    assert script.PAGE.read_text("utf-8") == script.page(), "stale: run `make docs`"


def test_every_key_is_described():
    assert [key for key, field in fields_of(Recipe) if not field.description] == []


def test_every_key_has_a_row(script):
    rows = script.page().split("\n")
    for key, _ in fields_of(Recipe):
        assert any(row.startswith(f"| `{key.rpartition('.')[2]}` |") for row in rows), key


def test_a_default_is_written_as_a_recipe_would(script):
    assert script._written(2_500_000) == "2.5M"
    assert script._written(4096) == "4096"
    assert script._written(["en", "de"]) == "[en, de]"
    assert script._written({"function": 0.9}) == "{function: 0.9}"
