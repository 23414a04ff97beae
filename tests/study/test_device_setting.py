"""The setting `device`: where it is refused, where it goes, and that it bears no identity."""

import pytest
import torch

from volano.core.errors import RecipeError
from volano.core.recipe import Section
from volano.core.step import Step
from volano.core.store import Store
from volano.study.recipe import load_recipe
from volano.study.run import check_device, run_stages
from volano.study.single import run_phase
from volano.study.wheel import Stage, stages_of


class Nothing(Section):
    pass


@pytest.fixture
def no_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def one_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)


def recipe(*overrides):
    return load_recipe("tiny/python-docs", ["turn=off", "users=off", *overrides])


def test_cuda_is_refused_before_anything_is_made_and_not_for_work_on_data(no_cuda, tmp_path):
    asked = recipe("device=cuda")
    stages = stages_of(asked)
    store = Store(tmp_path / "runs")
    with pytest.raises(RecipeError, match="no CUDA device"):
        run_stages(stages, asked, store, silent=True)
    assert not store.folder.exists()
    on_data = [each for each in stages if each.phase in {"collect", "curate", "tokenizer"}]
    check_device(on_data, asked)
    check_device(stages, recipe("device=auto"))


def test_more_processes_than_devices_are_refused(one_device):
    check_device(stages_of(recipe()), recipe())
    two = recipe("pretrain.parallel.data=2")
    with pytest.raises(RecipeError, match="2 processes on this machine, and 1 CUDA device"):
        check_device(stages_of(two), two)
    here = recipe("pretrain.parallel.data=2", "device=cpu")
    check_device(stages_of(here), here)


def test_a_phase_alone_takes_the_setting(no_cuda, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("One text.")
    for settings in (["device=cuda", "tokens=1k"], {"device": "cuda", "tokens": 1000}):
        with pytest.raises(RecipeError, match="no CUDA device"):
            run_phase(
                "pretrain",
                Store(tmp_path / "runs"),
                data=[str(tmp_path / "a.txt")],
                settings=settings,
                silent=True,
            )
    assert not (tmp_path / "runs").exists()


def test_the_bill_names_the_device_and_no_identity_does(tmp_path):
    def compute(section, inputs, context):
        context.computed_on = f"asked for {context.device}"
        (context.folder / "made").write_text("x")

    step = Step("compute", "corpus", 1, Nothing, compute, on_device=True)
    stage = Stage("computed", "collect", step, Nothing(), {})
    store = Store(tmp_path / "runs")
    for device, reused in (("cpu", False), ("auto", True)):
        [made] = run_stages([stage], recipe(f"device={device}"), store, silent=True)
        assert made.artifact.bill()["device"] == "asked for cpu"
        assert made.reused is reused
