import re
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, model_validator

from volano.core.errors import DataError, RecipeError
from volano.core.recipe import (
    Count,
    Runtime,
    Section,
    Switch,
    keys_of,
    load_yaml,
    override,
    require_file,
)


class MinHash(Section):
    bands: int = Field(default=14, ge=1, description="Bands of the signature.")
    rows: int = Field(description="Rows per band.", default=8)


class Rule(Section):
    name: str = Field(description="The rule's name.")
    threshold: float = Field(default=0.5, le=1, description="Above it a document is dropped.")


class Curate(Section):
    min_score: float = Field(default=0.5, ge=0, le=1, description="Lowest score, from 0 to 1.")
    keep: list[str] = Field(default=["en"], description="Languages, as ISO 639-1 codes.")
    rules: list[Rule] = Field(default=[], description="Rules in their order.")
    by_name: dict[str, Rule] = Field(default={}, description="Rules by name.")
    packages: Literal["own"] | list[str] = Field(default="own", description="Which packages.")
    minhash: MinHash | None = Field(default=MinHash(), description="Near duplicates; or off.")
    exact: Switch = Field(default=True, description="Drop exact copies.")
    documents: Count = Field(default=0, ge=0, description="How many documents.")
    workers: Annotated[int, Runtime] = Field(default=0, description="Worker threads.")

    @model_validator(mode="after")
    def _no_both(self):
        if not self.exact and self.minhash is None:
            raise ValueError("one of exact and minhash must be on")
        return self


class Whole(Section):
    name: str = Field(description="The recipe's name.")
    seed: int = Field(default=1, description="Of everything random.")
    curate: Curate = Field(default=Curate(), description="What text is kept.")


def read(tmp_path, text, *assignments):
    path = tmp_path / "toy.yaml"
    path.write_text(text) if isinstance(text, str) else path.write_bytes(text)
    values, lines = load_yaml(path)
    override(values, lines, assignments)
    return Whole.read(values, path.name, lines)


GOLDEN = {
    "curat: {}": "toy.yaml:2: recipe: unknown key 'curat'. Did you mean 'curate'?",
    "curate:\n  min_scor: 1": "toy.yaml:3: curate: unknown key 'min_scor'. "
    "Did you mean 'min_score'?",
    "curate:\n  min_score: 20": "toy.yaml:3: curate.min_score: Input should be less than or equal "
    "to 1, got 20. Lowest score, from 0 to 1.",
    "curate:\n\n  min_score: low": "toy.yaml:4: curate.min_score: Input should be a valid number, "
    "got 'low'. Lowest score, from 0 to 1.",
    "seed: '1'": "toy.yaml:2: seed: Input should be a valid integer, got '1'. "
    "Of everything random.",
    "seed: true": "toy.yaml:2: seed: Input should be a valid integer, got True. "
    "Of everything random.",
    "curate:\n  minhash: {bands: 0}": "toy.yaml:3: curate.minhash.bands: Input should be greater "
    "than or equal to 1, got 0. Bands of the signature.",
    "curate:\n  minhash: {band: 3}": "toy.yaml:3: curate.minhash: unknown key 'band'. "
    "Did you mean 'bands'?",
    "curate:\n  keep:\n  - en\n  - 7": "toy.yaml:5: curate.keep[1]: Input should be a valid "
    "string, got 7. Languages, as ISO 639-1 codes.",
    "curate:\n  rules:\n  - name: a\n  - name: b\n    threshold: 2": "toy.yaml:6: "
    "curate.rules[1].threshold: Input should be less than or equal to 1, got 2. "
    "Above it a document is dropped.",
    "curate:\n  rules:\n  - threshold: 1": "toy.yaml:4: curate.rules[0].name: value missing. "
    "The rule's name.",
    "curate:\n  rules:\n  - {nam: a}": "toy.yaml:4: curate.rules[0].name: value missing. "
    "The rule's name.",
    "curate:\n  rules: none": "toy.yaml:3: curate.rules: expected a list, such as [first, second], "
    "got 'none'. Rules in their order.",
    "curate:\n  by_name: [a]": "toy.yaml:3: curate.by_name: expected names with their values, such "
    "as {name: value}, got ['a']. Rules by name.",
    "curate:\n  bands: 3": "toy.yaml:3: curate: unknown key 'bands'. "
    "Did you mean 'curate.minhash.bands'?",
    "min_score: 1": "toy.yaml:2: recipe: unknown key 'min_score'. Did you mean 'curate.min_score'?",
    "curate:\n  rules:\n  - {name: a, x: 1}": "toy.yaml:4: curate.rules[0]: unknown key 'x'. "
    "Known: name, threshold.",
    "curate:\n  by_name:\n    a: {name: a, threshold: 3}": "toy.yaml:4: "
    "curate.by_name.a.threshold: Input should be less than or equal to 1, got 3. "
    "Above it a document is dropped.",
    "curate:\n  packages: all": "toy.yaml:3: curate.packages: Input should be 'own', got 'all'. "
    "Which packages.",
    "curate:\n  exact: maybe": "toy.yaml:3: curate.exact: Input should be a valid boolean, "
    "got 'maybe'. Drop exact copies.",
    "curate:\n  documents: 4x": "toy.yaml:3: curate.documents: expected a count such as 500, 4k, "
    "1.4M or 2B, got '4x'. How many documents.",
    "curate:\n  documents: 2.5": "toy.yaml:3: curate.documents: Input should be a valid integer, "
    "got 2.5. How many documents.",
    "curate:\n  documents: .inf": "toy.yaml:3: curate.documents: Input should be a valid integer, "
    "got inf. How many documents.",
    "curate: off": "toy.yaml:2: curate: this section cannot be off. What text is kept.",
    "curate:": "toy.yaml:2: curate: this section cannot be off. What text is kept.",
    "curate: 3": "toy.yaml:2: curate: expected its settings, got 3. What text is kept.",
    "curate:\n  minhash: 1": "toy.yaml:3: curate.minhash: expected its settings, on or off, "
    "got 1. Near duplicates; or off.",
    "curate:\n  minhash: of": "toy.yaml:3: curate.minhash: expected its settings, on or off, "
    "got 'of'. Did you mean 'off'?",
    "curate: {exact: off, minhash: off}": "toy.yaml:2: curate: one of exact and minhash must be "
    "on. What text is kept.",
    "seed: 1\nseed: 2": 'toy.yaml:3: found duplicate key "seed" with value "2" '
    '(original value: "1"). Mend the YAML.',
    "curate: [1": "toy.yaml:3: expected ',' or ']', but got '<stream end>'. Mend the YAML.",
    "curate:\n\tseed: 1": "toy.yaml:3: found character '\\t' that cannot start any token. "
    "Mend the YAML.",
    "seed: *x": "toy.yaml:2: found undefined alias 'x'. Mend the YAML.",
}


@pytest.mark.parametrize("text", GOLDEN, ids=lambda text: re.sub(r"\W+", "_", text))
def test_each_mistake_is_told_with_file_line_key_and_remedy(tmp_path, text):
    with pytest.raises(RecipeError) as refused:
        read(tmp_path, f"name: toy\n{text}\n")
    assert str(refused.value) == GOLDEN[text]
    assert refused.value.__context__ is None or refused.value.__suppress_context__


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds nothing"),
        (b"# only a comment\n", "holds nothing"),
        (b"- a\n- b\n", "holds CommentedSeq"),
        (b"just text\n", "holds str"),
        (b"name: caf\xe9\n", "not UTF-8 at byte 9"),
        (b"name: a\0b\n", "unacceptable character"),
        (b"name: a\n---\nname: b\n", "but found another document"),
    ],
)
def test_a_file_that_is_no_map_of_keys_is_refused(tmp_path, content, message):
    with pytest.raises(RecipeError, match=re.escape(message)) as refused:
        read(tmp_path, content)
    assert refused.value.where.startswith(("toy.yaml", str(tmp_path)))


def test_missing_file_folder_and_file_as_folder_are_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("x")
    for path in (tmp_path / "none.yaml", tmp_path, tmp_path / "a.yaml" / "b.yaml"):
        with pytest.raises(RecipeError):
            load_yaml(path)


def test_a_byte_order_mark_merge_keys_and_anchors_are_read(tmp_path):
    text = "\ufeffname: toy\nx: &x {bands: 3}\ncurate:\n  exact: &on true\n  minhash: {<<: *x}\n"
    path = tmp_path / "toy.yaml"
    path.write_text(text)
    values, lines = load_yaml(path)
    del values["x"]
    assert values["curate"]["exact"] is True
    assert Whole.read(values, "toy.yaml", lines).curate.minhash.bands == 3


def test_overrides_reach_absent_off_and_on_sections(tmp_path):
    for section in ("", "curate: {minhash: off}", "curate: {minhash: on}", "curate: {exact: on}"):
        recipe = read(tmp_path, f"name: toy\n{section}\n", "curate.minhash.bands=3", "seed=7")
        assert (recipe.curate.minhash.bands, recipe.curate.minhash.rows) == (3, 8)
        assert recipe.seed == 7


def test_overrides_are_yaml_and_the_last_one_counts(tmp_path):
    recipe = read(
        tmp_path,
        "name: toy\n",
        "curate={exact: off}",
        "curate.keep=[de, fr]",
        "curate.documents=1.4M",
        "curate.min_score=0.1",
        "curate.min_score=1e-2",
    )
    assert recipe.curate.keep == ["de", "fr"]
    assert recipe.curate.documents == 1_400_000
    assert recipe.curate.min_score == 0.01
    assert recipe.curate.exact is False
    assert read(tmp_path, "name: toy\n", "curate.minhash=off").curate.minhash is None


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("seed", "override 'seed': not an assignment. Write it as section.key=value."),
        ("=3", "override '=3': not an assignment. Write it as section.key=value."),
        ("seed=[", "override 'seed=[': the value is not YAML. Quote it for the shell."),
        ("sed=3", "command line: recipe: unknown key 'sed'. Did you mean 'seed'?"),
        ("curate.exac=on", "command line: curate: unknown key 'exac'. Did you mean 'exact'?"),
        ("curat.exact=on", "command line: recipe: unknown key 'curat'. Did you mean 'curate'?"),
        (
            "seed.x=3",
            "command line: seed: Input should be a valid integer, got {'x': 3}. Of "
            "everything random.",
        ),
        (
            "curate.min_score=2",
            "command line: curate.min_score: Input should be less than or equal "
            "to 1, got 2. Lowest score, from 0 to 1.",
        ),
        (
            "curate={min_score: 2}",
            "command line: curate.min_score: Input should be less than or "
            "equal to 1, got 2. Lowest score, from 0 to 1.",
        ),
    ],
)
def test_a_wrong_override_is_told_to_be_from_the_command_line(tmp_path, assignment, message):
    with pytest.raises(RecipeError) as refused:
        read(tmp_path, "name: toy\nseed: 1\ncurate:\n  min_score: 0.3\n", assignment)
    assert str(refused.value) == message


@pytest.mark.parametrize("off", ["off", "false", ""])
def test_to_turn_a_section_off_and_to_set_something_of_it_is_refused(tmp_path, off):
    pair = [f"curate.minhash={off}", "curate.minhash.bands=3"]
    for assignments in (pair, pair[::-1]):
        with pytest.raises(RecipeError) as refused:
            read(tmp_path, "name: toy\n", *assignments)
        assert str(refused.value) == (
            "override 'curate.minhash.bands=3': sets something of a section that "
            f"'curate.minhash={off}' turns off. Leave one of the two out."
        )
    recipe = read(tmp_path, "name: toy\n", pair[0], "curate.minhash=on", pair[1])
    assert recipe.curate.minhash.bands == 3


def test_without_lines_the_given_place_is_named():
    with pytest.raises(RecipeError) as refused:
        Curate.read({"min_score": "x"}, "keyword arguments")
    assert str(refused.value).startswith("keyword arguments: min_score: ")


@given(st.integers(0, 99_999), st.sampled_from([("k", 3), ("M", 6), ("B", 9), ("G", 9), ("T", 12)]))
def test_a_count_with_two_decimals_is_exact(hundredths, suffix):
    letter, power = suffix
    text = f"{hundredths // 100}.{hundredths % 100:02d}{letter}"
    assert Curate.read({"documents": text}, "").documents == hundredths * 10 ** (power - 2)


@pytest.mark.parametrize(("value", "count"), [(5, 5), (1e6, 10**6), ("1_000", 1000), ("4 k", 4000)])
def test_a_count_also_reads(value, count):
    assert Curate.read({"documents": value}, "").documents == count


def test_runtime_fields_bear_no_identity_and_equal_numbers_are_one_setting():
    one = Curate.read({"min_score": 1, "workers": 3, "minhash": "on"}, "")
    two = Curate.read({"min_score": 1.0, "workers": 9, "minhash": {}}, "")
    assert one.identity() == two.identity()
    assert "workers" not in one.identity()
    assert repr(one.identity()["min_score"]) == "1"
    assert one.identity()["minhash"] == {"bands": 14, "rows": 8}
    off = Curate.read({"minhash": "off"}, "").identity()
    assert off["minhash"] is None


def test_sections_are_frozen_and_list_every_key():
    with pytest.raises(ValueError, match="frozen"):
        Curate().min_score = 0.1
    assert list(keys_of(Whole))[:4] == ["name", "seed", "curate", "curate.min_score"]
    assert "curate.minhash.bands" in set(keys_of(Whole))


def test_require_file_names_a_near_file(tmp_path):
    (tmp_path / "documents.jsonl").write_text("")
    assert require_file(tmp_path / "documents.jsonl")
    with pytest.raises(DataError, match=r"Did you mean 'documents\.jsonl'\?"):
        require_file(tmp_path / "document.jsonl")
    with pytest.raises(DataError, match="Check the path"):
        require_file(tmp_path / "no" / "x")
