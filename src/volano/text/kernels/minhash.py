"""MinHash signatures: how alike two documents are, from a few hundred bytes of each.

Two signatures agree in a fraction of their places that estimates the Jaccard similarity of the
documents' shingle sets; with 112 places the standard error is at most 0.047.

Source: Broder 1997; shingles and bands as FineWeb uses them (Penedo et al. 2024): 5 words, 112
permutations in 14 bands of 8.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from volano.text.kernels.buffers import Texts
from volano.text.kernels.hashing import FNV_OFFSET, SHINGLE_PRIME, mixed, word_hashes

Array = npt.NDArray[Any]
NO_WORDS = np.uint32(0xFFFFFFFF)  # every place of the signature of a text without words
HIGH_HALF = np.uint64(32)
PERMUTATION_SEED = 0x564F4C41  # part of the signature's definition: a change makes all anew


def minhash_signatures(texts: Texts, *, permutations: int = 112, shingle_words: int = 5) -> Array:
    """A uint32 signature of `permutations` places per document; null has NO_WORDS everywhere.

    A shingle is a run of `shingle_words` words (see `word_hashes`: case and punctuation do not
    count); a shorter text is one shingle as a whole.
    """
    words, bounds = word_hashes(texts)
    signatures = np.full((len(bounds) - 1, permutations), NO_WORDS, np.uint32)
    factors, terms = _permutations(permutations)
    _fill_signatures(words, bounds, shingle_words, factors, terms, signatures)
    return signatures


def band_hashes(signatures: Array, bands: int) -> Array:
    """One 64-bit hash per document and band: equal bands are candidates for near-duplicates."""
    hashes = np.empty((len(signatures), bands), np.uint64)
    _fill_bands(signatures, signatures.shape[1] // bands, hashes)
    return hashes


def _permutations(count: int) -> tuple[Array, Array]:
    # splitmix64 rather than numpy's generator, whose streams may change with its version.
    value, drawn = PERMUTATION_SEED, []
    for _ in range(2 * count):
        value = (value + 0x9E3779B97F4A7C15) % 2**64
        mix = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        mix = ((mix ^ (mix >> 27)) * 0x94D049BB133111EB) % 2**64
        drawn.append((mix ^ (mix >> 31)) >> 32)
    factors = np.array([factor | 1 for factor in drawn[:count]], np.uint32)  # odd: a bijection
    return factors, np.array(drawn[count:], np.uint32)


@numba.njit(nogil=True, cache=True)
def _fill_signatures(
    words: Array, bounds: Array, length: int, factors: Array, terms: Array, signatures: Array
) -> None:
    for row in range(len(bounds) - 1):
        first, last = bounds[row], bounds[row + 1]
        signature = signatures[row]
        for start in range(first, max(first, last - length) + (last > first)):
            shingle = FNV_OFFSET
            for place in range(start, min(start + length, last)):
                shingle = shingle * SHINGLE_PRIME + words[place]
            value = np.uint32(mixed(shingle) >> HIGH_HALF)
            for place in range(len(signature)):
                permuted = np.uint32(factors[place] * value + terms[place])
                signature[place] = min(signature[place], permuted)


@numba.njit(nogil=True, cache=True)
def _fill_bands(signatures: Array, rows: int, hashes: Array) -> None:
    for document in range(len(hashes)):
        for band in range(hashes.shape[1]):
            value = FNV_OFFSET
            for place in range(band * rows, (band + 1) * rows):
                value = value * SHINGLE_PRIME + np.uint64(signatures[document, place])
            hashes[document, band] = mixed(value)
