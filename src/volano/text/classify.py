"""A linear classifier of texts over hashed n-grams: trained in seconds, tens of megabytes a second.

What the labels mean is the caller's business: toxic and not, good prose and web, or languages. The
features are those of kernels/hashed.py, the arithmetic that of kernels/linear.py.

Training is multinomial logistic regression by AdaGrad, one pass after the other in a seeded order,
and keeps the pass that is best on rows put aside. On those it is then calibrated: one scale for all
scores and one shift for each label (Platt 1999 for two labels, Guo et al. 2017 and Alexandari et
al. 2020 for more), folded into the weights, so that a trained classifier has nothing else to apply.

Shapes: rows R, labels K, buckets B.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from volano.core.errors import DataError
from volano.text.kernels.buffers import Texts, text_buffers
from volano.text.kernels.hashed import Sizes, folds
from volano.text.kernels.hashing import document_hashes
from volano.text.kernels.linear import cut_windows, scores_of, shift_of, train_epoch

Array = npt.NDArray[Any]
LONGEST_TRAINED = 100_000  # bytes of a text that are learnt from
SIDES = ("train", "validation", "test")


@dataclass(frozen=True)
class Training:
    """How a classifier is trained; `about` of what was made records it."""

    bucket_bits: int = 18  # 2^18 weights a label; n-grams that share one share a weight
    fewest_characters: int = 2
    most_characters: int = 5
    words: int = 2
    learning_rate: float = 0.2
    l2: float = 1e-6
    epochs: int = 20
    patience: int = 2  # passes without a better validation loss before it ends
    seed: int = 0


class Pass(NamedTuple):
    """Losses in nats per row after one pass over the training rows."""

    epoch: int
    training_loss: float
    validation_loss: float


@dataclass(frozen=True)
class Classifier:
    """Weights, and what they were made from (`about`, plain JSON values)."""

    labels: tuple[str, ...]
    sizes: Sizes
    weights: Array  # [B, K] float32
    bias: Array  # [K] float32
    about: dict[str, Any] = field(default_factory=dict)

    def probabilities(self, texts: Texts) -> Array:
        """Probability of each label, shape [R, K], float32; a missing text counts as empty."""
        bounds, utf8, _ = text_buffers(texts)
        return _softmax(self._scores(utf8, bounds[:-1], bounds[1:]))

    def log_odds(self, texts: Texts) -> Array:
        """log p / (1 − p) of each label, shape [R, K], which tells on where p is 0 or 1."""
        bounds, utf8, _ = text_buffers(texts)
        scores = self._scores(utf8, bounds[:-1], bounds[1:]).astype(np.float64)
        found = np.empty_like(scores)
        for place in range(scores.shape[1]):
            others = np.delete(scores, place, axis=1)
            found[:, place] = scores[:, place] - np.logaddexp.reduce(others, axis=1)
        return found

    def windows(
        self,
        texts: Texts,
        *,
        words: int,
        line_words: int = 1,
        whole_words: int = 0,
        neutral: str | None = None,
    ) -> "Windows":
        """Probabilities of windows of so many words; a line break ends one from `line_words` on,
        and a text of up to `whole_words` is one window.

        `neutral` names the label against which the worst word of each window is told.
        """
        bounds, utf8, _ = text_buffers(texts)
        # All windows but the last of a row have so many words, each with a byte between.
        room = int(bounds[-1] - bounds[0]) // (2 * min(words, line_words)) + len(bounds)
        starts, stops, rows, lines = np.empty((4, room), np.int64)
        count = cut_windows(
            utf8, bounds, words, line_words, whole_words, starts, stops, rows, lines
        )
        place = -1 if neutral is None else self.labels.index(neutral)
        scores, worst = self._scores_and_worst(utf8, starts[:count], stops[:count], place)
        places = (rows[:count], lines[:count], starts[:count], stops[:count])
        return Windows(_softmax(scores), worst, *places, utf8)

    def _scores(self, utf8: Array, starts: Array, stops: Array) -> Array:
        return self._scores_and_worst(utf8, starts, stops, -1)[0]

    def _scores_and_worst(
        self, utf8: Array, starts: Array, stops: Array, neutral: int
    ) -> tuple[Array, Array]:
        starts, stops = (np.ascontiguousarray(each) for each in (starts, stops))
        for each in (starts, stops, self.weights, self.bias):
            each.flags.writeable = False  # numba compiles once more for arrays that can be written
        return scores_of(utf8, starts, stops, self.sizes, self.weights, self.bias, neutral)


class Windows(NamedTuple):
    """Windows of the rows of a column, in order, and the probabilities of each."""

    probabilities: Array  # [W, K]
    worst_word: Array  # the highest log-odds against the neutral label of a word alone
    rows: Array
    lines: Array  # which line of its row a window begins in, from 0
    starts: Array  # bytes, in `utf8`
    stops: Array
    utf8: Array

    def text(self, place: int) -> str:
        """The text of one window."""
        return self.utf8[self.starts[place] : self.stops[place]].tobytes().decode("utf-8")


class Trained(NamedTuple):
    """A calibrated classifier, how its losses fell, and which side each row was put on."""

    classifier: Classifier
    curve: list[Pass]
    sides: Array  # [R] places in SIDES


def train(
    texts: Texts,
    labels: Sequence[str],
    *,
    training: Training = Training(),
    validation_fraction: float = 0.1,
    test_fraction: float = 0.0,
    sides: Array | None = None,
    say: Callable[[Pass], None] = lambda each: None,
) -> Trained:
    """Train on a column of texts with a label each; equal arguments give equal bytes.

    Rows put aside to choose the pass and to calibrate (validation), and those that only the caller
    looks at (test), are chosen by hash of the text, so that equal texts share a side; `sides` names
    the side of each row in their place. Raises DataError where there is nothing to tell apart.
    """
    bounds, utf8, _ = text_buffers(texts)
    names = tuple(sorted(set(labels)))
    _check(names, len(labels), len(bounds) - 1)
    targets = np.searchsorted(np.array(names), np.array(labels, object).astype(str))
    if sides is None:
        sides = split_by_hash(texts, validation_fraction, test_fraction)
    rows = [np.flatnonzero(sides == side) for side in range(len(SIDES))]
    for side in (0, 1):
        absent = sorted(set(range(len(names))) - set(targets[rows[side]].tolist()))
        if absent:
            raise DataError(
                f"no row of label '{names[absent[0]]}' is left for {SIDES[side]}",
                "labels",
                "Give more rows of it, or put another fraction aside.",
            )
    stops = np.minimum(bounds[1:], bounds[:-1] + LONGEST_TRAINED)
    stops = _whole_characters(utf8, stops, bounds[1:])
    raw, curve = _fit(utf8, bounds[:-1], stops, targets, rows, names, training, say)
    classifier = calibrated(raw, raw._scores(utf8, bounds[:-1], stops)[rows[1]], targets[rows[1]])
    about = {
        "training": vars(training),
        "rows": {name: len(each) for name, each in zip(SIDES, rows, strict=True)},
        "rows_of_label": dict(zip(names, np.bincount(targets).tolist(), strict=True)),
        "sha256_of_rows": _digest_of_rows(utf8, bounds, labels),
        "epochs": min(curve, key=lambda each: each.validation_loss).epoch,
    }
    return Trained(replace(classifier, about=about), curve, sides)


def split_by_hash(texts: Texts, validation_fraction: float, test_fraction: float) -> Array:
    """The side of each row, a place in SIDES, by hash of its text with white space collapsed."""
    hashes = document_hashes(texts).fill_null(0).to_numpy(zero_copy_only=False)
    place = (hashes >> np.uint64(11)) * 2.0**-53  # uniform in [0, 1)
    edges = (test_fraction + validation_fraction, test_fraction)
    sides: Array = np.zeros(len(place), np.int64)
    for edge in edges:  # the place in SIDES is the number of edges that it lies below
        sides += place < edge
    return sides


def calibrated(classifier: Classifier, scores: Array, targets: Array) -> Classifier:
    """The classifier with its scores scaled and shifted so that the probabilities of these rows,
    of which it learnt none, are those of the most likely model. `scores` [R, K] are its own."""
    scale, shift = scale_and_shift(scores.astype(np.float64), targets)
    return replace(
        classifier,
        weights=(classifier.weights * scale).astype(np.float32),
        bias=(classifier.bias * scale + shift).astype(np.float32),
    )


def _check(names: Sequence[str], labels: int, rows: int) -> None:
    if labels != rows:
        raise DataError(f"{labels:,} labels for {rows:,} texts", "labels", "Give one for each.")
    if not rows:
        raise DataError("no rows to train on", "texts", "Give texts with a label each.")
    if len(names) < 2:
        what = f"every row has the label '{names[0]}'"
        raise DataError(what, "labels", "Give rows of two labels at least.")


def _fit(
    utf8: Array,
    starts: Array,
    stops: Array,
    targets: Array,
    rows: Sequence[Array],
    names: tuple[str, ...],
    training: Training,
    say: Callable[[Pass], None],
) -> tuple[Classifier, list[Pass]]:
    sizes = Sizes(training.fewest_characters, training.most_characters, training.words)
    shape = (1 << training.bucket_bits, len(names))
    weights, bias = np.zeros(shape, np.float32), np.zeros(len(names), np.float32)
    squares, bias_squares = np.zeros(shape[0], np.float32), np.zeros(len(names), np.float32)
    # A word of one byte has three characters with its ends, and a byte parts it from the next.
    longest = int((stops - starts).max()) + 2
    room = 2 * longest * (1 + sizes.most_characters)
    buckets, values = np.empty(room, np.int64), np.empty(room, np.float32)
    best, curve = Classifier(names, sizes, weights, bias), []
    for epoch in range(1, training.epochs + 1):
        order = np.random.default_rng([training.seed, epoch]).permutation(rows[0])
        loss = train_epoch(
            utf8,
            _read_only(starts),
            _read_only(stops),
            order,
            targets,
            folds(),
            *sizes,
            shift_of(shape[0]),
            np.float32(training.learning_rate),
            np.float32(training.l2),
            weights,
            bias,
            squares,
            bias_squares,
            buckets,
            values,
        )
        now = Classifier(names, sizes, weights.copy(), bias.copy())
        scores = now._scores(utf8, starts[rows[1]], stops[rows[1]])
        curve.append(Pass(epoch, loss, log_loss(_softmax(scores), targets[rows[1]])))
        say(curve[-1])
        reached = min(curve, key=lambda each: each.validation_loss).epoch
        if reached == epoch:
            best = now
        elif epoch - reached >= training.patience:
            break
    return best, curve


def log_loss(probabilities: Array, targets: Array) -> float:
    """Mean negative log-probability of the right label, in nats."""
    right = probabilities[np.arange(len(targets)), targets].astype(np.float64)
    return float(-np.log(np.maximum(right, 1e-12)).mean())


def scale_and_shift(scores: Array, targets: Array) -> tuple[float, Array]:
    """The scale of all scores [R, K] and the shift of each label that make the targets most likely.

    Newton's method, with a trace of a penalty on the distance from 1 and 0, so that rows that are
    told apart without a mistake have an answer too.
    """
    rows, labels = scores.shape
    parameters = np.zeros(labels + 1)  # of the scale less 1, and the shifts
    truth = np.eye(labels)[targets]
    design = np.zeros((rows, labels, labels + 1))
    design[:, :, 0] = scores
    design[:, np.arange(labels), 1 + np.arange(labels)] = 1
    penalty = 1e-3 * np.eye(labels + 1)
    for _ in range(50):
        found = _softmax(scores + design @ parameters)
        gradient = np.einsum("rk,rkp->p", found - truth, design) + penalty @ parameters
        mean = np.einsum("rk,rkp->rp", found, design)
        hessian = np.einsum("rk,rkp,rkq->pq", found, design, design, optimize=True)
        hessian += penalty - mean.T @ mean
        step = np.linalg.solve(hessian, gradient)
        parameters -= step * min(1.0, 1 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-9:
            break
    return float(1 + parameters[0]), parameters[1:]


def _softmax(scores: Array) -> Array:
    raised: Array = np.exp(scores - scores.max(axis=1, keepdims=True))
    raised /= raised.sum(axis=1, keepdims=True)
    return raised


def _whole_characters(utf8: Array, stops: Array, ends: Array) -> Array:
    stops = stops.copy()
    cut = stops < ends
    while cut.any():
        cut &= (utf8[np.minimum(stops, len(utf8) - 1)] & 0xC0) == 0x80
        stops -= cut
    return stops


def _digest_of_rows(utf8: Array, bounds: Array, labels: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for start, stop, label in zip(bounds[:-1], bounds[1:], labels, strict=True):
        digest.update(hashlib.sha256(label.encode()).digest())
        digest.update(hashlib.sha256(utf8[start:stop].tobytes()).digest())
    return digest.hexdigest()


def _read_only(array: Array) -> Array:
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array


def column_of(texts: Sequence[str]) -> pa.LargeStringArray:
    """Texts as a column."""
    return pa.array(texts, pa.large_string())
