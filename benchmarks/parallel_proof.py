"""Proof that many processes learn what one learns: 20 steps of each kind against one process.

    python benchmarks/parallel_proof.py

prints, for each plan and type, the largest relative difference of loss and of gradient norm over
the steps, with AdamW and with Muon, and in float64 the largest difference of a final weight. Rows
hold unequal many labels, so that a mean of means would be off; all runs accumulate micro-batches.

The processes run on this machine and talk through gloo. A few minutes on two cores.
"""

import argparse
import socket
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as processes

from volano.model.decoder import Decoder, DecoderConfig, initialise
from volano.pretrain.objective import LanguageModelling
from volano.text.stream import IGNORED_LABEL, Batch
from volano.train.distributed import WorkDone
from volano.train.loop import train
from volano.train.parallel_plan import Plan
from volano.train.section import ParallelSection, TrainSection

STEPS = 20
CONFIG = DecoderConfig(
    vocabulary=61,
    width=32,
    layers=4,
    heads=8,
    key_value_heads=4,
    feed_forward=48,
    context=11,  # odd: stretches of a row are of unequal length
    qk_norm=True,
)
PLANS = [
    Plan(data=2),
    Plan(shard=2),
    Plan(tensor=2),
    Plan(pipeline=2),
    Plan(data=4),
    Plan(shard=4),
    Plan(tensor=4),
    Plan(pipeline=4),
    Plan(data=2, shard=2),
    Plan(data=2, tensor=2),
    Plan(data=2, pipeline=2),
    Plan(tensor=2, pipeline=2),
]


class Case(NamedTuple):
    """One run: what it is shared by, and what it computes."""

    plan: Plan
    optimiser: str = "muon"
    precision: str = "float64"
    tied: bool = True
    activations: str = "kept"

    def alone(self) -> "Case":
        """The same run in one process."""
        return self._replace(plan=Plan(), activations="kept")


class Course(NamedTuple):
    """How a run went."""

    losses: list[float]
    norms: list[float]
    weights: dict[str, np.ndarray[Any, Any]]


@dataclass
class Rows:
    """Batches with something to learn, with documents, and with labels left out at random."""

    rows: int
    steps: int = STEPS

    def batch(self, step: int) -> Batch:
        draw = np.random.default_rng(step)
        drawn = draw.integers(0, CONFIG.vocabulary, (self.rows, CONFIG.context + 1))
        drawn[:, 1::2] = drawn[:, 0:-1:2]
        labels_BT = drawn[:, 1:].copy()
        # The first rows lose most: whoever reads them weighs least.
        left_out = draw.random(labels_BT.shape) > np.linspace(0.1, 1.0, self.rows)[:, None]
        labels_BT[left_out] = IGNORED_LABEL
        document_BT = (draw.random(labels_BT.shape) < 0.2).cumsum(axis=1)
        return Batch(drawn[:, :-1].copy(), labels_BT, document_BT)

    def documents(self, until_step: int, *, without: Iterable[int] = ()) -> dict[str, int]:
        return {"all": until_step}

    def documents_at(self, step: int) -> list[str]:
        return ["all"]


def run(case: Case, rows: int, scratch: Path, steps: int = STEPS) -> Course:
    """The course of one run, for the first process. Raises WorkDone in the others."""
    model = Decoder(replace(CONFIG, tied=case.tied))
    initialise(model, seed=1)
    if case.precision == "float64":
        model.double()
    section = TrainSection(
        batch_rows=rows,
        accumulate=max(2, case.plan.pipeline),
        optimiser=case.optimiser,
        precision=case.precision,
        activations=case.activations,
        weight_decay=0.1,
        threads=1,
        parallel=ParallelSection(**case.plan._asdict()),
    )
    stream = Rows(rows, steps)
    result = train(model, LanguageModelling(1e-4), stream, section, seed=3, scratch=scratch)
    return Course(
        result.metrics["loss"].to_pylist(),
        result.metrics["gradient_norm"].to_pylist(),
        {name: value.double().numpy() for name, value in model.state_dict().items()},
    )


def rows_of(plan: Plan) -> int:
    """Rows of a batch: where they need not divide, they do not."""
    return 32 if plan.pipeline > 1 else 27


def courses(cases: list[Case], scratch: Path) -> list[Course]:
    """The courses of runs that all take the same number of processes."""
    (count,) = {case.plan.processes for case in cases}
    if count == 1:
        return [run(case, rows, scratch / str(n)) for n, (case, rows) in enumerate(_sized(cases))]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    processes.spawn(_member, (count, port, cases, scratch), nprocs=count)
    return [torch.load(scratch / f"{n}.pt", weights_only=False) for n in range(len(cases))]


def _sized(cases: list[Case]) -> Iterator[tuple[Case, int]]:
    for case in cases:
        yield case, rows_of(case.plan)


def _member(rank: int, count: int, port: int, cases: list[Case], scratch: Path) -> None:
    dist.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=count
    )
    for number, (case, rows) in enumerate(_sized(cases)):
        try:
            course = run(case, rows, scratch / str(number))
        except WorkDone:
            continue
        torch.save(course, scratch / f"{number}.pt")
    dist.destroy_process_group()


class Differences(NamedTuple):
    """How far two courses are apart: relative, relative, and absolute."""

    loss: float
    norm: float
    weight: float


def differences(one: Course, other: Course) -> Differences:
    """The largest of each, over all steps and weights."""

    def relative(left: list[float], right: list[float]) -> float:
        return max(abs(a - b) / abs(b) for a, b in zip(left, right, strict=True))

    return Differences(
        relative(one.losses, other.losses),
        relative(one.norms, other.norms),
        max(float(np.abs(one.weights[n] - other.weights[n]).max()) for n in other.weights),
    )


def proven(cases: list[Case]) -> dict[Case, Differences]:
    """Each case against one process; all of one number of processes."""
    with tempfile.TemporaryDirectory() as folder:
        found = courses(cases, Path(folder))
    compared = {}
    alone: dict[tuple[Case, int], Course] = {}
    for case, course in zip(cases, found, strict=True):
        key = case.alone(), rows_of(case.plan)
        if key not in alone:
            with tempfile.TemporaryDirectory() as folder:
                alone[key] = run(key[0], key[1], Path(folder))
        compared[case] = differences(course, alone[key])
    return compared


def grid(plans: Iterable[Plan] = PLANS) -> list[Case]:
    """Every plan with every optimiser in every type."""
    return [
        Case(plan, optimiser, precision)
        for plan in plans
        for optimiser in ("adamw", "muon")
        for precision in ("float64", "float32")
    ]


def main() -> None:
    """Print the table of docs/parallel.md."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print("| | float64: loss | gradient norm | weights | float32: loss | gradient norm |")
    print("|---|---|---|---|---|---|")
    for plan in PLANS:
        compared = proven(grid([plan]))
        row = [" × ".join(f"`{axis}` {n}" for axis, n in plan._asdict().items() if n > 1)]
        for precision, figures in (("float64", 3), ("float32", 2)):
            found = [each for case, each in compared.items() if case.precision == precision]
            row += [f"{max(column):.0e}" for column in list(zip(*found, strict=True))[:figures]]
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
