import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import torch
from toy_run import ToyObjective, ToyStream, toy_model, toy_train, weights_of

from volano.core.errors import MissingExtra, RunFailed
from volano.train import compute, interruption
from volano.train.checkpoint import kept_states, load_state

PROGRAM = Path(__file__).with_name("toy_run.py")


class StopAt(ToyStream):
    """Ends the process's patience at a step, as a kill between two steps would."""

    def __init__(self, at, **settings):
        super().__init__(**settings)
        self.at = at

    def batch(self, step):
        if step == self.at:
            raise ConnectionAbortedError
        return super().batch(step)


@pytest.mark.parametrize("optimiser", ["muon", "adamw"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_run_stopped_at_a_random_step_and_resumed_has_the_same_bytes(
    tmp_path, optimiser, precision
):
    changes = {"optimiser": optimiser, "precision": precision, "weight_decay": 0.1}
    straight, whole = toy_train(tmp_path / "straight", **changes)
    at = random.randrange(5, 24)  # the first state is kept after step 5
    with pytest.raises(ConnectionAbortedError):
        toy_train(tmp_path / "stopped", stream=StopAt(at), **changes)
    resumed, rest = toy_train(tmp_path / "stopped", model=toy_model(seed=9), **changes)
    assert weights_of(resumed) == weights_of(straight), f"stopped at step {at}"
    assert rest.metrics.equals(whole.metrics)
    assert rest.tokens == whole.tokens


def test_run_killed_at_a_random_moment_has_the_same_bytes(tmp_path):
    command = [sys.executable, str(PROGRAM)]
    kills = 0
    while not (tmp_path / "killed.bin").exists():
        process = subprocess.Popen(
            [*command, str(tmp_path / "killed"), str(tmp_path / "killed.bin")]
        )
        if not kills:
            _wait_for_progress(tmp_path / "killed", process)
            time.sleep(random.uniform(0, 0.2))
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait(timeout=120)
    model, _ = toy_train(tmp_path / "whole", stream=ToyStream(steps=200))
    assert kills == 1
    assert (tmp_path / "killed.bin").read_bytes() == b"".join(weights_of(model).values())


def _wait_for_progress(scratch, process):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if kept_states(scratch):
            return
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("number", "error", "words"),
    [
        (signal.SIGTERM, RunFailed, "stopped by SIGTERM after step 8"),
        (signal.SIGINT, KeyboardInterrupt, None),
    ],
)
def test_signal_keeps_the_state_first(tmp_path, number, error, words):
    class Signalling(ToyStream):
        def batch(self, step):
            if step == 7:
                os.kill(os.getpid(), number)
            return super().batch(step)

    before = signal.getsignal(number)
    with pytest.raises(error, match=words):
        toy_train(tmp_path / "stopped", stream=Signalling())
    assert load_state(tmp_path / "stopped").step == 8
    assert signal.getsignal(number) is before
    resumed, _ = toy_train(tmp_path / "stopped")
    assert weights_of(resumed) == weights_of(toy_train(tmp_path / "straight")[0])


@pytest.mark.parametrize(("later", "error"), [(0.0, RunFailed), (2.0, KeyboardInterrupt)])
def test_the_same_wish_twice_is_one_and_a_later_ctrl_c_interrupts(
    tmp_path, monkeypatch, later, error
):
    now = [100.0]
    monkeypatch.setattr(interruption, "time", SimpleNamespace(monotonic=lambda: now[0]))

    class Signalling(ToyStream):
        def batch(self, step):
            if step == 7:  # Slurm ends a job, and torchrun ends what it has started
                os.kill(os.getpid(), signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGTERM)
                now[0] += later
                os.kill(os.getpid(), signal.SIGINT)
            return super().batch(step)

    with pytest.raises(error):
        toy_train(tmp_path, stream=Signalling())
    assert load_state(tmp_path).step == (8 if error is RunFailed else 5)


def test_loss_that_is_not_finite_stops_before_the_update_and_names_documents(tmp_path):
    model = toy_model()
    with pytest.raises(RunFailed) as failed:
        toy_train(tmp_path, model=model, objective=ToyObjective(poisoned_call=6))
    assert "the loss is not finite at step 7; its batch holds document-6, other-0" in str(
        failed.value
    )
    assert "and 2 more" in str(failed.value)
    assert failed.value.exit_code == 1
    assert load_state(tmp_path).step == 6
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


@pytest.mark.parametrize("parts", [2, 4, 6])
def test_accumulated_micro_batches_give_the_step_of_the_whole_batch(tmp_path, parts):
    runs = [
        toy_train(
            tmp_path / str(count),
            stream=ToyStream(steps=3),
            objective=ToyObjective(dropout=0.0),
            accumulate=count,
            optimiser="adamw",
            precision="float32",
        )[0]
        for count in (1, parts)
    ]
    for whole, accumulated in zip(*(run.parameters() for run in runs), strict=True):
        torch.testing.assert_close(whole, accumulated, rtol=2e-4, atol=2e-5)


def test_training_learns_what_is_there_to_learn(tmp_path):
    _, result = toy_train(
        tmp_path, stream=ToyStream(steps=120, rows=16), objective=ToyObjective(dropout=0.0)
    )
    losses = result.metrics["loss"].to_pylist()
    # About ln 50 = 3.9 at the start; every second token is certain, so half can be learnt away.
    assert losses[0] > 3.6
    assert losses[-1] < 2.9


def test_metrics_have_a_row_per_step_and_validation_where_it_was_due(tmp_path):
    _, result = toy_train(
        tmp_path, validate=lambda: {"validation": 1.5}, evaluate_steps=10, clip_norm=0.5
    )
    rows = result.metrics.to_pylist()
    assert [row["step"] for row in rows] == list(range(1, 25))
    assert [row["step"] for row in rows if row["validation"] is not None] == [10, 20, 24]
    assert all(row["half"] == pytest.approx(row["loss"] / 2) for row in rows)
    assert result.tokens == 24 * 6 * 12
    result.save(tmp_path)
    assert pq.read_table(tmp_path / "metrics.parquet").equals(result.metrics)
    seen = pq.read_table(tmp_path / "seen.parquet").to_pylist()
    assert seen[0] == {"id": "document-0", "tokens": 72}
    assert len(seen) == 24


def test_finished_run_started_again_trains_no_further(tmp_path):
    first, _ = toy_train(tmp_path)
    again, result = toy_train(tmp_path, stream=StopAt(0))
    assert weights_of(again) == weights_of(first)
    assert result.metrics.num_rows == 24


def test_compile_without_a_compiler_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(MissingExtra, match=r"no C\+\+ compiler found"):
        toy_train(tmp_path, compile=True)


def test_threads_and_type_are_as_before_after_the_run(tmp_path):
    before = torch.get_num_threads()
    model, result = toy_train(tmp_path, threads=1, precision="bfloat16")
    assert torch.get_num_threads() == before
    assert model.compute_dtype == torch.float32
    assert result.measured["threads"] == 1


@pytest.mark.parametrize(
    ("amx", "avx512_bf16", "processor", "dtype"),
    [
        (False, True, "znver4", torch.bfloat16),
        (True, True, "sapphirerapids", torch.bfloat16),
        (False, True, "emeraldrapids", torch.float32),  # a virtual machine that hides AMX
        (False, False, "znver3", torch.float32),
    ],
)
def test_auto_multiplies_in_bfloat16_only_where_that_is_faster(
    monkeypatch, amx, avx512_bf16, processor, dtype
):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr(compute, "get_host_cpu_name", lambda: processor)
    assert compute.compute_dtype("auto") == dtype
    assert compute.compute_dtype("bfloat16") == torch.bfloat16
    assert compute.compute_dtype("float32") == torch.float32
