"""What a division of a signature into bands finds: the S-curve, and bands for a wanted threshold.

Two documents of Jaccard similarity s agree in one place of their signatures with probability s, in
all r places of a band with s^r, and in at least one of b bands with 1 - (1 - s^r)^b.

Source: Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, chapter 3; the areas as in
datasketch's MinHashLSH.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
STEPS = 4096  # of the integration, by Simpson's rule


class Banding(NamedTuple):
    """A division of the signature, and what it errs in at a threshold. Areas between 0 and 1."""

    permutations: int
    bands: int
    rows: int  # places of a band
    half_found_similarity: float  # where one pair in two becomes a candidate
    false_positive_area: float  # under the curve, below the threshold
    false_negative_area: float  # above the curve, from the threshold on


def candidate_probability(similarity: float | Array, *, bands: int, rows: int) -> Any:
    """The probability that a pair of documents of this Jaccard similarity becomes a candidate."""
    return 1 - (1 - np.asarray(similarity, float) ** rows) ** bands


def banding_of(permutations: int, bands: int, threshold: float) -> Banding:
    """A division, measured at a threshold; `bands` divides `permutations`."""
    rows = permutations // bands
    below = _area(0, threshold, bands, rows)
    above = (1 - threshold) - _area(threshold, 1, bands, rows)
    half = (1 - 0.5 ** (1 / bands)) ** (1 / rows)
    return Banding(permutations, bands, rows, half, below, max(above, 0.0))


def suggested_bandings(permutations: int, threshold: float) -> list[Banding]:
    """All divisions, those first whose two areas together are smallest at the threshold."""
    divisors = [bands for bands in range(1, permutations + 1) if permutations % bands == 0]
    found = [banding_of(permutations, bands, threshold) for bands in divisors]
    return sorted(found, key=lambda each: each.false_positive_area + each.false_negative_area)


def _area(first: float, last: float, bands: int, rows: int) -> float:
    places = np.linspace(first, last, STEPS + 1)
    weights = np.ones(STEPS + 1)
    weights[1:-1:2], weights[2:-1:2] = 4, 2
    values = candidate_probability(places, bands=bands, rows=rows)
    return float((values * weights).sum() * (last - first) / STEPS / 3)
