"""Lines that the documents of a site share: their keys, and which of them are cut out of a text."""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from volano.text.kernels.hashing import SHINGLE_PRIME, mixed

Array = npt.NDArray[Any]


def site_line_keys(hashes: Array, bounds: Array, sites: Array) -> Array:
    """One uint64 per line of `spans.span_hashes`: equal lines of one site have the same, and lines
    of two sites never but by chance. `sites` has a hash (uint64) for each text."""
    keys = np.empty(len(hashes), np.uint64)
    _fill_keys(hashes, bounds, sites, keys)
    return keys


def hashes_of_lines(hashes: Array, words: Array, bounds: Array) -> Array:
    """A uint64 per text from those of its lines: texts that differ in white space within lines and
    in lines without words have the same."""
    found = np.empty(len(bounds) - 1, np.uint64)
    _fill_texts(hashes, words, bounds, found)
    return found


def boilerplate_lines(common: Array, words: Array, bounds: Array, *, ends_only: bool) -> Array:
    """Which lines go (bool), where `common` says which of them the site's documents share.

    With `ends_only` those before and behind which nothing but such lines and lines without words
    stand, and the lines without words among and beside them. Without it all common ones, and of
    lines without words that then stand together one is left.
    """
    gone = np.zeros(len(common), bool)
    _fill_gone(common, words, bounds, ends_only, gone)
    return gone


@numba.njit(nogil=True, cache=True)
def _fill_keys(hashes: Array, bounds: Array, sites: Array, keys: Array) -> None:
    for row in range(len(sites)):
        site = mixed(sites[row])
        for line in range(bounds[row], bounds[row + 1]):
            keys[line] = mixed((hashes[line] ^ site) * SHINGLE_PRIME)


@numba.njit(nogil=True, cache=True)
def _fill_texts(hashes: Array, words: Array, bounds: Array, found: Array) -> None:
    for row in range(len(found)):
        value = SHINGLE_PRIME
        for line in range(bounds[row], bounds[row + 1]):
            if words[line]:
                value = mixed((value ^ hashes[line]) * SHINGLE_PRIME)  # their order counts
        found[row] = value


@numba.njit(nogil=True, cache=True)
def _fill_gone(common: Array, words: Array, bounds: Array, ends_only: bool, gone: Array) -> None:
    for row in range(len(bounds) - 1):
        first, behind = bounds[row], bounds[row + 1]
        if ends_only:
            start, any_common = first, False
            while start < behind and (common[start] or words[start] == 0):
                any_common = any_common or common[start]
                start += 1
            if any_common:
                gone[first:start] = True
            stop, any_common = behind, False
            while stop > start and (common[stop - 1] or words[stop - 1] == 0):
                any_common = any_common or common[stop - 1]
                stop -= 1
            if any_common:
                gone[stop:behind] = True
            continue
        blank_before, cut = True, False
        for line in range(first, behind):
            if common[line]:
                gone[line] = cut = True
            elif words[line] == 0 and cut and blank_before:
                gone[line] = True
            else:
                blank_before, cut = words[line] == 0, False
