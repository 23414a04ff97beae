"""A small training run for the tests, also run as a program of its own that a test can kill.

python toy_run.py SCRATCH WEIGHTS_OUT
"""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from volano.model.decoder import Decoder, DecoderConfig, initialise
from volano.model.likelihood import mean_nll
from volano.train.loop import train
from volano.train.objective import LossOutput
from volano.train.section import TrainSection

CONFIG = DecoderConfig(
    vocabulary=50,
    width=16,
    layers=2,
    heads=2,
    key_value_heads=1,
    feed_forward=32,
    context=12,
)


class ToyBatch(NamedTuple):
    tokens_BT: object
    labels_BT: object


class ToyStream:
    def __init__(self, steps=24, rows=6):
        self.steps, self.rows = steps, rows

    def batch(self, step):
        drawn = np.random.default_rng(step).integers(0, 50, (self.rows, CONFIG.context + 1))
        drawn[:, 1::2] = drawn[:, 0:-1:2]  # something to learn: every second token repeats
        return ToyBatch(drawn[:, :-1].copy(), drawn[:, 1:].copy())

    def documents(self, until_step, *, without=()):
        return {f"document-{step}": 72 for step in range(until_step) if step not in without}

    def documents_at(self, step):
        return [f"document-{step}", *(f"other-{place}" for place in range(6))]


class ToyObjective:
    """Next-token loss with dropout on the states, so that randomness matters to the weights."""

    def __init__(self, poisoned_call=None, dropout=0.1):
        self.calls, self.poisoned_call, self.dropout = 0, poisoned_call, dropout

    def loss(self, model, batch):
        hidden = torch.nn.functional.dropout(model.hidden(batch.tokens_BT), self.dropout)
        loss = mean_nll(hidden, model.head_weight, batch.labels_BT)
        if self.calls == self.poisoned_call:
            loss = loss * float("nan")
        self.calls += 1
        return LossOutput(loss, {"half": loss.detach() / 2}, weight=batch.labels_BT.numel())


def toy_model(seed=0):
    model = Decoder(CONFIG)
    initialise(model, seed)
    return model


def toy_section(**changes):
    return TrainSection(**({"threads": 1, "checkpoint_steps": 5} | changes))


def toy_train(
    scratch, model=None, stream=None, objective=None, validate=None, best=False, **changes
):
    model = model or toy_model()
    result = train(
        model,
        objective or ToyObjective(),
        stream or ToyStream(),
        toy_section(**changes),
        seed=3,
        scratch=scratch,
        validate=validate,
        best=best,
    )
    return model, result


def weights_of(model):
    return {name: value.numpy().tobytes() for name, value in model.state_dict().items()}


def main(scratch: str, out: str) -> None:
    stream = ToyStream(steps=200)
    model, _ = toy_train(Path(scratch), stream=stream, checkpoint_steps=3)
    unfinished = Path(out).with_suffix(".tmp")
    unfinished.write_bytes(b"".join(weights_of(model).values()))
    unfinished.rename(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
