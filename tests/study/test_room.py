"""A training that cannot fit into memory is refused before anything is made."""

from types import SimpleNamespace

import pytest
import torch
from written_gguf import model, write

from volano.core.errors import RecipeError
from volano.core.store import Store
from volano.finetune.section import FinetuneSection
from volano.model.decoder import Decoder, DecoderConfig, initialise
from volano.model.huggingface import save_checkpoint
from volano.model.shape import shape_for
from volano.pretrain.section import ModelSection, PretrainSection
from volano.study import room
from volano.study.recipe import load_recipe
from volano.study.room import Room, check_memory, nearest_that_fits
from volano.study.run import check_context, run_stages
from volano.study.section_memory import memory_of_section
from volano.study.shape import shape_of
from volano.study.training_cost import size_of
from volano.study.wheel import stages_of

GB = 10**9
LARGE = [
    "pretrain.model.parameters=100M",
    "pretrain.model.context=1024",
    "tokenizer.vocabulary=16k",
]
SIZE = size_of(shape_for(100_000_000, 16_000, 1024))


@pytest.fixture
def machine(monkeypatch):
    """Sets the memory of this machine, which has no GPU; its matmuls are in float32."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("volano.study.section_memory._is_reduced", lambda section: False)
    return lambda count: monkeypatch.setattr(room, "usable_memory_bytes", lambda: count)


def recipe(*overrides):
    return load_recipe("tiny/python-docs", ["turn=off", "users=off", *LARGE, *overrides])


def test_little_data_makes_small_batches_so_what_they_would_take_is_not_refused(machine, tmp_path):
    asked, store = recipe("pretrain.accumulate=32"), Store(tmp_path / "runs")
    assert memory_of_section(asked.finetune, SIZE).total > 30 * GB
    machine(8 * GB)
    check_memory(stages_of(asked), asked, store, {})


def test_what_cannot_fit_is_refused_with_the_sum_and_the_nearest_that_fits(machine, tmp_path):
    machine(16 * GB)
    store, asked = Store(tmp_path / "runs"), recipe()
    with pytest.raises(RecipeError) as refused:
        run_stages(stages_of(asked), asked, store, silent=True)
    assert not store.folder.exists()
    taken = memory_of_section(asked.pretrain, SIZE)
    assert taken.total > 16 * GB
    message = str(refused.value)
    assert message.startswith(f"pretrain: {taken.total / GB:,.1f} GB ({taken.sum()}) are more than")
    assert "the 16.0 GB of this machine. The nearest that fits takes" in message
    setting = message.rsplit(": ", 1)[1].removesuffix(".")
    changed = recipe(*setting.split())
    check_memory(stages_of(changed), changed, store, {})  # what is proposed is not refused
    half = changed.pretrain.accumulate // 2
    with pytest.raises(RecipeError):
        check_memory(stages_of(recipe(f"pretrain.accumulate={half}")), recipe(), store, {})


def test_what_fits_passes_and_so_does_a_machine_that_does_not_say(machine, tmp_path):
    asked, store = recipe(), Store(tmp_path / "runs")
    machine(int(memory_of_section(asked.pretrain, SIZE).total) + 1)
    check_memory(stages_of(asked), asked, store, {})
    machine(None)
    check_memory(stages_of(asked), asked, store, {})


def test_processes_of_one_machine_share_its_memory(machine, tmp_path):
    asked, store = recipe("pretrain.parallel.data=2"), Store(tmp_path / "runs")
    alone = memory_of_section(asked.pretrain, SIZE).total
    machine(int(1.5 * alone))
    with pytest.raises(RecipeError, match="2 processes × "):
        check_memory(stages_of(asked), asked, store, {})


def test_a_stage_of_another_phase_or_that_is_made_is_not_asked_about(
    machine, tmp_path, monkeypatch
):
    machine(4 * GB)
    asked, store = recipe(), Store(tmp_path / "runs")
    check_memory(stages_of(asked), asked, store, {}, only="curate")
    reused = [SimpleNamespace(stage=each.name, reuse=True) for each in stages_of(asked)]
    monkeypatch.setattr("volano.study.plan.plan", lambda *about: reused)
    check_memory(stages_of(asked), asked, store, {})


def test_a_device_has_its_own_memory_and_attention_that_keeps_no_scores(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Toy")
    found = SimpleNamespace(total_memory=6 * GB)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: found)
    asked, store = recipe(), Store(tmp_path / "runs")
    with pytest.raises(RecipeError, match=r"6\.0 GB of Toy\. The nearest .*: pretrain.accumulate="):
        check_memory(stages_of(asked), asked, store, {})
    found.total_memory = 16 * GB
    check_memory(stages_of(asked), asked, store, {})


def test_a_finished_base_is_asked_about_by_its_own_shape(machine, tmp_path, monkeypatch):
    model = Decoder(DecoderConfig(300, 16, 1, 1, 1, 24, 2048))
    initialise(model, 1)
    save_checkpoint(tmp_path / "base", model)
    asked = load_recipe(
        "tiny/python-docs",
        [f"base=hf:{tmp_path / 'base'}", "pretrain=off", "turn=off", "users=off"],
    )
    machine(3 * GB)
    monkeypatch.setattr(room, "ANYWHERE", 0)
    check_memory(stages_of(asked), asked, Store(tmp_path / "runs"), {})
    machine(100_000)
    with pytest.raises(RecipeError, match=r"^finetune: "):
        check_memory(stages_of(asked), asked, Store(tmp_path / "runs"), {})


def nearest(section, size, gigabytes):
    there = Room("cpu", int(gigabytes * GB), "this machine", shared=True)
    found = nearest_that_fits(section, size, there)
    return found and found[0]


def test_the_cheapest_change_comes_first(machine):
    section = PretrainSection(model=ModelSection(parameters=100_000_000, context=1024))
    kept = memory_of_section(section.model_copy(update={"accumulate": 32}), SIZE).total / GB
    assert nearest(section, SIZE, kept + 0.01) == {"accumulate": 32}
    found = nearest(section, SIZE, kept - 0.05)
    assert found.pop("activations") == "recomputed"
    assert found.keys() <= {"accumulate"}
    found = nearest(section, SIZE, 1.0)
    assert found["activations"] == "recomputed"
    assert found["accumulate"] == 32
    assert 10 < float(found["model.parameters"].removesuffix("M")) < 70
    assert nearest(section, SIZE, 0.01) is None
    deep = PretrainSection(model=ModelSection(depth=8, context=1024))
    found = nearest(deep, size_of(deep.model.shape(16_000)), 0.5)
    assert found.keys() == {"accumulate", "activations", "model.depth"}
    assert 1 <= found["model.depth"] < 8


def test_a_smaller_model_is_written_as_people_write_it(machine):
    section = PretrainSection(model=ModelSection(parameters=2_200_000_000, context=64))
    size = size_of(section.model.shape(16_000))
    assert nearest(section, size, 25)["model.parameters"] == "1.64B"
    assert nearest(section, size, 5)["model.parameters"].endswith("M")


def test_compiled_training_and_whole_fine_tuning_have_their_own_ways_out(machine):
    section = PretrainSection(
        model=ModelSection(parameters=100_000_000, context=1024), compile=True
    )
    kept = memory_of_section(section.model_copy(update={"accumulate": 32}), SIZE).total / GB
    assert nearest(section, SIZE, kept - 0.05)["compile"] == "off"
    section = FinetuneSection(batch_rows=4)
    thin = nearest(section, SIZE, 1.0)
    assert thin == {"accumulate": 4, "activations": "recomputed", "lora": "on"}


def test_rows_longer_than_the_model_reads_are_refused_before_anything_is_made(tmp_path):
    store = Store(tmp_path / "runs")
    asked = load_recipe("tiny/python-docs", ["turn=off", "users=off", "finetune.context=512"])
    with pytest.raises(RecipeError, match=r"finetune: context: 512 tokens a row, and the model"):
        run_stages(stages_of(asked), asked, store, silent=True)
    assert not store.folder.exists()
    shorter = load_recipe("tiny/python-docs", ["finetune.context=64"])
    check_context(stages_of(shorter), shorter, store, {})


def test_a_gguf_file_is_not_judged_by_what_an_earlier_one_left_in_the_store(tmp_path):
    pytest.importorskip("gguf")
    pytest.importorskip("transformers")
    for name, context in (("earlier", 96), ("later", 1024)):
        write(tmp_path / f"{name}.gguf", model(context=context))
    store = Store(tmp_path / "runs")
    first = asking_of(tmp_path / "earlier.gguf", 512)
    importing = [each for each in stages_of(first) if each.name == "base"]
    run_stages(importing, first, store, silent=True)
    with pytest.raises(RecipeError, match="512 tokens a row, and the model"):
        check_context(stages_of(first), first, store, {})
    asked = asking_of(tmp_path / "later.gguf", 512)
    check_context(stages_of(asked), asked, store, {})
    assert shape_of(asked, stages_of(asked), store, {}) is None
    assert shape_of(first, stages_of(first), store, {}).context == 96


def asking_of(path, context):
    settings = [f"base=gguf:{path}", f"finetune.context={context}"]
    return load_recipe("tiny/python-docs", ["pretrain=off", "turn=off", "users=off", *settings])
