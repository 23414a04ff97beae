"""Which documents lie, whole or edited, in a text that a model trains on."""

from collections.abc import Iterable, Mapping

import pyarrow as pa

from volano.core.corpus import Corpus
from volano.curate.section import DecontaminateSection

Ids = Mapping[str, set[str]]  # corpus → ids of its documents


def lying_in(
    measured: Mapping[str, Corpus],
    training: Iterable[pa.ChunkedArray],
    section: DecontaminateSection,
) -> Ids:
    """The documents of `measured` that a training text holds, as decontamination finds them
    (curate/decontaminate.py). That names the one that a text holds most of; as a text may hold
    several, it is searched again for the others until no more are found."""
    from volano.curate.decontaminate import index_of, measure_overlap, passages_of

    found: dict[str, set[str]] = {name: set() for name in measured}
    sought = {name: passages_of(name, corpus) for name, corpus in measured.items()}
    indices = {name: index_of(passages, section) for name, passages in sought.items()}
    for batch in training:
        texts = batch.cast(pa.large_string()).combine_chunks()
        for name in measured:
            left, index = texts, indices[name]
            while index is not None and len(left):
                ids = measure_overlap(left, index)["held_out_id"]
                known = set(ids.drop_null().to_pylist())
                if not known:
                    break
                found[name] |= known
                left = left.filter(ids.is_valid())
                sought[name] = [each for each in sought[name] if each[0][1] not in known]
                index = indices[name] = index_of(sought[name], section)
    return found
