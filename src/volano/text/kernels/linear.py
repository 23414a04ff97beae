"""A linear classifier over hashed n-grams, straight over the buffers of a column.

x is the sum of a text's n-grams: 1 for each word, 1 for each pair of words, and 1 / √n for each of
the n n-grams of characters of a word, so that these weigh as much as the word itself. x is divided
by the root of the number of words, pairs and sets of characters: its length, were none met twice.

What a word adds to the scores depends on the word alone, and a few thousand words make up most of
any text. So their sums are kept, and a word met again costs one look-up.

Shapes: rows R, labels K, buckets B.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from volano.text.kernels.characters import Integer
from volano.text.kernels.hashed import (
    LONGEST_WORD,
    Sizes,
    character_ngrams,
    folds,
    next_word,
    pair_hash,
)

Array = npt.NDArray[Any]
KEPT_WORDS = 1 << 14
NEWLINE, BLANK = b"\n "
TINY = np.float32(1e-8)


def scores_of(
    utf8: Array,
    starts: Array,
    stops: Array,
    sizes: Sizes,
    weights: Array,
    bias: Array,
    neutral: int = -1,
) -> tuple[Array, Array]:
    """The score of every label for each span of bytes, shape [R, K], float32; and for the label
    `neutral`, if one is named, the highest log-odds against it of a word that stands alone, [R].

    Where `sizes` has 0 and 0 characters there are no n-grams of them.
    `weights` has shape [B, K], B a power of two; a span without words scores `bias`,
    and has log-odds of minus infinity.
    """
    scores = np.zeros((len(starts), len(bias)), np.float32)
    keys = np.zeros(KEPT_WORDS, np.uint64)
    sums = np.zeros((KEPT_WORDS, len(bias) + 1), np.float32)  # the last: log-odds of the word
    worst = np.full(len(starts), -np.inf, np.float32)
    shift = shift_of(len(weights))
    _fill_scores(
        utf8,
        starts,
        stops,
        folds(),
        *sizes,
        shift,
        weights,
        bias,
        neutral,
        keys,
        sums,
        scores,
        worst,
    )
    return scores, worst


def shift_of(buckets: int) -> np.uint64:
    """By how many bits a hash is shifted to be a bucket."""
    return np.uint64(64 - buckets.bit_length() + 1)


@numba.njit(nogil=True, cache=True)
def _fill_scores(
    utf8: Array,
    starts: Array,
    stops: Array,
    table: Array,
    fewest: int,
    most: int,
    words: int,
    shift: np.uint64,
    weights: Array,
    bias: Array,
    neutral: int,
    keys: Array,
    sums: Array,
    scores: Array,
    worst: Array,
) -> None:
    labels = len(bias)
    word = np.empty(LONGEST_WORD, np.uint32)
    buckets = np.empty((LONGEST_WORD + 2) * max(most, 1), np.int64)
    mask = np.uint64(len(keys) - 1)
    for row in range(len(starts)):
        place, stop = starts[row], stops[row]
        found = 0
        before = np.uint64(0)
        while True:
            place, count, value = next_word(utf8, place, stop, table, word)
            if count == 0:
                break
            slot = np.int64(value & mask)
            if keys[slot] != value:
                keys[slot] = value
                bucket = np.int64(value >> shift)
                for label in range(labels):
                    sums[slot, label] = weights[bucket, label]
                if most > 0:
                    ngrams = character_ngrams(word, count, fewest, most, shift, buckets)
                    part = np.float32(1 / np.sqrt(ngrams))
                    for index in range(ngrams):
                        for label in range(labels):
                            sums[slot, label] += weights[buckets[index], label] * part
                if neutral >= 0:
                    sums[slot, labels] = _log_odds(sums[slot], bias, neutral, _scale(1, most, 1))
            worst[row] = max(worst[row], sums[slot, labels])
            for label in range(labels):
                scores[row, label] += sums[slot, label]
            if words > 1 and found > 0:
                bucket = np.int64(pair_hash(before, value) >> shift)
                for label in range(labels):
                    scores[row, label] += weights[bucket, label]
            before = value
            found += 1
        scale = _scale(found, most, words)
        for label in range(labels):
            scores[row, label] = scores[row, label] * scale + bias[label]


@numba.njit(nogil=True, cache=True)
def _log_odds(sums: Array, bias: Array, neutral: int, scale: np.float32) -> Any:
    # Against the neutral label, of a word alone.
    own = sums[neutral] * scale + bias[neutral]
    others = np.float32(0)
    for label in range(len(bias)):
        if label != neutral:
            others += np.exp(sums[label] * scale + bias[label] - own)
    return np.log(max(others, TINY))


@numba.njit(nogil=True, cache=True)
def _scale(found: Integer, most: int, words: int) -> np.float32:
    parts = found * (2 if most > 0 else 1) + (max(found - 1, 0) if words > 1 else 0)
    return np.float32(1 / np.sqrt(max(parts, 1)))


@numba.njit(nogil=True, cache=True)
def train_epoch(
    utf8: Array,
    starts: Array,
    stops: Array,
    order: Array,
    targets: Array,
    table: Array,
    fewest: int,
    most: int,
    words: int,
    shift: np.uint64,
    learning_rate: np.float32,
    l2: np.float32,
    weights: Array,
    bias: Array,
    squares: Array,
    bias_squares: Array,
    buckets: Array,
    values: Array,
) -> float:
    """One pass of AdaGrad over the rows in `order`, in place; the mean loss on the way, in nats.

    A bucket has one sum of squares for all labels; the penalty l2 / 2 · w² is on the weights that
    a row reads. `buckets` and `values` are scratch for the n-grams of one row.

    Source: Duchi et al. 2011 (AdaGrad).
    """
    labels = len(bias)
    word = np.empty(LONGEST_WORD, np.uint32)
    score = np.empty(labels, np.float32)
    loss = 0.0
    for row in order:
        count = _read_row(
            utf8, starts[row], stops[row], table, fewest, most, words, shift, word, buckets, values
        )
        for label in range(labels):
            score[label] = bias[label]
        for index in range(count):
            for label in range(labels):
                score[label] += weights[buckets[index], label] * values[index]
        loss += _to_gradient(score, targets[row])
        square = np.float32(0)
        for label in range(labels):
            square += score[label] * score[label]
            bias_squares[label] += score[label] * score[label]
            bias[label] -= learning_rate * score[label] / np.sqrt(bias_squares[label] + TINY)
        for index in range(count):
            bucket, value = buckets[index], values[index]
            squares[bucket] += square * value * value
            step = learning_rate / np.sqrt(squares[bucket] + TINY)
            for label in range(labels):
                weights[bucket, label] -= step * (
                    score[label] * value + l2 * weights[bucket, label]
                )
    return loss / max(len(order), 1)


@numba.njit(nogil=True, cache=True)
def _to_gradient(score: Array, target: Integer) -> Any:
    # Scores become probabilities less the target, in place; the row's loss is returned.
    highest = score[0]
    for label in range(len(score)):
        highest = max(highest, score[label])  # score.max() takes half a second to compile
    total = np.float32(0)
    for label in range(len(score)):
        score[label] = np.exp(score[label] - highest)
        total += score[label]
    for label in range(len(score)):
        score[label] /= total
    loss = -np.log(max(score[target], np.float32(1e-12)))
    score[target] -= np.float32(1)
    return loss


@numba.njit(nogil=True, cache=True)
def _read_row(
    utf8: Array,
    place: Integer,
    stop: Integer,
    table: Array,
    fewest: int,
    most: int,
    words: int,
    shift: np.uint64,
    word: Array,
    buckets: Array,
    values: Array,
) -> Integer:
    count: Integer = 0
    found = 0
    before = np.uint64(0)
    while True:
        place, size, value = next_word(utf8, place, stop, table, word)
        if size == 0:
            break
        buckets[count], values[count] = np.int64(value >> shift), np.float32(1)
        count += 1
        if words > 1 and found > 0:
            buckets[count] = np.int64(pair_hash(before, value) >> shift)
            values[count] = np.float32(1)
            count += 1
        if most > 0:
            ngrams = character_ngrams(word, size, fewest, most, shift, buckets[count:])
            for index in range(count, count + ngrams):
                values[index] = np.float32(1 / np.sqrt(ngrams))
            count += ngrams
        before = value
        found += 1
    scale = _scale(found, most, words)
    for index in range(count):
        values[index] *= scale
    return count


@numba.njit(nogil=True, cache=True)
def cut_windows(
    utf8: Array,
    bounds: Array,
    words: int,
    line_words: int,
    whole_words: int,
    starts: Array,
    stops: Array,
    rows: Array,
    lines: Array,
) -> Integer:
    """Cut every row into windows of `words` runs between white space; how many there are.

    A line break ends a window that has `line_words` of them already, so that a heading is read with
    what follows it. The last window of a row may have fewer, and a row of up to `whole_words` is
    one window. `rows` and `lines` tell where a window begins; white space alone has none.
    """
    count = 0
    for row in range(len(bounds) - 1):
        place, stop = bounds[row], bounds[row + 1]
        first, total = count, 0
        line = inside = runs = 0
        while place < stop:
            byte = utf8[place]
            if byte > BLANK:
                if inside == 0:
                    if runs == 0:
                        starts[count], rows[count], lines[count] = place, row, line
                    runs += 1
                    total += 1
                    inside = 1
                stops[count] = place + 1
            else:
                inside = 0
                ends = byte == NEWLINE
                if runs == words or (runs >= line_words and ends):
                    count += 1
                    runs = 0
                line += ends
            place += 1
        count += runs > 0
        if 0 < total <= whole_words:
            stops[first] = stops[count - 1]
            count = first + 1
    return count
