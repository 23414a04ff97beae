"""Which arms an ablation has, and what is refused before any is made."""

import pytest

from volano.core.errors import RecipeError
from volano.study.ablation import plan_ablation
from volano.study.axes import Axis, _short, arms_of, read_axes, split_values
from volano.study.recipe import load_recipe, shipped_recipes

TINY = "tiny/python-docs"


def test_on_keeps_what_the_recipe_sets_and_off_removes_it():
    on, off = arms_of("laptop/python-docs", ["curate.dedup.minhash=on,off"])
    kept = load_recipe("laptop/python-docs").curate.dedup.minhash
    assert on.recipe.curate.dedup.minhash == kept
    assert off.recipe.curate.dedup.minhash is None
    assert (on.name, off.name) == ("minhash=on", "minhash=off")
    assert on.recipe.turn is None


def test_on_keeps_settings_that_are_no_defaults(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\ncurate: {language: {keep: [de]}, dedup: off}\n")
    on, off = arms_of(str(path), ["curate.language=on,off"])
    assert on.recipe.curate.language.keep == ["de"]
    assert off.recipe.curate.language is None
    again, without = arms_of(str(path), ["curate.dedup=on,off"])
    assert again.recipe.curate.dedup is not None
    assert without.recipe.curate.dedup is None


def test_settings_of_a_section_count_in_the_arms_that_have_it():
    off, on = arms_of(TINY, ["align=off,on", "align.learning_rate=1e-5"])
    assert off.recipe.align is None
    assert on.recipe.align.learning_rate == 1e-5
    with pytest.raises(RecipeError, match="'align=off' turns off"):
        arms_of(TINY, ["pretrain.tokens=50k,60k", "align=off", "align.learning_rate=1e-5"])
    with pytest.raises(RecipeError, match="learning_rat"):
        arms_of(TINY, ["align=off,on", "align.learning_rat=1e-5"])


def test_a_section_that_an_axis_turns_on_keeps_what_is_set_inside_it(tmp_path):
    off, on = arms_of(TINY, ["curate.pii=off,on", "curate.pii.action=redact"])
    assert (off.recipe.curate.pii, on.recipe.curate.pii.action) == (None, "redact")
    off, on = arms_of(TINY, ["plant.canaries=5", "plant=off,on"])
    assert (off.recipe.plant, on.recipe.plant.canaries) == (None, 5)
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nablate: {arms: {a: [], b: curate.quality=off}}\n")
    one, other = arms_of(str(path), ["curate.quality.gopher_quality.min_words=5"])
    assert one.recipe.curate.quality.gopher_quality.min_words == 5
    assert other.recipe.curate.quality is None


def test_a_depth_takes_the_place_of_a_number_of_parameters_and_the_reverse():
    arms = arms_of(TINY, ["pretrain.model.depth=2,3"])
    assert [each.recipe.pretrain.model.parameters for each in arms] == [None, None]
    assert arms[0].shape.layers < arms[1].shape.layers
    shipped = arms_of("laptop/ablate-mixture", ["pretrain.model.depth=1,2"])
    assert {each.size for each in shipped} == {"depth 1", "depth 2"}


def test_of_one_key_the_last_counts():
    arms = arms_of(TINY, ["pretrain.tokens=30k", "pretrain.tokens=20k,50k"])
    assert [each.section.tokens for each in arms] == [20_000, 50_000]
    axes = ["curate.dedup=on,off", "pretrain.tokens=20k,50k", "pretrain.tokens=30k"]
    assert {each.section.tokens for each in arms_of(TINY, axes)} == {30_000}


def test_sizes_are_asked_about_whatever_else_holds_for_all():
    arms = arms_of(TINY, ["pretrain.tokens=50k,60k", "curate.quality.rules=[gopher_repetition]"])
    assert {tuple(each.recipe.curate.quality.rules) for each in arms} == {("gopher_repetition",)}


def test_the_question_of_a_recipe_is_about_its_own_arms():
    question = "ablate.question=Why?"
    asked = ["plant.shuffled=0,1", "curate.dedup=off"]
    name = "laptop/ablate-duplicates"
    assert "duplicates" in arms_of(name, [])[0].recipe.ablate.question
    assert "duplicates" in arms_of(name, ["pretrain.tokens=1M,2M"])[0].recipe.ablate.question
    assert arms_of(name, asked)[0].recipe.ablate.question == ""
    assert arms_of(name, [*asked, question])[0].recipe.ablate.question == "Why?"
    others = ["ablate.arms={x: [], y: plant.shuffled=1}", "ablate.axes=[]"]
    assert arms_of(name, others)[0].recipe.ablate.question == ""
    assert arms_of(name, [*others, question])[0].recipe.ablate.question == "Why?"
    answered = ["curate.dedup=on", "pretrain.tokens=1M,2M"]
    assert arms_of(name, answered)[0].recipe.ablate.question == ""


@pytest.mark.parametrize(
    "name", [each for each in shipped_recipes() if each.startswith("laptop/ablate-")]
)
def test_every_question_that_ships_has_arms_that_differ(name):
    ablation = plan_ablation(arms_of(name, []))
    assert len({each.name for each in ablation.arms}) >= 2
    held_out = [each.recipe.curate.decontaminate.against for each in ablation.arms]
    assert held_out == [["held_out"]] * len(ablation.arms)


def test_the_grid_has_every_combination_and_the_first_values_first():
    arms = arms_of(TINY, [
        "curate.quality.rules=[],[gopher_quality],[gopher_quality, fineweb]",
        "pretrain.model.parameters=0.2M,0.3M",
        "pretrain.tokens=50k",
    ])  # fmt: skip
    assert [(each.name, each.size) for each in arms] == [
        ("rules=[]", "0.2M parameters"),
        ("rules=[]", "0.3M parameters"),
        ("rules=[gopher_quality]", "0.2M parameters"),
        ("rules=[gopher_quality]", "0.3M parameters"),
        ("rules=[gopher_quality, fineweb]", "0.2M parameters"),
        ("rules=[gopher_quality, fineweb]", "0.3M parameters"),
    ]
    assert {each.recipe.pretrain.tokens for each in arms} == {50_000}
    assert arms[0].recipe.curate.quality.rules == []
    # The bounds of the recipe hold where their rule judges, and fall away where it does not.
    assert arms[2].recipe.curate.quality.gopher_quality.min_words == 8


def test_bounds_that_somebody_sets_are_not_dropped():
    with pytest.raises(RecipeError, match="has no effect"):
        arms_of(TINY, [
            "curate.quality.rules=[],[gopher_quality]",
            "curate.quality.gopher_quality.min_words=9",
        ])  # fmt: skip


def test_sizes_alone_are_arms():
    arms = arms_of(TINY, ["pretrain.model.parameters=0.2M,0.3M"])
    assert [(each.name, each.size) for each in arms] == [
        ("parameters=0.2M", ""), ("parameters=0.3M", ""),
    ]  # fmt: skip


def test_keys_with_the_same_end_are_told_apart():
    asked = ["pretrain.model.context=64,128", "tokenizer.sample_bytes=1M,2M"]
    assert arms_of(TINY, asked)[1].name == "context=64, sample_bytes=2M"
    asked = ["pretrain.learning_rate=0.1,0.2", "pretrain.head_learning_rate=0.1,0.2"]
    assert arms_of(TINY, asked)[1].name == "learning_rate=0.1, head_learning_rate=0.2"
    axes = [Axis("a.b.tokens", ("1", "2")), Axis("a.c.tokens", ("1", "2")), Axis("d.e", ("1", "2"))]
    assert [_short(each.key, axes) for each in axes] == ["a.b.tokens", "a.c.tokens", "e"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["curate.dedup.minhsh=on,off"], "Did you mean 'minhash'"),
        (["curate.dedup.minhash=on"], "one arm only"),
        ([], "one arm only"),
        (["pretrain.tokens=1M,1M"], "'1M' stands there twice"),
        (["pretrain.tokens=1M,"], "a value is missing"),
        (["pretrain.tokens=1M,2M", "pretrain.tokens=3M,4M"], "two axes of one key"),
        (["plant.shuffled=0,1", "plant.shuffled=0.5"], "one arm only"),
        (["curate.quality.rules=[a,b"], "not closed"),
        (["pretrain.tokens"], "no axis"),
        (["evaluate.answers=10,20"], "do not read it"),
        (["ablate.seeds=2,3"], "do not read it"),
        (["pretrain.tokens=1M,many"], "expected a count"),
        (["curate.quality.rules=1,2"], "curate.quality.rules: "),
        (["curate.quality.rules=null,[fineweb]"], "curate.quality.rules: "),
        (["curate.quality.rules=[{a: 1}],[fineweb]"], "curate.quality.rules"),
        (["curate.dedup=on,off", "ablate.arms={a: [], b: curate.pii=off}"], "takes their place"),
        (["curate.dedup=on,off", "ablate.axes=[seed=7]"], "takes their place"),
    ],
)
def test_what_cannot_be_an_axis_is_refused(asked, said):
    with pytest.raises(RecipeError, match="(?s)" + said.replace("[", r"\[")):
        arms_of(TINY, asked)


def test_commas_inside_brackets_and_quotes_part_nothing():
    assert split_values("[a,b],{c: 1, d: 2},'x,y',3", "") == ["[a,b]", "{c: 1, d: 2}", "'x,y'", "3"]
    axes, fixed = read_axes(["a.b=[c,d]", "e=1,2"])
    assert fixed == ["a.b=[c,d]"]
    assert axes[0].values == ("1", "2")


def test_a_recipe_may_have_axes_of_its_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nablate: {axes: ['pretrain.tokens=1M,2M', seed=7]}\n")
    arms = arms_of(str(path), ["tokenizer.vocabulary=1000"])
    assert [each.name for each in arms] == ["tokens=1M", "tokens=2M"]
    assert {(each.recipe.seed, each.recipe.tokenizer.vocabulary) for each in arms} == {(7, 1000)}
    assert arms[1].chosen == (("pretrain.tokens", "2M"),)
    others = arms_of(str(path), ["curate.dedup.minhash=on,off"])
    assert [each.name for each in others] == ["minhash=on", "minhash=off"]


@pytest.mark.parametrize(
    ("name", "fixed", "arm"),
    [
        ("mixture", "pretrain.mixture={function: 1.0}", "code 10 %"),
        ("quality", "curate.classifier.keep_fraction=0.3", "best half"),
        ("filters", "curate.classifier.keep_of=documents", "learned"),
        ("quality", "curate.classifier=off", "best half"),
        ("quality", "curate={classifier: off}", "best half"),
    ],
)
def test_what_an_arm_sets_itself_cannot_hold_for_all(name, fixed, arm):
    with pytest.raises(RecipeError, match=f"arm '{arm}' sets"):
        arms_of(f"laptop/ablate-{name}", [fixed])


@pytest.mark.parametrize(
    ("ablate", "said"),
    [
        ("{axes: [a]}", "mine.yaml: ablate.axes: 'a': no axis"),
        ("{arms: {x: [curate.quallity=off], y: []}}", "mine.yaml: ablate.arms.x: curate: unknown"),
    ],
)
def test_what_is_wrong_in_the_recipe_is_told_there(tmp_path, ablate, said):
    path = tmp_path / "mine.yaml"
    path.write_text(f"name: mine\nablate: {ablate}\n")
    with pytest.raises(RecipeError) as problem:
        arms_of(str(path), [])
    assert str(problem.value).startswith(said)


def test_arms_may_be_named_and_are_compared_at_each_size(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\nablate:\n  arms: {all: [curate.dedup=off, curate.pii=off], clean: []}\n"
        "  axes: ['pretrain.tokens=1M,2M']\n"
    )
    arms = arms_of(str(path), [])
    assert [(each.name, each.size) for each in arms] == [
        ("all", "1M tokens"), ("all", "2M tokens"), ("clean", "1M tokens"), ("clean", "2M tokens"),
    ]  # fmt: skip
    assert [each.recipe.curate.dedup is None for each in arms] == [True, True, False, False]
    assert arms[1].chosen == (
        ("curate.dedup", "off"), ("curate.pii", "off"), ("pretrain.tokens", "2M"),
    )  # fmt: skip
    fewer = arms_of(str(path), ["pretrain.tokens=9k"])
    assert [(each.name, each.size, each.section.tokens) for each in fewer] == [
        ("all", "", 9000), ("clean", "", 9000),
    ]  # fmt: skip
    other = arms_of(str(path), ["pretrain.tokens=5k,6k"])
    assert [each.size for each in other] == ["5k tokens", "6k tokens"] * 2
