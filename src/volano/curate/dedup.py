"""Of documents that say the same, one stays.

Only documents that passed every other filter take part, so that no document falls to a copy that
does not stay itself. Which copy stays depends on nothing but the corpus: training documents come
before those kept for later, and then the order of the corpus decides.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from volano.curate.section import DedupSection
from volano.text.overlap import near_duplicate_roots, similarities

Array = npt.NDArray[Any]
STAYS = -1


class Duplicates(NamedTuple):
    """Per document of the corpus: the document it is a copy of (STAYS if none) and how alike."""

    exact_of: Array
    near_of: Array
    similarity: Array  # estimated Jaccard similarity with the document that stays; 0 if none


def find_duplicates(
    standing: Array, is_train: Array, hashes: Array, signatures: Array | None, section: DedupSection
) -> Duplicates:
    """Exact copies first, then near ones among the rest. All arrays have one row per document."""
    count = len(standing)
    exact_of, near_of = np.full(count, STAYS), np.full(count, STAYS)
    similarity = np.zeros(count)
    order = np.flatnonzero(standing)
    order = order[np.argsort(~is_train[order], kind="stable")]  # who stays comes first
    if section.exact == "document":
        _, first, group = np.unique(hashes[order], return_index=True, return_inverse=True)
        stays = order[first[group.reshape(-1)]]
        copies = stays != order
        exact_of[order[copies]] = stays[copies]
        order = order[~copies]
    if section.minhash is not None and signatures is not None:
        roots = near_duplicate_roots(
            signatures[order],
            bands=section.minhash.bands,
            min_similarity=section.minhash.min_similarity,
        )
        copies = roots != np.arange(len(order))
        near_of[order[copies]] = order[roots[copies]]
        pairs = np.stack([order[copies], order[roots[copies]]], axis=1)
        similarity[order[copies]] = similarities(signatures, pairs)
    return Duplicates(exact_of, near_of, similarity)
