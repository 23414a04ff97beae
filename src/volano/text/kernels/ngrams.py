"""Hashed word n-grams: which runs of words two texts share."""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from volano.text.kernels.hashing import FNV_OFFSET, SHINGLE_PRIME, mixed

Array = npt.NDArray[Any]


def ngram_hashes(words: Array, bounds: Array, *, length: int) -> tuple[Array, Array]:
    """Hashes of every run of `length` words of every text, and the bounds of each text in them.

    `words` and `bounds` come from `word_hashes`. A text of fewer words is one run as a whole; a
    text without words has none.
    """
    counts = np.diff(bounds)
    runs = np.where(counts > 0, np.maximum(counts - length + 1, 1), 0)
    run_bounds = np.concatenate(([0], np.cumsum(runs))).astype(np.int64)
    hashes = np.empty(run_bounds[-1], np.uint64)
    _fill_runs(words, bounds, length, run_bounds, hashes)
    return hashes, run_bounds


def distinct_runs(hashes: Array, bounds: Array) -> tuple[Array, Array]:
    """The distinct hashes of each text, sorted, and the bounds of each text in them."""
    # numpy's, since a compiled sort takes three seconds to compile.
    owners = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    order = np.lexsort((hashes, owners))
    hashes = hashes[order]
    first = np.ones(len(hashes), bool)
    first[1:] = (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])
    counts = np.bincount(owners[first], minlength=len(bounds) - 1)
    return hashes[first], np.concatenate(([0], np.cumsum(counts))).astype(np.int64)


def shared_fractions(distinct: Array, bounds: Array, pairs: Array) -> Array:
    """The Jaccard similarity of each pair of texts (int64 rows of two), whose distinct hashes are
    sorted; of two empty texts 0."""
    fractions = np.zeros(len(pairs))
    _fill_fractions(distinct, bounds, pairs, fractions)
    return fractions


@numba.njit(nogil=True, cache=True)
def _fill_runs(words: Array, bounds: Array, length: int, run_bounds: Array, hashes: Array) -> None:
    for row in range(len(bounds) - 1):
        last = bounds[row + 1]
        for run in range(run_bounds[row + 1] - run_bounds[row]):
            start = bounds[row] + run
            value = FNV_OFFSET
            for place in range(start, min(start + length, last)):
                value = value * SHINGLE_PRIME + words[place]
            hashes[run_bounds[row] + run] = mixed(value)


@numba.njit(nogil=True, cache=True)
def _fill_fractions(distinct: Array, bounds: Array, pairs: Array, fractions: Array) -> None:
    for row in range(len(pairs)):
        one, one_stop = bounds[pairs[row, 0]], bounds[pairs[row, 0] + 1]
        other, other_stop = bounds[pairs[row, 1]], bounds[pairs[row, 1] + 1]
        total, shared = one_stop - one + other_stop - other, 0
        while one < one_stop and other < other_stop:
            if distinct[one] == distinct[other]:
                shared += 1
                one += 1
                other += 1
            elif distinct[one] < distinct[other]:
                one += 1
            else:
                other += 1
        if total:
            fractions[row] = shared / (total - shared)
