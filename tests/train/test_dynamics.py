"""Spikes, going back, divergence and milestones in the loop, undisturbed and resumed."""

import random

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from toy_run import ToyObjective, ToyStream, toy_model, toy_section, weights_of

from volano.core.errors import RunFailed
from volano.core.progress import SilentBar
from volano.train.checkpoint import kept_states, load_state
from volano.train.dynamics import LabelBytes, Metrics
from volano.train.loop import train

QUICK = {"spike_window": 8, "rewind_steps": 4, "spike_deviations": 12.0}
MARK = 49  # a batch whose first row is nothing else has its loss changed


class MarkedStream(ToyStream):
    """Marks some batches; dies at one step, as a kill between two steps would."""

    def __init__(self, marked, steps=40, dies_at=None):
        super().__init__(steps=steps)
        self.marked, self.dies_at = marked, dies_at

    def batch(self, step):
        if step == self.dies_at:
            raise ConnectionAbortedError
        batch = super().batch(step)
        if step + 1 in self.marked:
            batch.tokens_BT[0] = MARK
        return batch


class MarkedObjective(ToyObjective):
    """The loss of a marked batch is multiplied."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def loss(self, model, batch):
        output = super().loss(model, batch)
        marked = bool((batch.tokens_BT[0] == MARK).all())
        return output._replace(loss=output.loss * self.factor) if marked else output


class Speaker:
    """Says a number that hangs on every weight."""

    def __init__(self, model, *steps):
        self.model, self.steps = model, steps

    def at(self, step):
        return step in self.steps

    def speak(self):
        total = sum(float(value.detach().double().sum()) for value in self.model.parameters())
        return [("sum", repr(total))]


class Listener(SilentBar):
    def __init__(self):
        self.told = []

    def tell(self, text):
        self.told.append(text)


def run(scratch, stream, factor=20.0, speaks_at=(), bar=None, model=None, validate=None, **changes):
    model = model or toy_model()
    result = train(
        model,
        MarkedObjective(factor),
        stream,
        toy_section(**(QUICK | changes)),
        seed=3,
        scratch=scratch,
        bar=bar,
        sampler=Speaker(model, *speaks_at),
        validate=validate,
        best=validate is not None,
    )
    return model, result


def content(result, folder):
    """The bytes of all that is published."""
    folder.mkdir()
    result.save(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_spike_is_recorded_told_and_learnt_from(tmp_path):
    bar = Listener()
    _, result = run(tmp_path, MarkedStream({20}), bar=bar)
    assert [each["step"] for each in result.spikes] == [20]
    assert result.spikes[0]["documents"][0] == "document-19"
    assert result.spikes[0]["back_to"] is None
    assert result.bill()["spikes"] == 1
    assert "undone" not in result.metrics.column_names
    assert bar.told[0].startswith("spike at step 20: loss ")
    assert "its batch holds document-19, other-0, other-1" in bar.told[0]
    result.save(tmp_path)
    assert pq.read_table(tmp_path / "spikes.parquet").to_pylist() == result.spikes


def test_a_run_without_spikes_says_and_writes_nothing_of_them(tmp_path):
    bar = Listener()
    _, result = run(tmp_path, MarkedStream(set()), bar=bar)
    result.save(tmp_path)
    assert not bar.told
    assert not (tmp_path / "spikes.parquet").exists()
    assert "spikes" not in result.bill()


def actions(result):
    return [(each["step"], each["action"], each["back_to"]) for each in result.spikes]


def test_a_batch_that_is_left_out_leaves_no_trace(tmp_path):
    marked = MarkedStream({20, 30, 31})
    model, result = run(tmp_path / "marked", marked, on_spike="rewind")
    assert actions(result) == [(step, "left out", None) for step in (20, 30, 31)]
    assert result.metrics["undone"].to_pylist() == [
        1 if step in (20, 30, 31) else None for step in range(1, 41)
    ]
    assert set(result.seen) == {
        f"document-{step}" for step in range(40) if step + 1 not in (20, 30, 31)
    }
    # What the batch held is of no matter: with other marks the weights are the same.
    other, _ = run(tmp_path / "other", marked, factor=float("nan"), on_spike="rewind")
    assert weights_of(other) == weights_of(model)


@pytest.mark.parametrize(
    ("figures", "best"),
    [
        ({17: 1.0, 34: 1.5, 40: 1.75}, 34),  # 17 is undone
        ({8: 2.0, 17: 1.0, 34: 2.5, 40: 2.25}, 8),  # which was the best before 17 was
        ({17: 1.0, 21: 1.25, 40: 1.75}, 21),  # the weights are those of 16 again
    ],
)
def test_the_best_weights_are_not_those_that_were_undone(tmp_path, figures, best):
    step = iter(range(1, 41))
    _, result = run(
        tmp_path,
        MarkedStream({19, 20, 21}),
        validate=lambda: {"held_out": figures.get(next(step), 3.0)},
        on_spike="rewind",
        evaluate_steps=1,
        checkpoint_steps=100,
        checkpoints=1,
    )
    assert actions(result)[-1] == (21, "went back", 16)
    assert result.measured["weights_of_step"] == best
    assert list(kept_states(tmp_path)) == [best, 40]


def test_going_back_leaves_the_weights_as_if_the_batches_had_never_been(tmp_path):
    # At the third on end back to 16, the last state kept: what came since leaves no trace.
    marked = MarkedStream({19, 20, 21}, steps=21)
    model, result = run(tmp_path / "rewound", marked, on_spike="rewind")
    left_out = [(19, "left out", None), (20, "left out", None)]
    assert actions(result) == [*left_out, (21, "went back", 16)]
    assert result.metrics["undone"].to_pylist() == [None] * 16 + [1] * 5
    assert set(result.seen) == {f"document-{step}" for step in range(16)}
    cut = MarkedStream(set(), steps=21, dies_at=16)  # the same 16 steps of a schedule of 21
    with pytest.raises(ConnectionAbortedError):
        run(tmp_path / "cut", cut, checkpoint_steps=16)
    state = load_state(tmp_path / "cut")
    assert state.step == 16
    for name, value in model.state_dict().items():
        assert torch.equal(value, state.weights[name])


def test_where_a_return_has_not_helped_the_next_goes_further_back(tmp_path):
    marked = MarkedStream(set(range(18, 24)))
    _, result = run(tmp_path, marked, on_spike="rewind", rewind_steps=8)
    assert actions(result)[2::3] == [(20, "went back", 16), (23, "went back", 8)]
    apart = MarkedStream({18, 19, 20, 27, 28, 29})  # the state of 24 was kept in between
    _, result = run(tmp_path / "apart", apart, on_spike="rewind", rewind_steps=8)
    assert actions(result)[2::3] == [(20, "went back", 16), (29, "went back", 24)]


def test_what_was_learnt_between_two_returns_to_one_state_leaves_no_trace(tmp_path):
    marked = {26, 27, 28, 30, 31, 32, 34, 35, 36}

    class Otherwise(MarkedStream):
        def batch(self, step):
            return super().batch(1000 + step if step + 1 in (29, 33) else step)

    settings = {"on_spike": "rewind", "rewind_steps": 12}
    model, result = run(tmp_path / "one", MarkedStream(marked), **settings)
    other, _ = run(tmp_path / "other", Otherwise(marked), **settings)
    assert [each["back_to"] for each in result.spikes[2::3]] == [24, 12, 12]
    assert weights_of(other) == weights_of(model)


@pytest.mark.parametrize("at", [26, 28, 31, 34])
def test_a_killed_run_goes_back_to_states_from_before_the_kill(tmp_path, at):
    marked = {27, 28, 29, 30, 31, 32}  # back to 24, which is older than what is kept at 25
    settings = {"on_spike": "rewind", "rewind_steps": 8}
    model, whole = run(tmp_path / "whole", MarkedStream(marked), **settings)
    assert [each["back_to"] for each in whole.spikes[2::3]] == [24, 16]
    with pytest.raises(ConnectionAbortedError):
        run(tmp_path / "killed", MarkedStream(marked, dies_at=at), **settings)
    again, rest = run(tmp_path / "killed", MarkedStream(marked), **settings)
    assert weights_of(again) == weights_of(model)
    assert rest.spikes == whole.spikes


def test_a_run_killed_behind_a_batch_that_was_left_out_keeps_no_state_there(tmp_path):
    marked = {24, 25, 26}  # a state is due at 24, and that step was not taken
    settings = {"on_spike": "rewind", "rewind_steps": 8, "checkpoint_steps": 1}
    model, whole = run(tmp_path / "whole", MarkedStream(marked), **settings)
    assert whole.spikes[-1]["back_to"] == 16
    with pytest.raises(ConnectionAbortedError):
        run(tmp_path / "killed", MarkedStream(marked, dies_at=24), **settings)
    again, rest = run(tmp_path / "killed", MarkedStream(marked), **settings)
    assert rest.spikes == whole.spikes
    assert weights_of(again) == weights_of(model)


@pytest.mark.parametrize(
    ("factor", "on_spike"), [(20.0, "record"), (20.0, "rewind"), (float("nan"), "rewind")]
)
def test_a_run_with_spikes_and_milestones_killed_anywhere_has_the_same_bytes(
    tmp_path, factor, on_spike
):
    marked, speaks_at = {14, 22, 23, 24}, (0, 3, 14, 24, 40)
    settings = {"factor": factor, "on_spike": on_spike, "speaks_at": speaks_at}
    model, whole = run(tmp_path / "whole", MarkedStream(marked), **settings)
    assert [each["step"] for each in whole.spikes] == sorted(marked)
    assert [each["step"] for each in whole.samples] == list(speaks_at)
    for at in random.sample(range(6, 40), 4):
        scratch = tmp_path / f"{at}"  # the first state is kept after step 5
        with pytest.raises(ConnectionAbortedError):
            run(scratch, MarkedStream(marked, dies_at=at), **settings)
        again, rest = run(scratch, MarkedStream(marked), model=toy_model(seed=9), **settings)
        assert weights_of(again) == weights_of(model), f"killed at step {at}"
        assert content(rest, scratch / "out") == content(whole, tmp_path / f"whole-{at}")


def test_spikes_that_come_again_and_again_stop_the_run(tmp_path):
    with pytest.raises(RunFailed, match="again and again at step 37 after 3 returns") as failed:
        run(tmp_path, MarkedStream(set(range(23, 40))), on_spike="rewind", rewind_steps=8)
    assert "its batch holds document-36" in str(failed.value)
    assert failed.value.exit_code == 1


def test_divergence_stops_with_the_last_good_state_and_names_the_documents(tmp_path):
    diverging = MarkedStream(set(range(25, 60)), steps=60)
    settings = {"factor": 3.0, "spike_window": 16, "checkpoint_steps": 1}
    with pytest.raises(RunFailed, match="the loss has diverged at step") as failed:
        run(tmp_path, diverging, **settings)
    message = str(failed.value)
    assert "It left its course at step 25, whose batch holds document-24, other-0" in message
    assert failed.value.exit_code == 1
    good = load_state(tmp_path).step
    assert f"The last good state, after step {good}, is kept in {tmp_path}" in message
    # Five of nine losses have to rise before the state is in doubt.
    assert 24 <= good <= 28
    assert max(kept_states(tmp_path)) == good
    with pytest.raises(RunFailed) as again:  # the same command goes on from there and ends alike
        run(tmp_path, diverging, **settings)
    assert str(again.value) == message


def test_divergence_without_a_good_state_says_so_and_begins_anew(tmp_path):
    diverging = MarkedStream(set(range(25, 60)), steps=60)
    with pytest.raises(RunFailed, match="No good state was kept"):
        run(tmp_path, diverging, factor=3.0, spike_window=16, checkpoint_steps=30)
    assert load_state(tmp_path) is None


def test_a_loss_that_rises_and_comes_back_leaves_one_state(tmp_path):
    marked = MarkedStream(set(range(20, 26)))
    run(tmp_path, marked, factor=3.0, spike_window=16, checkpoint_steps=1, checkpoints=1)
    assert list(kept_states(tmp_path)) == [40]


def test_bits_per_byte_of_a_batch_counted_by_hand():
    labels = np.array([[0, 2, -100], [1, 2, 2]])
    counted = LabelBytes([0, 1, 3])  # token 0 ends a text
    # 5 labels at 0.5 nats; 0 + 3 + 1 + 3 + 3 bytes
    assert counted.bits_per_byte({"loss": 0.5}, labels) == pytest.approx(2.5 / np.log(2) / 10)
    penalised = {"loss": 0.7, "nll": 0.5}
    assert counted.bits_per_byte(penalised, labels) == pytest.approx(2.5 / np.log(2) / 10)
    assert np.isnan(counted.bits_per_byte({"loss": 0.5}, np.array([[-100]])))


def test_rates_are_logged_in_every_step(tmp_path):
    _, result = run(tmp_path, MarkedStream(set(), steps=10), learning_rate=0.01)
    factors, rates, muon = (
        result.metrics[name].to_numpy()
        for name in ("rate_factor", "learning_rate", "matrix_learning_rate")
    )
    np.testing.assert_allclose(rates, 0.01 * factors)
    np.testing.assert_allclose(muon, 0.03 * factors)
    assert "head_learning_rate" not in result.metrics.column_names  # tied


def test_undone_rows_are_left_out_of_the_losses():
    metrics = Metrics()
    for loss in (3.0, 2.0, 9.0):
        metrics.add({"loss": loss})
    metrics.undo(1)
    metrics.add({"loss": 2.5})
    assert metrics.undone() == [1, 2]
    assert list(metrics.losses()) == [(1, 3.0), (4, 2.5)]
