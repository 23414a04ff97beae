"""What only a GPU can tell: left out of `make test`, run by `python -m pytest -m gpu`.

None of it has been run: no machine of ours has a GPU (benchmarks/gpu.md).
"""

import json
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
import torch
from tiny_decoder import FAMILY_FEATURES, tiny_decoder
from toy_run import ToyObjective, ToyStream, toy_model, toy_train
from wheel_on_device import started

from volano.core.store import Store
from volano.model import decoder as decoders
from volano.model.device import device_of
from volano.model.generate import generate
from volano.model.likelihood import mean_nll
from volano.model.score import score
from volano.train.energy import energy_counter
from volano.train.measured import matmul_ceiling

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]
FLOAT32 = {"rtol": 2e-4, "atol": 2e-4}


def learnt(model, device):
    model.to(device)
    tokens_BT = (torch.arange(256).view(2, 128) % 50).to(device)
    document_BT = (torch.arange(128) // 45).expand(2, 128).to(device)
    loss = mean_nll(model.hidden(tokens_BT, document_BT), model.head_weight, tokens_BT)
    gradients = torch.autograd.grad(loss, [*model.parameters()])
    return loss.cpu(), [each.cpu() for each in gradients]


@pytest.mark.parametrize("blocks", [True, False])
@pytest.mark.parametrize("family", FAMILY_FEATURES)
def test_loss_and_gradients_are_those_of_the_processor(monkeypatch, family, blocks):
    if not blocks:
        monkeypatch.setattr(decoders, "takes_blocks", lambda *about: False)
    changed = FAMILY_FEATURES[family] | {"width": 64, "head_width": 32, "context": 128}
    loss, gradients = learnt(tiny_decoder(family=family, **changed), "cpu")
    other, others = learnt(tiny_decoder(family=family, **changed), "cuda")
    torch.testing.assert_close(other, loss, **FLOAT32)
    for one, another in zip(gradients, others, strict=True):
        torch.testing.assert_close(another, one, **FLOAT32)


def test_answers_and_scores_are_those_of_the_processor():
    prompts = [[3, 1, 4], [1, 5, 9, 2, 6], [5]]
    pairs = [([3, 1], [4, 1]), ([3, 1], [5]), ([9, 2], [6])]
    here, there = tiny_decoder(), tiny_decoder().to("cuda")
    expected = [each.tokens for each in generate(here, prompts, max_new_tokens=20)]
    assert [each.tokens for each in generate(there, prompts, max_new_tokens=20)] == expected
    torch.testing.assert_close(
        torch.tensor(score(there, pairs)), torch.tensor(score(here, pairs)), **FLOAT32
    )


@pytest.mark.parametrize("optimiser", ["muon", "adamw"])
def test_a_run_learns_as_on_the_processor_and_counts_memory_and_energy(tmp_path, optimiser):
    results = {}
    for name in ("cpu", "cuda"):
        _, results[name] = toy_train(
            tmp_path / name,
            toy_model().to(name),
            objective=ToyObjective(dropout=0.0),
            optimiser=optimiser,
            precision="float32",
        )
    losses = {name: each.metrics["loss"].to_pylist() for name, each in results.items()}
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=1e-3)
    bill = results["cuda"].bill()
    assert bill["peak_device_memory_bytes"] > 0
    assert bill.get("joules", bill.get("joules_estimated")) > 0


def test_a_stopped_run_goes_on_as_if_it_had_not(tmp_path):
    class Stopping(ToyStream):
        def batch(self, step):
            if step == 13:
                raise ConnectionAbortedError
            return super().batch(step)

    settings = {"on_spike": "rewind", "rewind_steps": 4}
    whole, _ = toy_train(tmp_path / "whole", toy_model().to("cuda"), **settings)
    with pytest.raises(ConnectionAbortedError):
        toy_train(tmp_path / "two", toy_model().to("cuda"), Stopping(), **settings)
    again, _ = toy_train(tmp_path / "two", toy_model().to("cuda"), **settings)
    for one, another in zip(whole.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(another, one, rtol=1e-5, atol=1e-6)


def test_bfloat16_and_recomputed_activations_learn(tmp_path):
    settings = {"precision": "bfloat16", "activations": "recomputed"}
    _, result = toy_train(tmp_path, toy_model().to("cuda"), ToyStream(steps=60), **settings)
    losses = result.metrics["loss"].to_pylist()
    assert losses[-1] < losses[0]


def test_compiled_training_learns_the_same(tmp_path):
    losses = []
    for compiled in (False, True):
        _, result = toy_train(
            tmp_path / str(compiled),
            toy_model().to("cuda"),
            objective=ToyObjective(dropout=0.0),
            compile=compiled,
            precision="float32",
        )
        losses.append(result.metrics["loss"].to_pylist())
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_every_phase_runs_on_the_device(tmp_path):
    program = started(tmp_path / "wheel", "cuda")
    out, errors = program.communicate(timeout=600)
    assert program.returncode == 0, errors[-2000:]
    assert "report/report.json" in json.loads(out)["files"]


def test_the_device_counts_its_energy_and_multiplies_faster_than_a_processor():
    device = device_of("cuda")
    counter = energy_counter(watts_per_core=10.0, watts_per_device=300.0, device=device)
    before = counter.joules()
    assert matmul_ceiling(torch.float32, device) > matmul_ceiling(
        torch.float32, torch.device("cpu")
    )
    assert counter.joules() > before


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one CUDA device")
@pytest.mark.parametrize("axis", ["data", "shard", "tensor"])
def test_two_processes_over_nccl_learn_what_one_learns(tmp_path, axis):
    settings = [
        "pretrain.precision=float32",
        "evaluate=off",
        "finetune=off",
        "align=off",
        "turn=off",
        "users=off",
        "pretrain.tokens=50k",
        "device=cuda",
    ]
    losses = []
    for parallel in ([], [f"pretrain.parallel.{axis}=2"]):
        store = tmp_path / f"runs-{len(parallel)}"
        command = [sys.executable, "-m", "volano", "run", "tiny/python-docs", *settings, *parallel]
        done = subprocess.run(
            [*command, "--store", str(store)], capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, done.stderr[-2000:]
        base = Store(store).find("tiny-python-docs/base")
        losses.append(pq.read_table(base.folder / "metrics.parquet")["loss"].to_pylist())
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
