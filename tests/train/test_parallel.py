"""Many processes learn what one learns; the grid of all kinds is in benchmarks/parallel_proof.py.

Starting processes takes most of the time, so the runs of as many share them.
"""

import sys
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as processes
from shared_run import shared_train, stopping_member

from volano.train.checkpoint import load_state
from volano.train.parallel_plan import Plan

# By path, so that the processes that are started find it too.
sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import parallel_proof as proof

# Stated in docs/parallel.md: of loss and gradient norm relative, of weights absolute.
BOUNDS = {"float64": (1e-8, 1e-8, 1e-8), "float32": (1e-5, 1e-5, None)}


def check(cases):
    for case, found in proof.proven(cases).items():
        loss, norm, weight = BOUNDS[case.precision]
        assert found.loss < loss, case
        assert found.norm < norm, case
        assert weight is None or found.weight < weight, case


def test_two_processes_learn_what_one_learns_in_each_kind():
    check(
        [
            proof.Case(Plan(data=2)),
            proof.Case(Plan(data=2), "adamw", "float32", activations="recomputed"),
            proof.Case(Plan(shard=2), tied=False, activations="recomputed"),
            proof.Case(Plan(tensor=2)),
            proof.Case(Plan(pipeline=2)),
        ]
    )


@pytest.mark.whole
def test_four_processes_learn_what_one_learns_in_combinations():
    check([proof.Case(Plan(data=2, tensor=2)), proof.Case(Plan(data=2, pipeline=2))])


@pytest.mark.parametrize(
    "plan",
    [
        Plan(shard=2),
        pytest.param(Plan(data=2), marks=pytest.mark.long),
        pytest.param(Plan(pipeline=2), marks=pytest.mark.long),
    ],
)
def test_another_number_of_processes_goes_on_to_the_same_weights(tmp_path, plan):
    straight, _ = shared_train(Plan(), tmp_path / "straight")
    with pytest.raises(ConnectionAbortedError):
        shared_train(Plan(), tmp_path / "scratch", stop_at=11)  # kept after step 8
    processes.spawn(stopping_member, (tmp_path, plan, 19), nprocs=2)
    assert load_state(tmp_path / "scratch").step == 16
    model, result = shared_train(Plan(), tmp_path / "scratch")
    assert result.steps == 24
    for name, value in straight.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=0, atol=1e-8)


@pytest.mark.long
@pytest.mark.parametrize("processes", [2, 4])
def test_whole_grid_of_plans_optimisers_and_types(processes):
    plans = [plan for plan in proof.PLANS if plan.processes == processes]
    check(proof.grid(plans))
