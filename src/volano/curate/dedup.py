"""Of documents that say the same, one stays.

Only documents that passed every other filter take part, so that no document falls to a copy that
does not stay itself. Which copy stays depends on nothing but the corpus: training documents come
before those kept for later, then those that the recipe prefers (curate.preference), and then the
order of the corpus decides. Documents of an earlier corpus come before all.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from volano.curate.dedup_section import DedupSection
from volano.text.near import SignatureFiles

Array = npt.NDArray[Any]
STAYS = -1


class Duplicates(NamedTuple):
    """Per document of the corpus: the document it is a copy of (STAYS if none) and how alike."""

    exact_of: Array
    near_of: Array
    similarity: Array  # Jaccard similarity with the document that it is near; 0 if none
    cluster: Array  # the document that stays of its cluster, also for itself; STAYS without copies


def exact_copies(order: Array, hashes: Array, section: DedupSection) -> Array:
    """Per document the first in `order` with its hash; STAYS for that one and all others."""
    exact_of = _nobody(len(hashes))
    if section.exact == "document":
        values = hashes[order]
        by_hash = np.argsort(values, kind="stable")
        values = values[by_hash]
        copies = np.flatnonzero(values[1:] == values[:-1]) + 1
        begins = np.ones(len(values), bool)
        begins[copies] = False
        firsts = np.flatnonzero(begins)
        del values
        stays = firsts[np.searchsorted(firsts, copies, side="right") - 1]
        exact_of[order[by_hash[copies]]] = order[by_hash[stays]]
    return exact_of


def near_copies(
    order: Array, exact_of: Array, signatures: SignatureFiles | None, section: DedupSection
) -> Duplicates:
    """What is near among those that are no exact copies, and all that is known together. `order`
    has the documents that take part, who stays before who falls."""
    if section.minhash is not None and signatures is not None:
        left = order[exact_of[order] == STAYS]
        bound = section.minhash.min_similarity
        roots = signatures.roots(left, min_similarity=bound)
        copies = np.flatnonzero(roots != np.arange(len(left)))
        pairs = np.stack([left[copies], left[roots[copies]]], axis=1)
        del left, roots
        near_of, similarity = _nobody(len(exact_of)), np.zeros(len(exact_of))
        near_of[pairs[:, 0]] = pairs[:, 1]
        similarity[pairs[:, 0]] = signatures.similarities(pairs)
    else:
        near_of, similarity = _nobody(len(exact_of)), np.zeros(len(exact_of))
    cluster = _nobody(len(exact_of))
    for fallen, copy_of in ((near_of != STAYS, near_of), (exact_of != STAYS, exact_of)):
        # An exact copy may be of a document that is a near copy itself.
        stays = copy_of[fallen]
        stays = np.where(near_of[stays] == STAYS, stays, near_of[stays])
        cluster[fallen] = stays
        cluster[stays] = stays
    if section.drop == "all":
        for copy_of in (exact_of, near_of):
            fallen = order[copy_of[order] != STAYS]
            stays, first = np.unique(copy_of[fallen], return_index=True)
            copy_of[stays] = fallen[first]  # each falls to the other
            if copy_of is near_of:
                similarity[stays] = similarity[fallen[first]]
    return Duplicates(exact_of, near_of, similarity, cluster)


def _nobody(count: int) -> Array:
    # Half the memory while it suffices.
    return np.full(count, STAYS, np.int32 if count < 2**31 else np.int64)
