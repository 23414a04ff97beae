"""The plan of a recipe: tokens, FLOPs and minutes of each stage, and a run's bill beside it."""

import os
import signal
from dataclasses import replace

import pyarrow as pa
import pytest

from volano.cli.plan_recipe import _print
from volano.core.corpus import write_shard
from volano.core.errors import RunFailed, StoreError
from volano.core.step import Step
from volano.core.store import Store
from volano.finetune.section import FinetuneSection
from volano.finetune.step import FINETUNE
from volano.model.decoder import Decoder
from volano.model.huggingface import save_checkpoint
from volano.model.shape import shape_for
from volano.pretrain.section import PretrainSection
from volano.pretrain.step import PACK, PRETRAIN
from volano.study import measured_rate
from volano.study.measured_rate import Measured, measure_rate
from volano.study.recipe import load_recipe
from volano.study.recipe_plan import RecipePlan, StagePlan, _flops_per_token, plan_recipe
from volano.study.section_memory import memory_of_section
from volano.study.training_cost import flops_per_token, forward_flops_per_token, size_of
from volano.text.pack import pack_documents
from volano.text.tokenizer import train_tokenizer
from volano.train.section import LoraSection

SEED = 7
BILL = {"training_seconds": 4.0, "tokens_per_second": 500.0}


@pytest.fixture
def recipe():
    return load_recipe("tiny/python-docs", [f"seed={SEED}", "turn=off", "users=off"])


@pytest.fixture(autouse=True)
def rate(monkeypatch):
    """1,000 tokens a second, 400 a processor second; the stages that were measured."""
    asked = []

    def fixed(shape, section, *, row_tokens, workers=0, device="auto"):
        asked.append((type(section).__name__, row_tokens))
        return Measured(1000.0, 400.0, 6)

    monkeypatch.setattr(measured_rate, "measure_rate", fixed)
    return asked


def made(store, recipe, stage, section, tokens):
    """The stage's checkpoint as training leaves it, `tokens` read; its bill as given above."""
    model = Decoder(recipe.pretrain.model.shape(recipe.tokenizer.vocabulary))

    def run(settings, inputs, context):
        save_checkpoint(context.folder, model)
        write_shard(context.folder / "metrics.parquet", pa.table({"tokens": [tokens]}))
        context.bill |= BILL

    real = {"base": PRETRAIN, "sft": FINETUNE}[stage]
    step = Step(real.name, "checkpoint", real.version, type(section), run, seeded=True)
    order = store.order(step, section, {}, name=f"{recipe.name}/{stage}", seed=recipe.seed)
    return store.make(order, silent=True).artifact


def by_stage(plan):
    return {each.stage: each for each in plan.stages}


def test_before_any_run_each_stage_has_its_tokens_flops_and_seconds(recipe, tmp_path, rate):
    plan = plan_recipe(recipe, Store(tmp_path / "runs"))
    found = by_stage(plan)
    assert list(found) == ["base", "sft", "aligned", "report"]
    size = size_of(recipe.pretrain.model.shape(1024))
    base = found["base"]
    assert base.parameters == size.parameters
    assert base.tokens == 24 * 32 * 128  # 100k rounded to whole steps
    assert base.flops == base.tokens * flops_per_token(size)
    assert base.seconds == base.tokens / 1000
    assert base.processor_seconds == base.tokens / 400
    assert found["sft"].tokens == recipe.about.epoch_tokens["sft"] * 0.5
    aligned = found["aligned"]
    each = flops_per_token(size) + forward_flops_per_token(size)
    assert aligned.flops == aligned.tokens * each
    # An evaluation has a bound of its arithmetic, and no time that would follow from it.
    items = 300 + 1500 + 300 * 2 + 1000
    assert found["report"].tokens == 3 * items * 128
    assert found["report"].seconds is None
    assert plan.seconds == sum(found[name].seconds for name in ("base", "sft", "aligned"))
    assert plan.unknown == []
    assert rate == [("PretrainSection", 128), ("FinetuneSection", 128), ("AlignSection", 77)]


def test_stages_that_differ_in_their_epochs_alone_are_measured_once(tmp_path, rate):
    pytest.importorskip("fastapi")
    plan_recipe(load_recipe("tiny/python-docs"), Store(tmp_path / "runs"))
    assert [name for name, _ in rate] == ["PretrainSection", "FinetuneSection", "AlignSection"]


def test_what_nobody_has_counted_is_unknown_and_not_zero(recipe, tmp_path):
    about = recipe.about.model_copy(update={"epoch_tokens": {}})
    plan = plan_recipe(recipe.model_copy(update={"about": about}), Store(tmp_path / "runs"))
    assert plan.unknown == ["sft", "aligned"]
    assert by_stage(plan)["sft"].flops is None


def test_a_finished_base_is_planned_by_its_own_shape(tmp_path):
    shape = shape_for(20_000, 300, 16)
    save_checkpoint(tmp_path / "base", Decoder(shape))
    entering = ["pretrain=off", "turn=off", "users=off"]
    store = Store(tmp_path / "runs")
    recipe = load_recipe("tiny/python-docs", [*entering, f"base=hf:{tmp_path / 'base'}"])
    found = by_stage(plan_recipe(recipe, store))
    assert list(found) == ["sft", "aligned", "report"]
    assert found["sft"].parameters == shape.parameters
    unknown = load_recipe("tiny/python-docs", [*entering, "base=gguf:model.gguf"])
    with pytest.raises(StoreError, match="known once it is imported"):
        plan_recipe(unknown, store)


def test_the_bill_stands_beside_the_plan(recipe, tmp_path):
    store = Store(tmp_path / "runs")
    made(store, recipe, "base", recipe.pretrain, tokens=98_304)
    made(store, recipe, "sft", recipe.finetune, tokens=50_000)
    found = by_stage(plan_recipe(recipe, store))
    assert found["base"].bill_seconds == 4.0
    assert found["base"].ratio == pytest.approx(98.304 / 4)
    assert found["sft"].tokens == 50_000  # what the last run's data were
    bill = found["base"].bill
    share = bill["processor_seconds"] * 4.0 / bill["seconds"]
    assert found["base"].processor_ratio == pytest.approx(98_304 / 400 / share)
    longer = recipe.model_copy(
        update={"finetune": recipe.finetune.model_copy(update={"epochs": 2.0})}
    )
    other = by_stage(plan_recipe(longer, store))["sft"]
    assert other.tokens == 200_000
    assert other.bill_seconds == 4.0
    assert other.ratio is None  # the bill is of other settings


def packed(store, recipe, rows):
    """So many rows of one kind, packed with the settings of the recipe."""

    def run(settings, inputs, context):
        texts = [(f"{n}", "a" * (settings.context - 1)) for n in range(rows)]
        tokenizer = train_tokenizer(["abc"] * 9, vocabulary=261)
        pack_documents(context.folder, {"text": texts}, tokenizer, context=settings.context)

    step = Step(PACK.name, PACK.kind, PACK.version, PACK.section, run)
    order = store.order(step, recipe.pretrain.packing(), {}, name=f"{recipe.name}/tokens")
    return store.make(order, silent=True).artifact


def test_epochs_are_told_once_text_is_packed_with_the_settings_of_the_plan(recipe, tmp_path):
    store = Store(tmp_path / "runs")
    assert by_stage(plan_recipe(recipe, store))["base"].epochs == {}
    plain = recipe.pretrain.model_copy(update={"mixture": {}})
    recipe = recipe.model_copy(update={"pretrain": plain})
    packed(store, recipe, rows=64)
    assert by_stage(plan_recipe(recipe, store))["base"].epochs == {"text": 24 * 32 / 64}
    model = plain.model.model_copy(update={"context": 64})
    shorter = recipe.model_copy(update={"pretrain": plain.model_copy(update={"model": model})})
    assert by_stage(plan_recipe(shorter, store))["base"].epochs == {}


def test_the_plan_says_where_text_is_read_too_often(recipe, capsys):
    unknown = dict.fromkeys(("flops", "memory_bytes", "tokens_per_second", "seconds", "tokens"))
    told_of = {"stage": "base", "phase": "pretrain", "tokens_from": "", "rate_from": ""}
    epochs = {"text": 12.0, "code": 0.25}
    found = StagePlan(**told_of, **unknown, parameters=9, epochs=epochs)
    _print(RecipePlan("mine", [found], {}), recipe, explain=False)
    told = capsys.readouterr().out
    assert "base would read over what is packed: text 12 times, code 0.25 times." in told
    assert "base reads its text of 'text' 12.0 times: give more text" in told


def test_rates_of_bills_are_scaled_by_the_flops_of_the_shape(recipe, tmp_path, rate):
    store = Store(tmp_path / "runs")
    with pytest.raises(StoreError, match="no bill of this recipe's training"):
        plan_recipe(recipe, store, "bills")
    made(store, recipe, "base", recipe.pretrain, tokens=98_304)
    assert by_stage(plan_recipe(recipe, store, "bills"))["base"].tokens_per_second == 500
    larger = load_recipe(
        "tiny/python-docs",
        [f"seed={SEED}", "turn=off", "users=off", "pretrain.model.parameters=1M"],
    )
    found = by_stage(plan_recipe(larger, store, "bills"))
    old, new = (
        flops_per_token(size_of(each.pretrain.model.shape(1024))) for each in (recipe, larger)
    )
    assert found["base"].tokens_per_second == pytest.approx(500 * old / new)
    assert found["base"].ratio is None
    assert found["sft"].seconds is None
    assert rate == []


def test_each_measurement_is_told_before_it_is_taken(recipe, tmp_path, rate):
    told = []
    plan_recipe(recipe, Store(tmp_path / "runs"), told=lambda said: told.append((said, len(rate))))
    assert [said.partition(":")[0] for said, _ in told] == ["base", "sft", "aligned"]
    assert [measured for _, measured in told] == [0, 1, 2]
    told.clear()
    plan_recipe(recipe, Store(tmp_path / "runs"), device="H100", told=told.append)
    assert told == []


def test_a_rate_is_measured_by_training(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(measured_rate, "SECONDS", 1e6)
    monkeypatch.setattr(measured_rate, "MOST", 8)
    shape = shape_for(20_000, 300, 16)
    for section in (PretrainSection(batch_rows=2), FinetuneSection(batch_rows=2)):
        found = measure_rate(shape, section, row_tokens=16, workers=1)
        assert found.steps == 8
        assert 0 < found.tokens_per_second < 1e9
        assert found.tokens_per_processor_second > 0


@pytest.mark.parametrize(
    ("number", "error", "said"),
    [
        (
            signal.SIGTERM,
            RunFailed,
            "plan: stopped by SIGTERM while it measured. Nothing was made.",
        ),
        (signal.SIGINT, KeyboardInterrupt, ""),
    ],
)
def test_a_stopped_measurement_asks_for_no_second_start(monkeypatch, number, error, said):
    monkeypatch.undo()
    section = PretrainSection(batch_rows=2)
    batch = measured_rate._RandomStream.batch

    def stopping(stream, step):
        os.kill(os.getpid(), number)
        return batch(stream, step)

    monkeypatch.setattr(measured_rate._RandomStream, "batch", stopping)
    with pytest.raises(error) as caught:
        measure_rate(shape_for(20_000, 300, 16), section, row_tokens=16, workers=1)
    assert str(caught.value) == said


def test_one_step_is_timed_where_a_step_takes_long(monkeypatch):
    monkeypatch.undo()
    section = PretrainSection(batch_rows=2)
    found = measure_rate(shape_for(20_000, 300, 16), section, row_tokens=16, workers=1, seconds=0)
    assert found.steps == 1
    assert 0 < found.tokens_per_second < 1e9


def test_pairs_count_both_of_their_sides(recipe, monkeypatch):
    monkeypatch.undo()
    section = recipe.align.model_copy(update={"batch_rows": 3})
    assert measured_rate._tokens(section, 10) == 60
    shape = replace(shape_for(20_000, 300, 16))
    called = measured_rate.train_on_random_tokens(shape, section, 8, steps=2, workers=1)
    assert len(called) == 2


def test_an_adapter_takes_less_memory_and_arithmetic_than_the_whole_model():
    whole, thin = FinetuneSection(context=64), FinetuneSection(context=64, lora=LoraSection())
    size = size_of(shape_for(30_000_000, 16_384, 512))
    cut = memory_of_section(whole, size).total - memory_of_section(thin, size).total
    assert cut > 8 * size.parameters  # gradients, momentum, copies that are kept for the way back
    rows = replace(size, context=64)
    assert _flops_per_token(whole, size) == flops_per_token(rows)
    assert _flops_per_token(thin, size) == flops_per_token(rows) - 2 * size.in_matmuls


def test_the_rate_of_an_adapter_is_measured_with_one(monkeypatch):
    seen = []

    def looks(model, objective, stream, *rest, **options):
        seen.extend(name for name, each in model.named_parameters() if each.requires_grad)

    monkeypatch.setattr(measured_rate, "train", looks)
    shape = shape_for(100_000, 300, 32)
    section = FinetuneSection(lora=LoraSection(rank=2), batch_rows=2)
    measured_rate.train_on_random_tokens(shape, section, 16, steps=1)
    assert seen
    assert all(".lora_" in name for name in seen)
