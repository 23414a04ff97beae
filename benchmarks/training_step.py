"""Tokens a second of a training step, beside transformers' Llama of the same shape.

    python benchmarks/training_step.py [--quick] [--json] [--at-once N]

The model is that of `laptop/python-docs`, random, on random tokens; a step is forward, loss,
backward and update. Every side is a process of its own, and the sides take turns: a round is one
run of each, and the figures are medians over the rounds. `spins`: GOMP_SPINCOUNT, after how many
turns an idle OpenMP thread goes to sleep; `torch's own` leaves it unset. `--at-once 2` runs each
side twice at the same time and gives the speed of one.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch

ROWS, CONTEXT, VOCABULARY, WIDTH, LAYERS, HEADS, FEED_FORWARD = 16, 128, 8192, 192, 4, 3, 576
OWN_SPINS = "torch's own"


class Side(NamedTuple):
    """What is measured, in a process of its own."""

    model: str  # volano or transformers
    dtype: str
    optimiser: str
    spins: str


SIDES = (
    Side("volano", "float32", "muon", "3000"),
    Side("volano", "bfloat16", "muon", "3000"),
    Side("volano", "float32", "muon", "1000"),
    Side("volano", "float32", "muon", "10000"),
    Side("volano", "float32", "muon", OWN_SPINS),
    Side("volano", "float32", "adamw", "3000"),
    Side("transformers", "float32", "adamw", OWN_SPINS),
    Side("transformers", "bfloat16", "adamw", OWN_SPINS),
)


def main() -> None:
    """Measure every side and print a row per side, or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one round of two steps")
    parser.add_argument("--json", action="store_true", help="rows as JSON")
    parser.add_argument("--at-once", type=int, default=1, help="processes of a side at a time")
    parser.add_argument("--side", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    rounds, steps = (1, 2) if options.quick else (5, 15)
    if options.side is not None:
        print(_measured(SIDES[options.side], steps))
        return
    measured = [side for side in SIDES if find_spec(side.model)]
    for missing in sorted({side.model for side in SIDES} - {side.model for side in measured}):
        print(f"{missing} is not installed and left out: pip install {missing}", file=sys.stderr)
    speeds: dict[Side, list[float]] = {side: [] for side in measured}
    for _ in range(rounds):
        for place, side in ((SIDES.index(side), side) for side in measured):
            speeds[side].append(_run(place, side, options.at_once, quick=options.quick))
    ours = median(speeds[SIDES[0]])
    rows = [
        {
            **side._asdict(),
            "tokens_per_second": round(median(found)),
            "spread": f"{min(found):.0f}–{max(found):.0f}",
            "first_over_it": round(ours / median(found), 2),
        }
        for side, found in speeds.items()
    ]
    print(json.dumps(rows, indent=2) if options.json else _table(rows, options.at_once))


def _run(place: int, side: Side, at_once: int, *, quick: bool) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    if side.spins != OWN_SPINS:
        environment["GOMP_SPINCOUNT"] = side.spins
    command = [sys.executable, __file__, "--side", str(place), *(["--quick"] if quick else [])]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(at_once)
    ]
    said = [process.communicate()[0] for process in running]
    return sum(map(float, said)) / at_once


def _measured(side: Side, steps: int) -> float:
    import torch  # first, or `import volano` would set the spin count

    torch.manual_seed(1)
    tokens_BT = torch.randint(0, VOCABULARY, (ROWS, CONTEXT + 1))
    step = (_volano if side.model == "volano" else _transformers)(side, tokens_BT)
    for _ in range(3):
        step()
    began = time.perf_counter()
    for _ in range(steps):
        step()
    return steps * ROWS * CONTEXT / (time.perf_counter() - began)


def _volano(side: Side, tokens_BT: "torch.Tensor") -> Callable[[], None]:
    import torch

    from volano.model.decoder import Decoder, DecoderConfig, initialise
    from volano.model.likelihood import mean_nll
    from volano.train.optimiser import Optimiser
    from volano.train.section import TrainSection

    dtype = getattr(torch, side.dtype)
    config = DecoderConfig(
        vocabulary=VOCABULARY,
        width=WIDTH,
        layers=LAYERS,
        heads=HEADS,
        key_value_heads=HEADS,
        feed_forward=FEED_FORWARD,
        context=CONTEXT,
        tied=False,
    )
    model = Decoder(config).compute_in(dtype)
    initialise(model, seed=1)
    optimiser = Optimiser(model, TrainSection(optimiser=side.optimiser), dtype)
    document_BT = torch.zeros(ROWS, CONTEXT, dtype=torch.long)

    def step() -> None:
        hidden_BTD = model.hidden(tokens_BT[:, :-1], document_BT)
        mean_nll(hidden_BTD, model.head_weight, tokens_BT[:, 1:]).backward()
        optimiser.step(1.0)

    return step


def _transformers(side: Side, tokens_BT: "torch.Tensor") -> Callable[[], None]:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        intermediate_size=FEED_FORWARD,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    inputs_BT = tokens_BT[:, :-1]

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=side.dtype == "bfloat16"):
            loss = model(input_ids=inputs_BT, labels=inputs_BT).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def _table(rows: list[dict[str, object]], at_once: int) -> str:
    lines = [f"{os.cpu_count()} cores, {at_once} process(es) of a side at a time"]
    for row in rows:
        name = f"{row['model']} {row['dtype']} {row['optimiser']}, spins {row['spins']}"
        lines.append(
            f"{name:<48} {row['tokens_per_second']:>6} tokens/s  ({row['spread']})"
            f"  first/it {row['first_over_it']}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
