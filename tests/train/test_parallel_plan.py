"""Impossible plans are refused, with the arithmetic, before anything starts."""

import json

import pytest
from toy_run import toy_section

from volano.align.section import AlignSection
from volano.core.errors import RecipeError
from volano.finetune.section import FinetuneSection
from volano.model.config import DecoderConfig
from volano.train.parallel_plan import Plan, check_shape, plan_of
from volano.train.start import as_sent

CONFIG = DecoderConfig(
    vocabulary=50,
    width=48,
    layers=3,
    heads=6,
    key_value_heads=2,
    feed_forward=64,
    context=12,
)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"parallel": {"data": 9}, "batch_rows": 8}, "= 9 micro-batches, and batch_rows is 8"),
        ({"parallel": {"data": 3}, "batch_rows": 8, "accumulate": 3}, "accumulate 3 = 9 micro"),
        ({"parallel": {"shard": 2, "tensor": 2}}, "shard is not joined with tensor or pipeline"),
        ({"parallel": {"shard": 2}, "compile": True}, "compile is for data alone"),
        ({"parallel": {"pipeline": 2}}, "2 stages need 2 micro-batches or more"),
        (
            {"parallel": {"pipeline": 2}, "accumulate": 3, "batch_rows": 32},
            "batch of 32 rows / (data 1 × accumulate 3) = 10.67 rows a micro-batch",
        ),
    ],
)
def test_section_that_cannot_be_shared_so_is_refused_with_its_sums(changes, words):
    section = toy_section(**changes)
    with pytest.raises(RecipeError) as refused:
        plan_of(section)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (Plan(tensor=4), "heads 6 / tensor 4 = 1.50"),
        (Plan(tensor=3), "key_value_heads 2 / tensor 3 = 0.67"),
        (Plan(pipeline=4), "3 layers / pipeline 4 = 0.75"),
    ],
)
def test_model_that_cannot_be_split_so_is_refused_with_its_sums(plan, words):
    with pytest.raises(RecipeError) as refused:
        check_shape(plan, CONFIG)
    assert words in str(refused.value)
    check_shape(Plan(data=5, shard=7), CONFIG)  # any model can be copied and cut


def test_other_number_of_processes_than_torchrun_has_started_is_refused():
    section = toy_section(parallel={"data": 2, "tensor": 2}, batch_rows=8)
    assert plan_of(section, started=4) == Plan(data=2, tensor=2)
    with pytest.raises(RecipeError) as refused:
        plan_of(section, started=2)
    assert "data 2 × shard 1 × tensor 2 × pipeline 1 = 4 processes, and torchrun starts 2" in str(
        refused.value
    )


def test_replicas_are_as_many_as_torchrun_has_started_beyond_the_other_axes():
    section = toy_section(parallel={"tensor": 2}, batch_rows=8)
    assert plan_of(section).data == 1
    assert plan_of(section, started=6).data == 3


def test_adapter_is_shared_by_replicas_alone():
    section = FinetuneSection(lora={}, parallel={"data": 2})
    assert plan_of(section).processes == 2
    with pytest.raises(RecipeError, match="an adapter is trained with data alone"):
        plan_of(FinetuneSection(lora={}, parallel={"shard": 2}))


def test_number_of_processes_bears_no_identity():
    assert toy_section(parallel={"data": 2}).identity() == toy_section().identity()


@pytest.mark.parametrize("kind", [FinetuneSection, AlignSection])
@pytest.mark.parametrize("settings", [{"lora": {}}, {"optimiser": "adamw", "epochs": 2.0}])
def test_a_helper_reads_the_section_as_it_was_set(kind, settings):
    section = kind.model_validate(settings)
    assert kind.model_validate_json(json.dumps(as_sent(section))) == section
