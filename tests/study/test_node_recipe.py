"""The recipe for one GPU, as far as a machine without one can try it."""

import json
from pydoc_data.topics import topics

import pytest
import torch

from volano.cli.main import run_command
from volano.core.errors import DataError, RecipeError
from volano.core.store import Store
from volano.study.devices import device_named
from volano.study.plan import plan
from volano.study.recipe import load_recipe
from volano.study.recipe_plan import plan_recipe
from volano.study.run import run_stages
from volano.study.section_memory import memory_of_section
from volano.study.training_cost import flops_per_token, size_of
from volano.study.training_memory import USABLE
from volano.study.wheel import stages_of

NAME = "node/own-text"
SMALL = [
    "device=cpu",
    "collect.held_out_fraction=0.2",
    "curate.quality.rules=[gopher_repetition]",
    "tokenizer.vocabulary=300",
    "pretrain.model.parameters=20k",
    "pretrain.model.context=64",
    "pretrain.tokens=8k",
    "pretrain.batch_rows=16",
    "pretrain.evaluate_steps=4",
    "pretrain.precision=float32",
    "pretrain.threads=1",
    "evaluate.bits_documents=4",
]


@pytest.fixture(autouse=True)
def without_cuda(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.chdir(tmp_path)


def test_the_recipe_fits_where_it_says_and_counts_twenty_tokens_a_parameter():
    recipe = load_recipe(NAME)
    size = size_of(recipe.pretrain.model.shape(recipe.tokenizer.vocabulary))
    taken = {
        count: memory_of_section(
            recipe.pretrain.model_copy(update={"accumulate": count}),
            size,
            device="cuda",
            reduced=True,
        ).total
        for count in (recipe.pretrain.accumulate, 64)
    }
    # Our plan was 0.60 of what a processor measured at worst (docs/training-plan.md).
    assert taken[recipe.pretrain.accumulate] < 0.6 * 80e9
    assert taken[64] < 0.6 * 24e9
    assert recipe.pretrain.tokens == pytest.approx(20 * size.parameters, rel=0.02)
    assert recipe.pretrain.batch_rows * recipe.pretrain.model.context == 2**19


def test_its_plan_is_reckoned_from_the_table_and_measures_nothing(tmp_path, monkeypatch):
    def measured(*about, **settings):
        raise AssertionError("a model of 300M trains for minutes here")

    monkeypatch.setattr("volano.study.measured_rate.measure_rate", measured)
    recipe, store = load_recipe(NAME), Store(tmp_path / "runs")
    found = plan_recipe(recipe, store)
    [base] = [each for each in found.stages if each.trained]
    device = device_named("H100")
    size = size_of(recipe.pretrain.model.shape(recipe.tokenizer.vocabulary))
    expected = base.tokens * flops_per_token(size) / (0.41 * device.peak_flops)
    assert base.seconds == pytest.approx(expected)
    assert recipe.about.minutes == pytest.approx(expected / 60, rel=0.02)
    assert base.memory_bytes < USABLE * device.memory_bytes
    assert "reckoned, not run" in base.rate_from
    half = plan_recipe(recipe, store, device="A100", utilisation=0.2)
    assert half.stages[0].seconds == pytest.approx(
        base.tokens * flops_per_token(size) / (0.2 * 312e12)
    )
    assert not store.folder.exists()


def test_a_plan_that_does_not_fit_the_device_is_refused_with_the_nearest_that_does(tmp_path):
    recipe, store = load_recipe(NAME, ["pretrain.accumulate=2"]), Store(tmp_path / "runs")
    with pytest.raises(RecipeError) as refused:
        plan_recipe(recipe, store)
    assert "72.0 GB of H100 less a tenth" in str(refused.value)
    setting = str(refused.value).rsplit(": ", 1)[1].removesuffix(".")
    plan_recipe(load_recipe(NAME, setting.split()), store)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["device=cpu", "--utilisation", "0.4"], "--utilisation: is of a device that is named"),
        (["about.device=''"], "volano plan: device: cuda, and torch sees none here"),
        (["--device", "A100", "--by-bills"], "--by-bills and --device: each give a rate"),
        (["--by-bills"], "no bill of this recipe's training is in the store"),
        (["--device", "H200"], "no run on H200 is known"),
        (["--device", "H1000"], "Did you mean 'H100'?"),
    ],
)
def test_what_cannot_be_reckoned_is_said(options, said, capsys):
    assert run_command(["plan", NAME, *options]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_the_command_says_that_it_was_reckoned(capsys):
    assert run_command(["plan", NAME]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "training on one H100" in said
    assert "Reckoned, not run: 0.41 of 989 TFLOP/s" in said
    assert run_command(["plan", NAME, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reckoned_with"] == "H100"


def test_text_that_is_not_there_is_told_with_what_to_do(tmp_path):
    recipe, store = load_recipe(NAME, ["device=cpu"]), Store(tmp_path / "runs")
    [first, *rest] = plan(recipe, store)
    assert first.why.startswith("collect.paths: texts: no such file or folder. Put your own")
    assert not any(each.reuse for each in [first, *rest])
    small = load_recipe(NAME, SMALL)
    with pytest.raises(DataError, match=r"^collect\.paths: texts: no such file or folder\. Put"):
        run_stages(stages_of(small), small, store, silent=True)
    assert not store.folder.exists()
    with pytest.raises(RecipeError, match="no CUDA device"):
        run_stages(stages_of(load_recipe(NAME)), load_recipe(NAME), store, silent=True)


def test_its_sections_make_a_model_of_ones_own_text_in_miniature(tmp_path):
    (tmp_path / "texts").mkdir()
    for name, text in sorted(topics.items())[:60]:
        (tmp_path / "texts" / f"{name}.txt").write_text(text[:3000])
    recipe, store = load_recipe(NAME, SMALL), Store(tmp_path / "runs")
    outcomes = run_stages(stages_of(recipe), recipe, store, silent=True)
    report = outcomes[-1].artifact.report()
    base = report.find("bits_per_byte", "base")
    assert 0 < base.value < 8
    assert store.find("own-text/base").bill()["device"] == "cpu"
