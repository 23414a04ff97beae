"""How fast this machine trains a given model: some steps of the real loop on random tokens.

A matmul's speed would say little: small models spend most of a step elsewhere. Each step's time is
taken between two calls for a batch, so that gradient clipping, optimiser and metrics are in it.
Processor time is taken too: it tells a slow machine from one that others keep busy.

Shapes: B rows or pairs, S = 2 sides, T tokens.
"""

import time
from collections.abc import Collection, Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from volano.align.objective import PreferenceObjective
from volano.align.pairs import PairBatch
from volano.align.section import AlignSection
from volano.core.errors import RunFailed
from volano.core.step import Device
from volano.finetune.section import FinetuneSection
from volano.finetune.sft import AnswerObjective
from volano.model.config import DecoderConfig
from volano.model.decoder import Decoder, initialise
from volano.model.device import device_of
from volano.pretrain.objective import LanguageModelling
from volano.text.stream import IGNORED_LABEL, Batch
from volano.train.adapting import begin_adapter
from volano.train.interruption import Stopped
from volano.train.loop import train
from volano.train.objective import Objective
from volano.train.section import AdaptedSection, TrainSection

WARM_UP = 3  # steps in which memory is first touched and kernels are chosen
LEAST, MOST = 6, 60  # steps that are timed
SECONDS = 2.0  # to spend on them
DOCUMENTS = 4  # in a row
LABELLED = 0.5  # of the tokens of a conversation or pair: about what an answer is of it


class Measured(NamedTuple):
    """Tokens a second, padding included, as bills count them."""

    tokens_per_second: float
    tokens_per_processor_second: float
    steps: int


def measure_rate(
    shape: DecoderConfig,
    section: TrainSection,
    *,
    row_tokens: int,
    workers: int = 0,
    device: Device = "auto",
    seconds: float = SECONDS,
) -> Measured:
    """The rate of that section's training, timed for about so many seconds. `row_tokens` is the
    width of its rows, or of a side of its pairs.

    Raises RunFailed on SIGTERM, KeyboardInterrupt on Ctrl-C.
    """
    try:
        each, of_processor = _timed(shape, section, row_tokens, workers, WARM_UP + 2, device)
        steps = 1
        if each < seconds:  # one long step tells as much as many short ones
            steps = max(LEAST, min(MOST, round(seconds / each)))
            steps_in_all = steps + WARM_UP
            each, of_processor = _timed(shape, section, row_tokens, workers, steps_in_all, device)
    except Stopped as stop:  # it trains for the clock alone, and there is nothing to go on with
        raise RunFailed(
            f"stopped by {stop.signal_name} while it measured", "plan", "Nothing was made."
        ) from None
    tokens = _tokens(section, row_tokens)
    return Measured(tokens / each, tokens / of_processor, steps)


def _tokens(section: TrainSection, row_tokens: int) -> int:
    sides = 2 if isinstance(section, AlignSection) else 1
    return section.batch_rows * sides * row_tokens


def _timed(
    shape: DecoderConfig,
    section: TrainSection,
    row_tokens: int,
    workers: int,
    steps: int,
    device: Device,
) -> tuple[float, float]:
    """Seconds and processor seconds of a step, medians after the first few."""
    called = train_on_random_tokens(
        shape, section, row_tokens, steps=steps, workers=workers, device=device
    )
    seconds, of_processor = np.diff(np.array(called[WARM_UP:]), axis=0).T.tolist()
    return median(seconds), median(of_processor)


def train_on_random_tokens(
    shape: DecoderConfig,
    section: TrainSection,
    row_tokens: int,
    *,
    steps: int,
    workers: int = 0,
    device: Device = "auto",
) -> list[tuple[float, float]]:
    """Train a new model and forget it. When each batch was asked for: seconds of the clock and of
    this process's processors."""
    model = Decoder(shape)
    initialise(model, seed=1)
    model.to(device_of(device))
    stream = _RandomStream(section, shape.vocabulary, row_tokens, steps)
    if isinstance(section, AdaptedSection):
        begin_adapter(model, section, seed=1)
    settings = section.model_copy(update={"evaluate_steps": 0, "diverged_factor": 0.0})
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        objective = _objective(section)
        train(model, objective, stream, settings, seed=1, scratch=scratch, workers=workers)
    return stream.called


def _objective(section: TrainSection) -> Objective:
    if isinstance(section, AlignSection):
        return PreferenceObjective(beta=section.beta, nll_weight=section.nll_weight)
    return AnswerObjective() if isinstance(section, FinetuneSection) else LanguageModelling()


class _RandomStream:
    """Batches of the section's form, and when each was asked for."""

    def __init__(self, section: TrainSection, vocabulary: int, row_tokens: int, steps: int) -> None:
        self.section, self.vocabulary, self.row_tokens = section, vocabulary, row_tokens
        self.steps = steps
        self.called: list[tuple[float, float]] = []  # time, and the process's processor time

    def batch(self, step: int) -> Any:
        self.called.append((time.monotonic(), time.process_time()))
        rows, width = self.section.batch_rows, self.row_tokens
        draw = np.random.default_rng(step)
        if isinstance(self.section, AlignSection):
            tokens_BST = draw.integers(0, self.vocabulary, (rows, 2, width))
            return PairBatch(tokens_BST, _labels(tokens_BST), np.zeros((rows, 2), np.float32))
        tokens_BT = draw.integers(0, self.vocabulary, (rows, width))
        document_BT = np.arange(width)[None].repeat(rows, 0) * DOCUMENTS // width
        is_base = not isinstance(self.section, FinetuneSection)
        return Batch(tokens_BT, tokens_BT if is_base else _labels(tokens_BT), document_BT)

    def documents(self, until_step: int, *, without: Collection[int] = ()) -> Mapping[str, int]:
        return {}

    def documents_at(self, step: int) -> list[str]:
        return []


def _labels(tokens: Any) -> Any:
    labels = tokens.copy()
    labels[..., : round(tokens.shape[-1] * (1 - LABELLED))] = IGNORED_LABEL
    return labels
