"""Memory by kind, worked out by hand; and what our own decoder keeps for the way back."""

from dataclasses import replace

import pytest
import torch

from volano.core.errors import DataError
from volano.model.config import DecoderConfig
from volano.model.decoder import Decoder, initialise
from volano.model.likelihood import mean_nll
from volano.model.shape import shape_for
from volano.study.devices import device_named
from volano.study.training_cost import PUBLISHED, ModelSize, size_of
from volano.study.training_memory import (
    Layout,
    bytes_held,
    elements_per_token,
    fits,
    memory_of,
    nearest_that_fits,
    read_layout,
)
from volano.study.training_plan import TrainingTarget, training_plan

MIXED = bytes_held("bfloat16", "adamw")
# 4 layers of 1,000 parameters, an embedding of 10 × 20.
TOY = ModelSize(
    parameters=4_200,
    layers=4,
    width=20,
    heads=2,
    key_value_heads=2,
    head_width=10,
    feed_forward=60,
    vocabulary=10,
    context=8,
    tied=True,
)


def test_every_kind_is_the_one_worked_out_by_hand():
    found = memory_of(TOY, Layout(data=3), MIXED)
    assert found.weights == 4_200 * 2
    assert found.gradients == 4_200 * 4
    assert found.optimiser == 4_200 * 12
    assert found.gathered == 0
    # Four times into and out of a norm, q, k, v and what was attended, four states of the gate.
    kept = 4 * 20 + 4 * 20 + 4 * 60
    assert elements_per_token(TOY) == kept
    assert found.activations == 8 * 2 * (4 * kept + 2 * 20)
    assert found.logits == 2 * 8 * 10 * 2
    assert found.total == sum(found)


def test_every_axis_divides_what_it_should():
    whole = memory_of(TOY, Layout(), MIXED)
    sharded = memory_of(TOY, Layout(shard=2), MIXED)
    assert sharded.optimiser == whole.optimiser / 2
    assert sharded.activations == whole.activations
    assert sharded.gathered == 2 * 1000 * 2 + 1000 * 4
    tensor = memory_of(TOY, Layout(tensor=2), MIXED)
    assert tensor.weights == whole.weights / 2
    assert tensor.activations == whole.activations / 2
    stages = memory_of(TOY, Layout(pipeline=2), MIXED)
    assert stages.weights == (2 * 1000 + 200) * 2
    assert stages.activations == whole.activations  # half of the layers, two micro-batches
    full = memory_of(TOY, Layout(checkpointing="full"), MIXED)
    kept = elements_per_token(TOY)
    assert full.activations == 8 * 2 * (4 * 20 + kept + 2 * 20)


def test_an_untied_model_has_both_ends_on_one_stage_and_one_on_each_of_two():
    untied = replace(TOY, parameters=4_400, tied=False)
    assert memory_of(untied, Layout(), MIXED).weights == 4_400 * 2
    assert memory_of(untied, Layout(pipeline=4), MIXED).weights == (1000 + 200) * 2


def test_muon_keeps_one_momentum_for_matrices_alone():
    muon = bytes_held("float32", "muon")
    assert memory_of(TOY, Layout(), muon).optimiser == 4000 * 4 + 200 * 8


def test_gpt_3s_layer_keeps_what_korthikanti_counts_less_the_dropout_masks():
    # Korthikanti et al. 2022, equation 1: 34 bytes × width a token, 2 of them masks; the quadratic
    # term belongs to attention that is not fused.
    size = PUBLISHED["gpt-3"]
    assert 2 * elements_per_token(size) == (34 - 2) * size.width


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("parameters", [1_400_000, 3_500_000])  # two heads and more
def test_our_decoder_keeps_what_the_formula_says(parameters, tied):
    shape = replace(shape_for(parameters, vocabulary=1024, context=64), tied=tied)
    rows = 3
    measured = kept_bytes(shape, rows)
    held = replace(bytes_held("float32", "muon"), computing=4)
    planned = memory_of(size_of(shape), Layout(micro_batch=rows), held, scores_kept=True)
    assert planned.activations == pytest.approx(measured, rel=0.01)


def kept_bytes(shape: DecoderConfig, rows: int) -> int:
    """Of all tensors that autograd keeps, each storage once, without weights and the mask."""
    model = Decoder(shape)
    initialise(model, 1)
    tokens = torch.randint(0, shape.vocabulary, (rows, shape.context))
    storages: dict[int, int] = {}
    known = {each.data_ptr() for each in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known and tensor.is_floating_point():
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    alive = []
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = mean_nll(model.hidden(tokens), model.head_weight, tokens)
        alive.append(loss)
    # Joined weights of a layer, and the gradient of the head, are no activations.
    into = (shape.heads + 2 * shape.key_value_heads) * shape.head_width + 2 * shape.feed_forward
    joined = shape.layers * shape.width * into
    return sum(storages.values()) - 4 * (joined + shape.vocabulary * shape.width)


GPT3_DATA_PARALLEL = TrainingTarget(
    size=PUBLISHED["gpt-3"],
    tokens=3e11,
    device=device_named("A100"),
    devices=1024,
    layout=Layout(data=1024),
)


def test_what_does_not_fit_is_refused_with_the_arithmetic_and_the_nearest_that_fits():
    with pytest.raises(DataError) as refusal:
        training_plan(GPT3_DATA_PARALLEL)
    said = str(refusal.value)
    assert "349.2 weights + 698.4 gradients + 2,095.2 optimiser" in said
    assert "nine tenths of 80 GB of A100" in said
    assert "\n" not in said
    # What it names does fit.
    settings = said.rpartition("--parallel ")[2].split()[0].rstrip(".")
    named = read_layout(settings, Layout(), 1024)
    assert training_plan(replace(GPT3_DATA_PARALLEL, layout=named)).memory.total <= 0.9 * 80e9


def test_a_model_that_its_devices_cannot_hold_is_told_how_many_can():
    target = replace(GPT3_DATA_PARALLEL, devices=8, layout=Layout(data=8))
    with pytest.raises(DataError, match="--devices 64"):
        training_plan(target)


def test_the_smaller_change_is_preferred():
    size, room = PUBLISHED["llama-2-70b"], 80 * 10**9
    found = nearest_that_fits(size, Layout(data=256), MIXED, room)
    assert found is not None
    assert found.devices == 256
    assert found.checkpointing == "none"
    fixed = frozenset({"devices", "micro_batch", "checkpointing"})
    wide = Layout(data=256, micro_batch=4)
    kept = nearest_that_fits(size, wide, MIXED, room, fixed=fixed)
    assert kept is None or kept.micro_batch == 4
    assert fits(memory_of(size, found, MIXED), room)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tensor=3", "tensor 3"),
        ("model=4", "cannot read 'model=4'"),
        ("tensor=4,tensor=2", "cannot read 'tensor=2'"),
        ("tensor=0", "cannot read 'tensor=0'"),
        ("data=2,shard=2,tensor=2", "8 devices, and --devices says 64"),
    ],
)
def test_a_layout_that_cannot_be_is_refused(text, said):
    with pytest.raises(DataError, match=said):
        read_layout(text, Layout(), 64)


def test_an_axis_left_out_takes_the_devices_that_are_left():
    assert read_layout("tensor=8", Layout(), 64) == Layout(data=8, tensor=8)
    assert read_layout("data=1,tensor=8", Layout(), 64) == Layout(shard=8, tensor=8)
    size = PUBLISHED["gpt-3"]
    with pytest.raises(DataError, match="tensor=16 does not divide 8 key-value heads"):
        memory_of(PUBLISHED["llama-2-70b"], Layout(tensor=16), MIXED)
    with pytest.raises(DataError, match="tensor=5 does not divide 96 heads"):
        memory_of(size, Layout(tensor=5), MIXED)
    with pytest.raises(DataError, match="more than 96 layers"):
        memory_of(size, Layout(pipeline=97), MIXED)
