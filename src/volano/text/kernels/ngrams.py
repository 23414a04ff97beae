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
