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


def find_duplicates(
    order: Array, hashes: Array, signatures: SignatureFiles | None, section: DedupSection
) -> Duplicates:
    """Exact copies first, then near ones among the rest.

    order: the documents that take part, who stays before who falls. hashes: one row per document.
    """
    count = len(hashes)
    exact_of, near_of = np.full(count, STAYS), np.full(count, STAYS)
    cluster, similarity = np.full(count, STAYS), np.zeros(count)
    left = order
    if section.exact == "document":
        _, first, group = np.unique(hashes[order], return_index=True, return_inverse=True)
        stays = order[first[group.reshape(-1)]]
        copies = stays != order
        exact_of[order[copies]] = stays[copies]
        left = order[~copies]
    if section.minhash is not None and signatures is not None:
        bound = section.minhash.min_similarity
        roots = signatures.roots(left, min_similarity=bound)
        copies = roots != np.arange(len(left))
        near_of[left[copies]] = left[roots[copies]]
        pairs = np.stack([left[copies], left[roots[copies]]], axis=1)
        similarity[left[copies]] = signatures.similarities(pairs)
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
