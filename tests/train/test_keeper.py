"""States kept while training goes on: whose values they hold, which stay, what a kill leaves."""

import threading
from types import SimpleNamespace

import pytest
import torch
import torch.multiprocessing as processes
from safetensors import safe_open
from shared_run import shared_train, stopping_member
from toy_run import ToyObjective, ToyStream, toy_model, toy_train, weights_of

from volano.core.errors import RecipeError, RunFailed
from volano.pretrain.section import PretrainSection
from volano.train import keeper, loop
from volano.train.checkpoint import folder_of, kept_states, load_state, load_weights
from volano.train.parallel_plan import Plan


class Observed(ToyStream):
    """Does something before some of the batches."""

    def __init__(self, actions, **settings):
        super().__init__(**settings)
        self.actions = actions

    def batch(self, step):
        self.actions.get(step, lambda: None)()
        return super().batch(step)


def stop():
    raise ConnectionAbortedError


def figures(*values):
    """A validation that finds these, one after another."""
    following = iter(values)
    return lambda: {"held_out": next(following)}


def stopped_at(scratch, step, **settings):
    """A run that is gone before its step number `step` + 1, with what it has kept by then."""
    with pytest.raises(ConnectionAbortedError):
        toy_train(scratch, stream=Observed({step: stop}), **settings)
    return load_state(scratch)


def test_training_goes_on_while_a_state_is_written_and_the_state_is_of_its_step(
    tmp_path, monkeypatch
):
    in_time = stopped_at(tmp_path / "in time", 12, checkpoint_steps=12)
    later, real = threading.Event(), keeper.save

    def slow(*arguments, **settings):
        assert later.wait(60)
        real(*arguments, **settings)

    monkeypatch.setattr(keeper, "save", slow)
    stream = Observed({18: later.set, 20: stop})
    with pytest.raises(ConnectionAbortedError):
        toy_train(tmp_path / "late", stream=stream, checkpoint_steps=12)
    late = load_state(tmp_path / "late")
    assert late.step == 12
    assert all(torch.equal(late.weights[name], value) for name, value in in_time.weights.items())
    for name, kept in in_time.optimiser.items():
        assert all(torch.equal(late.optimiser[name][key], value) for key, value in kept.items())
    assert late.metrics == in_time.metrics


def test_what_goes_wrong_with_writing_ends_the_run_before_the_next_state_is_due(
    tmp_path, monkeypatch
):
    failed = threading.Event()

    def full(*arguments, **settings):
        failed.set()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keeper, "save", full)
    batches = []
    actions = {step: lambda step=step: batches.append(step) for step in range(24)}
    actions[5] = lambda: failed.wait(60)
    with pytest.raises(RunFailed, match="disk full"):
        toy_train(tmp_path, stream=Observed(actions), checkpoint_steps=4)
    assert max(batches) < 8
    assert kept_states(tmp_path) == {}


@pytest.mark.parametrize(("most", "kept"), [(1, [24]), (3, [15, 20, 24])])
def test_the_last_states_stay_and_the_others_go(tmp_path, most, kept):
    toy_train(tmp_path, checkpoints=most)
    assert list(kept_states(tmp_path)) == kept
    names = sorted(each.name for each in (tmp_path / "states").iterdir())
    assert names == [f"{step:09}" for step in kept]


def test_a_state_is_kept_when_the_seconds_are_over_whatever_the_step(tmp_path, monkeypatch):
    clock = iter(range(10_000))  # a second between any two looks at it
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    written = []
    keep = loop._Run.keep

    def kept(run, done, **settings):
        written.append(done)
        keep(run, done, **settings)

    monkeypatch.setattr(loop._Run, "keep", kept)
    toy_train(tmp_path / "seldom", checkpoint_steps=1000, checkpoint_seconds=1e6)
    assert written == [24]
    written.clear()
    toy_train(tmp_path / "often", checkpoint_steps=1000, checkpoint_seconds=10)
    assert len(written) > 2
    assert list(kept_states(tmp_path / "often")) == written[-2:]


def test_the_best_by_evaluation_stays_and_may_be_what_is_left(tmp_path):
    settings = {"evaluate_steps": 8, "checkpoints": 1, "checkpoint_steps": 100}
    last, whole = toy_train(tmp_path / "last", validate=figures(2.0, 1.5, 1.75), **settings)
    assert list(kept_states(tmp_path / "last")) == [16, 24]
    at_16 = stopped_at(tmp_path / "16", 16, checkpoint_steps=16).weights
    best, result = toy_train(
        tmp_path / "best", validate=figures(2.0, 1.5, 1.75), best=True, **settings
    )
    assert all(torch.equal(best.state_dict()[name], value) for name, value in at_16.items())
    assert weights_of(best) != weights_of(last)
    assert result.measured["weights_of_step"] == 16
    assert set(result.seen) == {f"document-{step}" for step in range(16)}
    assert result.metrics.equals(whole.metrics)
    rising, result = toy_train(
        tmp_path / "rising", validate=figures(3, 2, 1), best=True, **settings
    )
    assert weights_of(rising) == weights_of(last)
    assert "weights_of_step" not in result.measured


def test_the_best_is_known_again_by_a_run_that_was_stopped(tmp_path):
    settings = {"evaluate_steps": 8, "checkpoints": 1, "checkpoint_steps": 4}
    whole, _ = toy_train(
        tmp_path / "whole", validate=figures(1.5, 2.0, 1.75), best=True, **settings
    )
    stopped_at(tmp_path / "stopped", 21, validate=figures(1.5, 2.0), **settings)
    assert list(kept_states(tmp_path / "stopped")) == [8, 20]
    again, _ = toy_train(tmp_path / "stopped", validate=figures(1.75), best=True, **settings)
    assert weights_of(again) == weights_of(whole)


def test_best_of_a_single_evaluation_is_refused():
    with pytest.raises(RecipeError, match="weights: the best of one evaluation is the last"):
        PretrainSection.read({"weights": "best"}, "pretrain")
    assert PretrainSection.read({"weights": "best", "evaluate_steps": 9}, "pretrain")


def test_half_a_state_is_no_state_and_is_removed(tmp_path):
    straight, _ = toy_train(tmp_path / "straight")
    stopped_at(tmp_path / "killed", 17)
    states = tmp_path / "killed" / "states"
    (states / "000000015").rename(states / "000000020.unfinished")  # killed while it was written
    (states / "000000010" / "state.json").rename(tmp_path / "state.json")  # … or let go
    assert load_state(tmp_path / "killed") is None
    (tmp_path / "state.json").rename(states / "000000010" / "state.json")
    assert load_state(tmp_path / "killed").step == 10
    again, _ = toy_train(tmp_path / "killed")
    assert weights_of(again) == weights_of(straight)
    assert not list(states.glob("*.unfinished"))


def test_damaged_state_is_refused_and_the_one_before_takes_its_place(tmp_path):
    straight, _ = toy_train(tmp_path / "straight")
    stopped_at(tmp_path / "damaged", 17)
    folder = folder_of(tmp_path / "damaged", 15)
    for name in ("weights", "rest"):
        [path] = (folder / name).iterdir()
        whole = path.read_bytes()
        path.write_bytes(whole[:-5])
        with pytest.raises(RunFailed, match=r"damaged .*folder to go on from step 10"):
            toy_train(tmp_path / "damaged")
        path.write_bytes(whole)
    for name in ("metrics.parquet", "state.json"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:40])
        with pytest.raises(RunFailed, match="damaged"):
            toy_train(tmp_path / "damaged")
        (folder / name).write_bytes(whole)
    for path in [*folder.rglob("*")]:
        if path.is_file():
            path.unlink()
    again, _ = toy_train(tmp_path / "damaged")
    assert weights_of(again) == weights_of(straight)


@pytest.mark.parametrize("optimiser", ["muon", "adamw"])
def test_state_from_before_the_first_step_is_taken_up(tmp_path, optimiser):
    straight, _ = toy_train(tmp_path / "straight", optimiser=optimiser)
    with pytest.raises(RunFailed, match="not finite at step 1;"):
        toy_train(tmp_path / "kept", objective=ToyObjective(poisoned_call=0), optimiser=optimiser)
    assert load_state(tmp_path / "kept").step == 0
    again, _ = toy_train(tmp_path / "kept", model=toy_model(seed=9), optimiser=optimiser)
    assert weights_of(again) == weights_of(straight)


def test_state_of_an_earlier_version_is_refused(tmp_path):
    (tmp_path / "resume.pt").write_bytes(b"PK")
    with pytest.raises(RunFailed, match=r"resume.pt: an earlier Volano"):
        toy_train(tmp_path)


@pytest.mark.parametrize(
    "plan",
    [
        Plan(data=2, tensor=1, shard=2),
        *(
            pytest.param(plan, marks=pytest.mark.long)
            for plan in (Plan(shard=4), Plan(data=2, tensor=2), Plan(data=2, pipeline=2))
        ),
    ],
)
def test_four_processes_write_their_parts_and_one_or_two_go_on_from_them(tmp_path, plan):
    straight, _ = shared_train(Plan(), tmp_path / "straight")
    (tmp_path / "four").mkdir()
    processes.spawn(stopping_member, (tmp_path / "four", plan, 11), nprocs=4)
    folder = folder_of(tmp_path / "four" / "scratch", 8)
    held = [entries(path) for path in sorted((folder / "weights").iterdir())]
    whole = sum(value.numel() for value in straight.parameters())
    assert len(held) == 4
    assert sum(held) == whole  # replicas share the writing out
    (tmp_path / "two").mkdir()
    (tmp_path / "four" / "scratch").rename(tmp_path / "two" / "scratch")
    processes.spawn(stopping_member, (tmp_path / "two", Plan(shard=2), 19), nprocs=2)
    assert load_state(tmp_path / "two" / "scratch").step == 16
    model, _ = shared_train(Plan(), tmp_path / "two" / "scratch")
    for name, value in straight.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=0, atol=1e-8)


def entries(path):
    with safe_open(path, framework="pt") as weights:
        return sum(weights.get_tensor(name).numel() for name in weights.keys())  # noqa: SIM118


def test_weights_of_a_state_are_those_of_a_model(tmp_path):
    model, _ = toy_train(tmp_path)
    for name, value in load_weights(tmp_path, 24).items():
        assert torch.equal(value, model.state_dict()[name])
    assert load_weights(tmp_path, 24).keys() == dict(toy_model().named_parameters()).keys()
