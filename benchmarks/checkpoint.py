"""What keeping a state costs a run: written beside it, and with the run waiting.

    python benchmarks/checkpoint.py [--parameters 1M --parameters 10M] [--precision P] [--json]

Random tokens, context 512, 16k vocabulary, 8 rows a step, Muon; on the disk of --folder. Runs that
keep no state, that keep one every `--every` steps, and that wait until it is written take turns.
`stands still` is the time in which training waits for the copy, as a share of a step; `costs` is
all that a state adds to the run, the writer's share of the cores included, likewise. Medians over
rounds, with the least and the most.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np

from volano.core.recipe import read_count
from volano.model.decoder import Decoder, initialise
from volano.model.shape import shape_for
from volano.pretrain.objective import LanguageModelling
from volano.text.stream import Batch
from volano.train.keeper import Keeper
from volano.train.loop import train
from volano.train.section import TrainSection

CONTEXT, VOCABULARY, ROWS = 512, 16_384, 8
WARM_UP = 2
RUNS = ("none", "beside", "waiting")


class Tokens:
    """Random rows, and when each batch was asked for."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.called: list[float] = []

    def batch(self, step: int) -> Batch:
        self.called.append(time.perf_counter())
        tokens_BT = np.random.default_rng(step).integers(0, VOCABULARY, (ROWS, CONTEXT))
        return Batch(tokens_BT, tokens_BT, np.zeros_like(tokens_BT))

    def documents(self, until_step: int, *, without: Any = ()) -> dict[str, int]:
        return {}

    def documents_at(self, step: int) -> list[str]:
        return []


class Waiting(Keeper):
    """Keeps a state as one would without a thread."""

    def keep(self, state: Any) -> None:
        super().keep(state)
        began = time.perf_counter()
        self.wait()
        self.seconds += time.perf_counter() - began


def main() -> None:
    """Measure each size and print it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--parameters", action="append", help="default: 1M and 10M")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--every", type=int, default=4, help="steps between states")
    parser.add_argument("--states", type=int, default=2, help="of a run")
    parser.add_argument("--folder", type=Path, help="on the disk that is written to")
    parser.add_argument("--quick", action="store_true", help="one round, one state")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.states = 1, 1
    found = [measured(each, options) for each in options.parameters or ["1M", "10M"]]
    print(json.dumps(found, indent=2) if options.json else "\n".join(map(told, found)))


def measured(parameters: str, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a step, and shares of it by run, one per round."""
    count = read_count(parameters)
    assert count is not None, parameters
    still: dict[str, list[float]] = {name: [] for name in RUNS[1:]}
    costs: dict[str, list[float]] = {name: [] for name in RUNS[1:]}
    steps_seconds, kept_bytes = [], 0
    for _ in range(options.rounds):
        quiet, _, _ = run(count, "none", options)
        step = quiet / (options.every * options.states)
        steps_seconds.append(step)
        for name in RUNS[1:]:
            seconds, stood, kept_bytes = run(count, name, options)
            still[name].append(stood / options.states / step)
            costs[name].append((seconds - quiet) / options.states / step)
    return {
        "parameters": parameters,
        "step_seconds": median(steps_seconds),
        "state_bytes": kept_bytes,
        "stands_still": still,
        "costs": costs,
    }


def run(parameters: int, how: str, options: argparse.Namespace) -> tuple[float, float, int]:
    """Seconds of the steps behind the first few, those that training stood still, bytes kept."""
    model = Decoder(shape_for(parameters, VOCABULARY, CONTEXT))
    initialise(model, seed=1)
    # After the last state the steps go on, so that all of its writing falls into the run.
    stream = Tokens(WARM_UP + options.every * (options.states + 1))
    every = options.every if how != "none" else 1_000
    section = TrainSection(
        batch_rows=ROWS, precision=options.precision, checkpoint_steps=every, diverged_factor=0.0
    )
    kind = Waiting if how == "waiting" else Keeper
    with (
        patch("volano.train.loop.Keeper", kind),
        tempfile.TemporaryDirectory(dir=options.folder) as folder,
    ):
        result = train(
            model, LanguageModelling(), stream, section, seed=1, scratch=Path(folder) / "scratch"
        )
        kept = [each.stat().st_size for each in Path(folder).rglob("*.safetensors")]
    first, last = options.every, options.every * (options.states + 1)
    seconds = stream.called[last] - stream.called[first]
    # The state behind the last step is not of those that are measured.
    states = len({*range(every, stream.steps + 1, every), stream.steps})
    return seconds, result.measured["keeping_seconds"] * options.states / states, sum(kept) // 2


def told(found: dict[str, Any]) -> str:
    """A size as lines of text."""
    lines = [
        f"{found['parameters']} parameters: a step {found['step_seconds']:.2f} s, a state "
        f"{found['state_bytes'] / 1e6:,.0f} MB"
    ]
    for name in RUNS[1:]:
        shares = [
            f"{what} {median(values):.1%} of a step ({min(values):.1%} to {max(values):.1%})"
            for what, values in (
                ("stands still", found["stands_still"][name]),
                ("costs", found["costs"][name]),
            )
        ]
        lines.append(f"  {name:8} {', '.join(shares)}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
