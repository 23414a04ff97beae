"""The stage of curation that looks at the whole corpus: which documents are copies of others.

It reads hashes and signatures that the stage before has left beside each shard, never a text, and
holds some 50 bytes a document in memory; signatures wait on disk (text.near).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from volano.core.corpus import read_shard, shard_path, write_shard
from volano.core.errors import DataError
from volano.core.records import Document
from volano.core.step import Context, Inputs
from volano.curate.decision import Decisions
from volano.curate.dedup import STAYS, Duplicates, exact_copies, near_copies
from volano.curate.dedup_section import DedupSection, MinHashSection, earlier_input
from volano.text.kernels.hashing import document_hashes, word_hashes
from volano.text.kernels.minhash import minhash_signatures
from volano.text.kernels.ngrams import distinct_runs, ngram_hashes
from volano.text.near import SignatureFiles

Array = npt.NDArray[Any]
EARLIER, TRAIN, LATER, FALLEN = range(4)  # who comes before whom; the last take no part
DECISION = "decision."
DEDUP = "dedup."
HASH = DEDUP + "document_hash"
SPLIT = "scratch.split"
SIGNATURE = "scratch.signature"  # read by the comparison, never published, as are all of scratch
SHINGLES = "scratch.shingles"
PREFERENCE = "scratch.preference"


def copy_columns(
    texts: pa.LargeStringArray,
    section: DedupSection,
    known: Mapping[str, pa.Array] | None = None,
    standing: npt.NDArray[np.bool_] | None = None,
) -> dict[str, pa.Array]:
    """What the comparison has to know of each document; `known` has its hash, if it was kept. Those
    that no longer stand are compared with nobody and get an empty signature."""
    columns = {HASH: known["document_hash"] if known else document_hashes(texts)}
    if standing is not None:
        texts = pc.if_else(pa.array(standing), texts, pa.scalar(None, texts.type))
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


def measure_earlier(shard: Path, output: Path, *, section: DedupSection) -> None:
    """What the comparison has to know of a shard of an earlier corpus.

    Where that was curated, it has kept the hash of each text as it was before lines were cut out
    and personal data was replaced; signatures are made from the text as it lies there.
    """
    table = read_shard(shard, ["id", "text"])
    attributes = shard.parent.parent / "attributes" / "dedup" / shard.name
    known = None
    if attributes.is_file():
        kept = read_shard(attributes, ["id", "document_hash"])
        rows = pc.index_in(table["id"].combine_chunks(), kept["id"].combine_chunks())
        known = {"document_hash": kept["document_hash"].combine_chunks().take(rows)}
        known = None if rows.null_count else known
    texts = table["text"].combine_chunks().fill_null("")
    ids = {"id": table["id"].combine_chunks()}
    write_shard(output, pa.table(ids | copy_columns(texts, section, known)))


def measure_earlier_corpora(
    section: DedupSection, inputs: Inputs, context: Context
) -> dict[str, list[Path]]:
    """`measure_earlier` of all shards of the corpora in `against`; the files by name."""
    found = {}
    for place, name in enumerate(section.against):
        if earlier_input(name) not in inputs:
            raise DataError(
                f"no earlier corpus '{name}'",
                "curate.dedup.against",
                "Give its name in the store, or its folder.",
            )
        corpus = inputs[earlier_input(name)].corpus()
        if corpus.record is not Document:
            raise DataError(
                f"a corpus of {corpus.manifest['record']} records",
                f"curate.dedup.against: {name}",
                "Name a corpus of documents.",
            )
        shards = corpus.shards()
        outputs = [
            shard_path(context.scratch / "earlier", str(place), number)
            for number in range(len(shards))
        ]
        with context.progress(f"curate: {name}", len(shards), "shards") as bar:
            context.engine.map(partial(measure_earlier, section=section), shards, outputs, bar=bar)
        found[name] = outputs
    return found


@dataclass(frozen=True)
class Compared:
    """The duplicates of a corpus, and the documents that they are copies of."""

    found: Duplicates
    places: Array  # of those documents, sorted; those of earlier corpora come behind the others
    ids: pa.Array
    corpora: pa.Array  # the earlier corpus they are in; null for this one

    def of_rows(self, begin: int, count: int) -> pa.Table:
        """Columns `exact_of`, `near_of`, `cluster` (ids), the same with `_in` (the earlier corpus)
        and `similarity` of some documents, null where there is none."""
        columns = {}
        for name in ("exact_of", "near_of", "cluster"):
            places = getattr(self.found, name)[begin : begin + count]
            rows = pa.array(np.searchsorted(self.places, places), mask=places == STAYS)
            columns[name], columns[name + "_in"] = self.ids.take(rows), self.corpora.take(rows)
        alone = self.found.near_of[begin : begin + count] == STAYS
        columns["similarity"] = pa.array(self.found.similarity[begin : begin + count], mask=alone)
        return pa.table(columns)


def compare(
    measured: Sequence[Path],
    section: DedupSection,
    scratch: Path,
    earlier: Mapping[str, Sequence[Path]] | None = None,
    stands: npt.NDArray[np.bool_] | None = None,
) -> Compared:
    """The duplicates among documents of these shards, as the stage before has written them, and of
    documents of earlier corpora (name → what `measure_earlier` has written).

    `stands` says which documents take part, all shards in their order, where that is known better
    than the stage before knew. Recomputed after a kill: it takes seconds.
    """
    minhash = section.minhash or MinHashSection()
    with SignatureFiles(
        scratch / "compare", permutations=minhash.permutations, bands=minhash.bands
    ) as signatures:
        hashes, ranks, preferred = [], [], []
        for path in measured:
            table = _read(path, section)
            hashes.append(_signed(table, section, signatures))
            is_train = pc.equal(table[SPLIT], "train").to_numpy()
            standing = pc.is_null(table[DECISION + "dropped_by"]).to_numpy()
            if stands is not None:
                begin = sum(map(len, hashes[:-1]))
                standing = stands[begin : begin + len(standing)]
            rank = np.where(standing, np.where(is_train, TRAIN, LATER), FALLEN)
            ranks.append(rank.astype(np.int8))
            if section.keep != "first":
                preferred.append(table[PREFERENCE].to_numpy())
        own = sum(map(len, hashes))
        sizes = []
        for paths in (earlier or {}).values():
            sizes.append(0)
            for path in paths:
                hashes.append(_signed(read_shard(path), section, signatures))
                ranks.append(np.full(len(hashes[-1]), EARLIER, np.int8))
                if section.keep != "first":
                    preferred.append(np.zeros(len(hashes[-1])))
                sizes[-1] += len(hashes[-1])
        order = _order(np.concatenate(ranks), preferred)
        every_hash = np.concatenate(hashes)
        hashes.clear()  # 8 bytes a document, as these are, before what comes takes more
        exact_of = exact_copies(order, every_hash, section)
        del every_hash
        found = near_copies(order, exact_of, signatures, section)
    is_named = np.zeros(own + sum(sizes), bool)
    found = Duplicates(*(each[:own] for each in found))
    for each in (found.exact_of, found.near_of, found.cluster):
        is_named[each[each != STAYS]] = True
    places = np.flatnonzero(is_named)
    every = [*measured, *(path for paths in (earlier or {}).values() for path in paths)]
    limits = np.cumsum([own, *sizes])
    names = pa.array([None, *(earlier or {})], pa.string())
    corpora = names.take(pa.array(np.searchsorted(limits, places, side="right")))
    return Compared(found, places, ids_at(every, places), corpora)


def _order(rank: Array, preferred: Sequence[Array]) -> Array:
    # Who takes part, who stays before who falls.
    taking_part = np.flatnonzero(rank != FALLEN)
    taking_part = taking_part.astype(np.int32 if len(rank) < 2**31 else np.int64)
    if preferred:
        keys = (np.concatenate(preferred)[taking_part], rank[taking_part])
        return taking_part[np.lexsort(keys)]
    return taking_part[np.argsort(rank[taking_part], kind="stable")]


def _read(path: Path, section: DedupSection) -> pa.Table:
    names = [SPLIT, DECISION + "dropped_by", HASH]
    names += [PREFERENCE] if section.keep != "first" else []
    names += [SIGNATURE] if section.minhash is not None else []
    names += [SHINGLES] if section.minhash is not None and section.minhash.verify else []
    return read_shard(path, names)


def _signed(table: pa.Table, section: DedupSection, signatures: SignatureFiles) -> Array:
    # Its hashes; what else it has goes into the files.
    if section.minhash is not None:
        column = table[SIGNATURE].combine_chunks()
        flat = np.frombuffer(column.buffers()[1] or b"", "<u4")
        rows = flat.reshape(-1, section.minhash.permutations)[column.offset :][: len(column)]
        shingles = None
        if section.minhash.verify:
            lists = table[SHINGLES].combine_chunks()
            bounds = lists.offsets.to_numpy()
            values = lists.values.to_numpy()[bounds[0] : bounds[-1]]
            shingles = (values, bounds - bounds[0])
        signatures.append(rows, shingles)
    found: Array = table[HASH].to_numpy()
    return found


def ids_at(measured: Sequence[Path], places: Array) -> pa.Array:
    """The ids of documents by their places in the corpus, which are sorted."""
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
    """Drop the copies; what was measured, with the columns `copy_of`, `similarity`, `cluster` and,
    where earlier corpora were compared with, `copy_in` and `cluster_in`."""
    similarity = duplicates["similarity"].to_pylist()
    clusters = _told(duplicates, "cluster")
    bound = section.minhash.min_similarity if section.minhash else None
    for name, column, threshold in (("exact", "exact_of", None), ("near", "near_of", bound)):
        originals = _told(duplicates, column)
        decisions.drop(
            [row for row, original in enumerate(originals) if original is not None],
            name,
            value=similarity,
            threshold=threshold,
            evidence=[
                f"copy of {original}{_ending(original, stays, section)}"
                for original, stays in zip(originals, clusters, strict=True)
            ],
        )
    found = {"copy_of": pc.coalesce(duplicates["exact_of"], duplicates["near_of"])}
    if section.against:
        of_exact = pc.is_valid(duplicates["exact_of"])
        found["copy_in"] = pc.if_else(of_exact, duplicates["exact_of_in"], duplicates["near_of_in"])
        found["cluster_in"] = duplicates["cluster_in"]
    found |= {name: duplicates[name] for name in ("similarity", "cluster")}
    for name, values in found.items():
        measured = measured.append_column(DEDUP + name, values)
    return measured


def _told(duplicates: pa.Table, column: str) -> list[str | None]:
    pairs = zip(duplicates[column].to_pylist(), duplicates[column + "_in"].to_pylist(), strict=True)
    return [each if corpus is None else f"{each} in {corpus}" for each, corpus in pairs]


def _ending(original: str | None, stays: str | None, section: DedupSection) -> str:
    if section.drop == "all":
        return "; all of them go"
    return "" if stays == original else f", which is near {stays}"
