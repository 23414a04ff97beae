"""An n-gram model of words with interpolated modified Kneser-Ney smoothing: how expected is a text?

Trained on text that is trusted, its perplexity tells prose like that from what is not: lists,
mark-up, word salad, other languages. What a word and a sentence are, kernels/word_models.py says.

An n-gram is kept as its first word and the place of the rest among the n-grams that are one
shorter: eight bytes, as a hash would take, from which words and hashes both follow.

Training keeps 20 bytes for each word of the text and, for each length, some 60 for every different
n-gram; `fewest_occurrences` bounds what the model keeps of those of three words and more.

Source: Chen and Goodman 1998, section 3; the estimates are those of KenLM's lmplz (Heafield et al.
2013), n-grams at the beginning of a sentence and the uniform distribution included.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from volano.core.errors import DataError
from volano.text.kernels.buffers import Texts, text_buffers
from volano.text.kernels.characters import character_classes
from volano.text.kernels.word_models import (
    BEGIN,
    END,
    MAX_ORDER,
    UNKNOWN,
    fill_keys,
    fill_likelihoods,
    fill_table,
    hash_of_word,
    lengthen,
    read_sentences,
)

Array = npt.NDArray[Any]
MARKS = ("<unk>", "<s>", "</s>")
NEVER = -99.0  # log10 of the probability of <s>, as ARPA files have it
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)  # lmplz --discount_fallback
CUT_FROM = 3  # words of an n-gram from which on rare ones are left out
_FOLDED = bytes.maketrans(
    bytes(range(65, 91)) + bytes(range(48, 58)), bytes(range(97, 123)) + b"0" * 10
)


class Grams(NamedTuple):
    """All n-grams of one length: a row each."""

    first: Array  # uint32: place of the first word in the vocabulary
    rest: Array  # uint32: place of the other words among the n-grams one shorter
    log_prob: Array  # log10 of the probability of the last word behind the others
    back_off: Array  # log10 of what shorter contexts are weighed with; 0 for the longest


@dataclass(frozen=True)
class WordModel:
    """`words` are the vocabulary; `grams[n - 1]` the n-grams of n words, of one its rows are the
    vocabulary in order. `about` says what it was made from (plain JSON values)."""

    words: tuple[str, ...]
    grams: tuple[Grams, ...]
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def order(self) -> int:
        """Words of the longest n-gram."""
        return len(self.grams)

    def likelihoods(self, texts: Texts) -> tuple[Array, Array]:
        """log10 likelihood of each text, and over how many words, of which the end of each line
        is one; 0 and 0 for a text without words."""
        bounds, utf8, missing = text_buffers(texts)
        log_probs = np.zeros(len(missing), np.float64)
        counts = np.zeros(len(missing), np.int64)
        table = self._table
        numbers = table.view(np.float32)
        classes = character_classes()
        fill_likelihoods(bounds, utf8, classes, table, numbers, self.order, log_probs, counts)
        return log_probs, counts

    def perplexities(self, texts: Texts) -> pa.DoubleArray:
        """Perplexity of each text per word; null for one without words."""
        log_probs, counts = self.likelihoods(texts)
        values = 10 ** (-log_probs / np.maximum(counts, 1))
        return pa.array(values, mask=counts == 0)

    def keys(self) -> list[Array]:
        """The 64-bit hashes of the n-grams of each length."""
        hashes = np.array([hash_of_word(word) for word in self.words], np.uint64)
        found = [hashes]
        for grams in self.grams[1:]:
            found.append(lengthen(found[-1][grams.rest], hashes[grams.first]))
        return found

    @cached_property
    def _table(self) -> Array:
        keys = np.concatenate(self.keys())
        if len(np.unique(keys)) < len(keys) or not keys.all():
            raise DataError("an n-gram stands twice", "n-gram model", "Train it again.")
        slots = 16
        while slots < 2 * len(keys):
            slots *= 2
        table = np.zeros((slots, 2), np.uint64)
        log_probs = np.concatenate([grams.log_prob for grams in self.grams]).astype(np.float32)
        back_offs = np.concatenate([grams.back_off for grams in self.grams]).astype(np.float32)
        fill_table(keys, log_probs, back_offs, table, table.view(np.float32))
        return table


@dataclass(frozen=True)
class NgramTraining:
    """How a model is made; `about` records it. Of n-grams of three words and more, those that occur
    less often than `fewest_occurrences` are left out. Words that occur less often than
    `fewest_word_occurrences` count as <unk>: the model is smaller, but <unk> is then a frequent
    word, and strings of random letters become likely. With 1, an unknown word is as unlikely as
    lmplz makes it."""

    order: int = 3
    fewest_word_occurrences: int = 1
    fewest_occurrences: int = 1


def train_words(batches: Iterable[Texts], training: NgramTraining = NgramTraining()) -> WordModel:
    """A model of all texts of all batches. Raises DataError where there is nothing to learn."""
    if not 1 <= training.order <= MAX_ORDER:
        raise DataError(f"order {training.order}", "n-gram model", f"Take 1 to {MAX_ORDER}.")
    hashes, names = _read(batches)
    if not len(hashes):
        raise DataError("no words to learn from", "n-gram model", "Give texts.")
    known, place, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    if training.fewest_word_occurrences > 1:
        rare = counts < training.fewest_word_occurrences
        rare[np.isin(known, [BEGIN, END])] = False
        hashes = np.where(rare[place], UNKNOWN, hashes)
        known = known[~rare]
    marks = np.array([UNKNOWN, BEGIN, END])
    known = np.concatenate((marks, known[~np.isin(known, marks)]))
    words = (*MARKS, *(names[value] for value in known[3:].tolist()))
    counted = _count(hashes, known, training)
    return WordModel(
        words,
        _smoothed(counted, training),
        {
            "order": training.order,
            "fewest_word_occurrences": training.fewest_word_occurrences,
            "fewest_occurrences": training.fewest_occurrences,
            "words": int((hashes != BEGIN).sum()),
            "sentences": int((hashes == BEGIN).sum()),
        },
    )


def _read(batches: Iterable[Texts]) -> tuple[Array, dict[int, str]]:
    # All words in order as hashes, and the words themselves.
    parts: list[Array] = []
    names: dict[int, str] = {}
    for texts in batches:
        bounds, utf8, _ = text_buffers(texts)
        # A line of one letter gives three words, and takes two bytes, the last one of a text one.
        room = 2 * int(bounds[-1] - bounds[0]) + len(bounds)
        hashes = np.empty(room, np.uint64)
        starts, stops = np.empty((2, room), np.int64)
        count = read_sentences(bounds, utf8, character_classes(), hashes, starts, stops)
        parts.append(hashes[:count].copy())
        found, firsts = np.unique(parts[-1], return_index=True)
        for value, place in zip(found.tolist(), firsts.tolist(), strict=True):
            if value not in names and starts[place] < stops[place]:
                names[value] = _word(utf8[starts[place] : stops[place]].tobytes())
    return np.concatenate(parts) if parts else np.empty(0, np.uint64), names


def _word(data: bytes) -> str:
    # As the kernel folds it: of a run of one character that is no letter, one.
    word = data.translate(_FOLDED).decode()
    return word if word[0].isalnum() else word[0]


class _Counted(NamedTuple):
    first: Array
    rest: Array
    context: Array  # place of all but the last word among the n-grams one shorter
    occurrences: Array
    begins: Array  # whether its first word is <s>


def _count(hashes: Array, known: Array, training: NgramTraining) -> list[_Counted]:
    by_hash = np.argsort(known)
    ids = by_hash[np.searchsorted(known, hashes, sorter=by_hash)].astype(np.uint32)
    occurrences = np.bincount(ids, minlength=len(known))
    nothing = np.zeros(len(known), np.uint32)
    places = np.arange(len(known), dtype=np.uint32)
    counted = [_Counted(places, nothing, nothing, occurrences, known == BEGIN)]
    shorter = ids  # word → place of the n-gram one shorter that ends with it
    for length in range(2, training.order + 1):
        keys, ends = np.empty(len(hashes), np.uint64), np.empty(len(hashes), np.int64)
        count = fill_keys(hashes, length, keys, ends)
        if not count:
            break
        _, firsts, inverse, occurrences = np.unique(
            keys[:count], return_index=True, return_inverse=True, return_counts=True
        )
        last = ends[firsts]
        first = ids[last - length + 1]
        counted.append(
            _Counted(first, shorter[last], shorter[last - 1], occurrences, known[first] == BEGIN)
        )
        following = np.zeros(len(hashes), np.uint32)
        following[ends[:count]] = inverse
        shorter = following
    return counted


def _smoothed(counted: Sequence[_Counted], training: NgramTraining) -> tuple[Grams, ...]:
    made: list[Grams] = []
    probabilities: list[Array] = []
    kept_places: Array | None = None  # of the n-grams one shorter, where some were left out
    for length, grams in enumerate(counted, start=1):
        longest = length == len(counted)
        weights = grams.occurrences.astype(np.int64)
        if not longest:  # how many different words stand before it
            before = np.bincount(counted[length].rest, minlength=len(weights))
            weights = np.where(grams.begins, weights, before)
        if length == 1:
            weights[1] = 0  # <s> never follows
        discounts = np.array([0.0, *_discounts(weights)])
        kept = np.ones(len(weights), bool)
        if length >= CUT_FROM:
            kept = grams.occurrences >= training.fewest_occurrences
        left = weights - discounts[np.minimum(weights, 3)]
        contexts = 1 if length == 1 else len(counted[length - 2].first)
        totals = np.maximum(np.bincount(grams.context, weights, contexts), 1e-300)
        gone = np.where(kept, weights - left, weights)
        back_off = np.bincount(grams.context, gone, contexts) / totals
        if length == 1:
            lower = np.full(len(weights), 1 / (len(weights) - 1))
            lower[1] = 0
        else:
            lower = probabilities[-1][grams.rest]
        probability = left / totals[grams.context] + back_off[grams.context] * lower
        probabilities.append(probability)
        if length > 1:
            made[-1] = made[-1]._replace(back_off=_log10(_of(back_off, kept_places)))
        rest = grams.rest
        if kept_places is not None:
            rest = (np.cumsum(kept_places) - 1)[rest].astype(np.uint32)
        numbers = probability[kept]
        made.append(
            Grams(
                grams.first[kept], rest[kept], _log10(numbers), np.zeros(len(numbers), np.float16)
            )
        )
        kept_places = kept if not kept.all() else None
    made[0].log_prob[1] = NEVER
    return tuple(made)


def _of(values: Array, kept: Array | None) -> Array:
    return values if kept is None else values[kept]


def _log10(values: Array) -> Array:
    # A context that is followed by nothing weighs shorter ones with 1.
    return np.log10(np.where(values > 0, values, 1)).astype(np.float16)


def _discounts(weights: Array) -> tuple[float, ...]:
    # Chen and Goodman 1998, equation 17.
    one, two, three, four = (int((weights == count).sum()) for count in (1, 2, 3, 4))
    if min(one, two, three, four) == 0:
        return FALLBACK_DISCOUNTS
    share = one / (one + 2 * two)
    found = (1 - 2 * share * two / one, 2 - 3 * share * three / two, 3 - 4 * share * four / three)
    inside = all(0 <= each <= count for count, each in enumerate(found, start=1))
    return found if inside else FALLBACK_DISCOUNTS
