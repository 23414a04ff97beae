"""Many processes learn what one learns; the grid of all kinds is in benchmarks/parallel_proof.py.

Starting processes takes most of the time, so the runs of as many share them.
"""

import sys
from pathlib import Path

import pytest

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


def test_four_processes_learn_what_one_learns_in_combinations():
    check([proof.Case(Plan(data=2, tensor=2)), proof.Case(Plan(data=2, pipeline=2))])


@pytest.mark.long
@pytest.mark.parametrize("processes", [2, 4])
def test_whole_grid_of_plans_optimisers_and_types(processes):
    plans = [plan for plan in proof.PLANS if plan.processes == processes]
    check(proof.grid(plans))
