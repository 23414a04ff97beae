"""The stage of curation that looks at the whole corpus: which documents are copies of others.

It reads hashes and signatures that the stage before has left beside each shard, never a text, and
holds some 60 bytes a document in memory; signatures wait on disk (text.near).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from volano.core.corpus import read_shard
from volano.curate.decision import Decisions
from volano.curate.dedup import STAYS, Duplicates, find_duplicates
from volano.curate.dedup_section import DedupSection, MinHashSection
from volano.text.kernels.hashing import document_hashes, word_hashes
from volano.text.kernels.minhash import minhash_signatures
from volano.text.kernels.ngrams import distinct_runs, ngram_hashes
from volano.text.near import SignatureFiles

Array = npt.NDArray[Any]
DECISION = "decision."
DEDUP = "dedup."
HASH = DEDUP + "document_hash"
SPLIT = "scratch.split"
SIGNATURE = "scratch.signature"  # read by the comparison, never published, as are all of scratch
SHINGLES = "scratch.shingles"


def copy_columns(
    texts: pa.LargeStringArray,
    section: DedupSection,
    known: Mapping[str, pa.Array] | None = None,
) -> dict[str, pa.Array]:
    """What the comparison has to know of each document; `known` has its hash, if it was kept."""
    columns = {HASH: known["document_hash"] if known else document_hashes(texts)}
    if section.minhash is not None:
        columns[SIGNATURE] = _signatures(texts, section.minhash)
        if section.minhash.verify:
            words, bounds = word_hashes(texts)
            runs = ngram_hashes(words, bounds, length=section.minhash.shingle_words)
            flat, bounds = distinct_runs(*runs)
            columns[SHINGLES] = pa.LargeListArray.from_arrays(pa.array(bounds), pa.array(flat))
    return columns


def _signatures(texts: pa.LargeStringArray, settings: MinHashSection) -> pa.Array:
    places = settings.permutations
    signatures = minhash_signatures(
        texts,
        permutations=places,
        shingle_words=settings.shingle_words,
    )
    data = pa.py_buffer(signatures.astype("<u4").tobytes())
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(4 * places), len(texts), [None, data])


@dataclass(frozen=True)
class Compared:
    """The duplicates of a corpus, and the ids of the documents that they are copies of."""

    found: Duplicates
    places: Array  # of those documents, sorted
    ids: pa.Array

    def of_rows(self, begin: int, count: int) -> pa.Table:
        """Columns `exact_of`, `near_of`, `cluster` (ids) and `similarity` of some documents, null
        where there is none."""
        columns = {}
        for name in ("exact_of", "near_of", "cluster"):
            places = getattr(self.found, name)[begin : begin + count]
            rows = np.searchsorted(self.places, places)
            columns[name] = self.ids.take(pa.array(rows, mask=places == STAYS))
        alone = self.found.near_of[begin : begin + count] == STAYS
        columns["similarity"] = pa.array(self.found.similarity[begin : begin + count], mask=alone)
        return pa.table(columns)


def compare(measured: Sequence[Path], section: DedupSection, scratch: Path) -> Compared:
    """The duplicates among documents of these shards, as the stage before has written them.

    Recomputed after a kill: it takes seconds, and depends on that stage alone.
    """
    hashes, standing, is_train = [], [], []
    minhash = section.minhash or MinHashSection()
    with SignatureFiles(
        scratch / "compare", permutations=minhash.permutations, bands=minhash.bands
    ) as signatures:
        for path in measured:
            table = _read(path, section)
            hashes.append(table[HASH].to_numpy())
            standing.append(pc.is_null(table[DECISION + "dropped_by"]).to_numpy())
            is_train.append(pc.equal(table[SPLIT], "train").to_numpy())
            if section.minhash is not None:
                signatures.append(*_signed(table, section.minhash))
        order = np.flatnonzero(np.concatenate(standing))
        order = order[np.argsort(~np.concatenate(is_train)[order], kind="stable")]
        found = find_duplicates(order, np.concatenate(hashes), signatures, section)
    places = np.unique(np.concatenate([found.exact_of, found.near_of, found.cluster]))
    places = places[places != STAYS]
    return Compared(found, places, _ids_at(measured, places))


def _read(path: Path, section: DedupSection) -> pa.Table:
    names = [SPLIT, DECISION + "dropped_by", HASH]
    names += [SIGNATURE] if section.minhash is not None else []
    names += [SHINGLES] if section.minhash is not None and section.minhash.verify else []
    return read_shard(path, names)


def _signed(table: pa.Table, minhash: MinHashSection) -> tuple[Array, tuple[Array, Array] | None]:
    column = table[SIGNATURE].combine_chunks()
    flat = np.frombuffer(column.buffers()[1] or b"", "<u4")
    signatures = flat.reshape(-1, minhash.permutations)[column.offset :][: len(column)]
    if not minhash.verify:
        return signatures, None
    lists = table[SHINGLES].combine_chunks()
    bounds = lists.offsets.to_numpy()
    return signatures, (lists.values.to_numpy()[bounds[0] : bounds[-1]], bounds - bounds[0])


def _ids_at(measured: Sequence[Path], places: Array) -> pa.Array:
    found, begin = [pa.array([], pa.string())], 0
    for path in measured:
        ids = read_shard(path, ["id"])["id"].combine_chunks()
        first, last = np.searchsorted(places, [begin, begin + len(ids)])
        found.append(ids.take(pa.array(places[first:last] - begin)).cast(pa.string()))
        begin += len(ids)
    return pa.concat_arrays(found)


def judge_copies(
    duplicates: pa.Table, measured: pa.Table, section: DedupSection, decisions: Decisions
) -> pa.Table:
    """Drop the copies; what was measured, with the columns `copy_of`, `similarity`, `cluster`."""
    similarity = duplicates["similarity"].to_pylist()
    clusters = duplicates["cluster"].to_pylist()
    bound = section.minhash.min_similarity if section.minhash else None
    for name, column, threshold in (("exact", "exact_of", None), ("near", "near_of", bound)):
        originals = duplicates[column].to_pylist()
        decisions.drop(
            [row for row, original in enumerate(originals) if original is not None],
            name,
            value=similarity,
            threshold=threshold,
            evidence=[
                f"copy of {original}" + ("" if stays == original else f", which is near {stays}")
                for original, stays in zip(originals, clusters, strict=True)
            ],
        )
    copy_of = pc.coalesce(duplicates["exact_of"], duplicates["near_of"])
    measured = measured.append_column(DEDUP + "copy_of", copy_of)
    measured = measured.append_column(DEDUP + "similarity", duplicates["similarity"])
    return measured.append_column(DEDUP + "cluster", duplicates["cluster"])
