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
    (curate/decontaminate.py); where a text holds several, the one that it holds most of."""
    from volano.curate.decontaminate import held_out_of, measure_overlap

    found: dict[str, set[str]] = {name: set() for name in measured}
    index = held_out_of(measured, section)
    for texts in training:
        if index is not None:
            columns = measure_overlap(texts.cast(pa.large_string()).combine_chunks(), index)
            pairs = (columns[each].drop_null().to_pylist() for each in ("against", "held_out_id"))
            for name, identity in zip(*pairs, strict=True):
                found[name].add(identity)
    return found
