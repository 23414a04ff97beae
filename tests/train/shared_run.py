"""A small run on several processes that stops before a step, to be gone on with by another number.

Spikes are looked for and weights kept to go back to, so that all that a state may hold is in it.
"""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch.distributed as dist
from toy_run import CONFIG, ToyObjective, ToyStream, toy_train

from volano.model.decoder import Decoder, initialise
from volano.train.distributed import WorkDone
from volano.train.parallel_plan import Plan


class Stopping(ToyStream):
    def __init__(self, at):
        super().__init__(rows=8)
        self.at = at

    def batch(self, step):
        if step == self.at:
            raise ConnectionAbortedError
        return super().batch(step)


def shared_train(plan: Plan, scratch: Path, stop_at: int | None = None):
    model = Decoder(replace(CONFIG, key_value_heads=2))  # which tensor parallel can split
    initialise(model, 0)
    return toy_train(
        scratch,
        model=model.double(),
        stream=Stopping(stop_at),
        objective=ToyObjective(dropout=0.0),
        precision="float64",
        accumulate=2,
        checkpoint_steps=4,
        on_spike="rewind",
        rewind_steps=3,
        parallel=plan._asdict(),
    )


def stopping_member(rank: int, folder: Path, plan: Plan, stop_at: int | None) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet-{stop_at}", rank=rank, world_size=plan.processes
    )
    with suppress(ConnectionAbortedError, WorkDone):
        shared_train(plan, folder / "scratch", stop_at)
    dist.destroy_process_group()
