"""Of documents that say the same in other words, one stays (Abbas et al. 2023, SemDeDup).

It works on what all other filters have left, exact and near copies gone. Memory holds some 60 bytes
a document, the vectors of one shard and those of one cluster; the vectors wait on disk, sorted by
cluster.

Shapes: N documents that take part, K clusters, D dimensions.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from volano.core.corpus import read_shard, shard_path, write_shard
from volano.core.files import atomic_path
from volano.core.step import Context
from volano.curate.compare import (
    DEDUP,
    HASH,
    LATER,
    PREFERENCE,
    SPLIT,
    TRAIN,
    ids_at,
)
from volano.curate.decision import SEMANTIC, Decisions
from volano.curate.dedup_section import DedupSection
from volano.curate.embeddings import Latent, load_embedder, word_counts
from volano.curate.semantic_section import LATENT, SemanticSection

Array = npt.NDArray[Any]
T = TypeVar("T")
FIT_DOCUMENTS = 20_000  # that latent semantic analysis is fitted on, chosen by their hashes
FIT_PER_CLUSTER = 100  # documents that k-means is fitted on
DECIMALS = 4  # the last digits of a product of matrices are not the same on every processor
ROWS_AT_ONCE = 2048
ALONE = -1


class Candidates(NamedTuple):
    """What a shard brings to the comparison."""

    texts: pa.LargeStringArray  # of the whole shard, as the filters before have left them
    about: pa.Table  # of those that take part: row, id, hash, rank, preferred; lower before higher


def candidates_of(
    texts: pa.LargeStringArray,
    kinds: Sequence[str],
    measured: pa.Table,
    decisions: Decisions,
    section: SemanticSection,
) -> Candidates:
    """Those of a shard that stand, but for exempt kinds and texts without any word."""
    exempt = np.isin(np.array(kinds, object), section.exempt_kinds)
    words = pc.fill_null(pc.match_substring_regex(texts, r"\w"), False).to_numpy(False)
    rows = pa.array(np.flatnonzero(decisions.standing & ~exempt & words))
    taken = measured.take(rows)
    is_train = pc.equal(taken[SPLIT], "train").to_numpy()
    if PREFERENCE in taken.column_names:
        preferred = taken[PREFERENCE].to_numpy()
    else:
        preferred = np.zeros(len(rows))
    about = {
        "row": rows,
        "id": taken["id"].combine_chunks(),
        "hash": taken[HASH].combine_chunks(),
        "rank": pa.array(np.where(is_train, TRAIN, LATER).astype(np.int8)),
        "preferred": pa.array(preferred),
    }
    return Candidates(texts, pa.table(about))


def find_alike(
    shards: Sequence[T], read: Callable[[T], Candidates], section: DedupSection, context: Context
) -> Path:
    """The folder with one table a shard: row, of (an id) and similarity of what falls.

    `read` gives the Candidates of an item of `shards`. Each file that is written is kept after a
    kill; what looks at the whole corpus is computed anew, which takes seconds.
    """
    settings = section.semantic
    assert settings is not None
    folder = context.scratch / "semantic"
    parts, vectors = (
        [shard_path(folder, kind, place) for place in range(len(shards))]
        for kind in ("part", "vectors")
    )
    vectors = [path.with_suffix(".npy") for path in vectors]
    with context.progress("curate: candidates", len(shards), "shards") as bar:
        context.engine.map(partial(_write_part, read=read), shards, parts, bar=bar)
    model = _model(shards, read, parts, settings, folder)
    if model is not None:
        with context.progress("curate: embed", len(shards), "shards") as bar:
            context.engine.map(
                partial(_write_vectors, read=read, model=model),
                list(zip(shards, parts, strict=True)),
                vectors,
                bar=bar,
            )
    of, similarity = _alike(parts, vectors if model else [], section, folder)
    ids = ids_at(parts, np.unique(of[of != ALONE]))
    places = np.unique(of[of != ALONE])
    begin = 0
    for place, part in enumerate(parts):
        rows = read_shard(part, ["row"])["row"].combine_chunks()
        fallen = np.flatnonzero(of[begin : begin + len(rows)] != ALONE)
        found = of[begin + fallen]
        table = {
            "row": rows.take(pa.array(fallen)),
            "of": ids.take(pa.array(np.searchsorted(places, found))),
            "similarity": pa.array(similarity[begin + fallen]),
        }
        write_shard(shard_path(folder, "alike", place), pa.table(table))
        begin += len(rows)
    return folder / "alike"


def judge_alike(
    found: Path,
    name: str,
    measured: pa.Table,
    section: SemanticSection,
    decisions: Decisions,
) -> pa.Table:
    """Drop what falls of one shard; what was measured, with `semantic_of` and its similarity."""
    table = read_shard(found / name)
    rows = table["row"].to_numpy()
    of: list[str | None] = [None] * measured.num_rows
    similarity: list[float | None] = [None] * measured.num_rows
    for row, other, value in zip(
        rows.tolist(), table["of"].to_pylist(), table["similarity"].to_pylist(), strict=True
    ):
        of[row], similarity[row] = other, value
    evidence = [f"says what {other} says" for other in of]
    bound = section.min_similarity
    decisions.drop(rows, SEMANTIC, value=similarity, threshold=bound, evidence=evidence)
    measured = measured.append_column(f"{DEDUP}semantic_of", pa.array(of, pa.string()))
    column = pa.array(similarity, pa.float64())
    return measured.append_column(f"{DEDUP}semantic_similarity", column)


def _write_part(shard: T, output: Path, *, read: Callable[[T], Candidates]) -> None:
    write_shard(output, read(shard).about)


def _write_vectors(
    item: tuple[T, Path], output: Path, *, read: Callable[[T], Candidates], model: Path
) -> None:
    shard, part = item
    rows = read_shard(part, ["row"])["row"].combine_chunks()
    found = load_embedder(model).embed(read(shard).texts.take(rows))
    with atomic_path(output) as unfinished, unfinished.open("wb") as stream:
        np.save(stream, found)


def _model(
    shards: Sequence[T],
    read: Callable[[T], Candidates],
    parts: Sequence[Path],
    settings: SemanticSection,
    folder: Path,
) -> Path | None:
    # The folder of the model, or the file of what was fitted; None where nothing can be alike.
    hashes = [read_shard(part, ["hash"])["hash"].to_numpy() for part in parts]
    every = np.sort(np.concatenate(hashes)) if hashes else np.zeros(0, np.uint64)
    if len(every) < 2:
        return None
    if settings.model != LATENT:
        return Path(settings.model).expanduser()
    path = folder / "latent.npz"
    if path.exists():
        return path
    bound = every[min(len(every), FIT_DOCUMENTS) - 1]
    counts = []
    for shard, part, found in zip(shards, parts, hashes, strict=True):
        chosen = pa.array(np.flatnonzero(found <= bound))
        if len(chosen):
            rows = read_shard(part, ["row"])["row"].combine_chunks().take(chosen)
            counts.append(word_counts(read(shard).texts.take(rows)))
    from scipy.sparse import vstack

    fitted = Latent.fit(
        vstack(counts, format="csr"), dimensions=settings.dimensions, seed=settings.seed
    )
    fitted.save(path)
    return path


def _alike(
    parts: Sequence[Path], vectors: Sequence[Path], section: DedupSection, folder: Path
) -> tuple[Array, Array]:
    # Per document that takes part, all shards in their order: the one it falls to, and the cosine.
    settings = section.semantic
    assert settings is not None
    about = [read_shard(part, ["rank", "preferred"]) for part in parts]
    total = sum(table.num_rows for table in about)
    of, similarity = np.full(total, ALONE, np.int64), np.zeros(total)
    if not vectors:
        return of, similarity
    rank, preferred = (
        np.concatenate([table[name].to_numpy() for table in about])
        for name in ("rank", "preferred")
    )
    centres = _centres(vectors, total, settings)
    cluster = np.concatenate([_nearest(np.load(path), centres) for path in vectors])
    order = np.lexsort((preferred, rank, cluster))
    place_of = np.empty(total, np.int64)
    place_of[order] = np.arange(total)
    sorted_file = folder / "sorted.npy"
    by_cluster = np.lib.format.open_memmap(
        sorted_file, mode="w+", dtype=np.float32, shape=(total, centres.shape[1])
    )
    begin = 0
    for path in vectors:
        rows = np.load(path)
        by_cluster[place_of[begin : begin + len(rows)]] = rows
        begin += len(rows)
    ends = np.cumsum(np.bincount(cluster, minlength=len(centres)))
    for first, last in zip([0, *ends[:-1]], ends, strict=True):
        copies, cosines = copies_among(np.array(by_cluster[first:last]), settings.min_similarity)
        fallen = np.flatnonzero(copies != ALONE)
        own = order[first:last]
        of[own[fallen]] = own[copies[fallen]]
        similarity[own[fallen]] = cosines[fallen]
    del by_cluster
    sorted_file.unlink()
    if section.drop == "all":
        fallen = order[of[order] != ALONE]
        stays, of_these = np.unique(of[fallen], return_index=True)
        of[stays] = fallen[of_these]  # each falls to the other
        similarity[stays] = similarity[fallen[of_these]]
    return of, similarity


def _centres(vectors: Sequence[Path], total: int, settings: SemanticSection) -> Array:
    # K × D, of length 1: spherical k-means on every n-th document.
    from sklearn.cluster import MiniBatchKMeans

    clusters = max(1, round(total / settings.cluster_documents))
    step = max(1, total // (clusters * FIT_PER_CLUSTER))
    sample = np.concatenate([np.load(path, mmap_mode="r")[::step].copy() for path in vectors])
    if clusters == 1:
        return np.ones((1, sample.shape[1]), np.float32)
    means = MiniBatchKMeans(clusters, random_state=settings.seed, n_init=1, batch_size=4096)
    centres = means.fit(sample).cluster_centers_
    lengths = np.linalg.norm(centres, axis=1, keepdims=True)
    return np.asarray(centres / np.maximum(lengths, 1e-6), np.float32)


def _nearest(rows: Array, centres: Array) -> Array:
    parts = [
        (rows[begin : begin + ROWS_AT_ONCE] @ centres.T).argmax(axis=1).astype(np.int32)
        for begin in range(0, len(rows), ROWS_AT_ONCE)
    ]
    return np.concatenate([np.zeros(0, np.int32), *parts])


def copies_among(vectors: Array, min_similarity: float) -> tuple[Array, Array]:
    """Per row the first row before it that stays and has this cosine with it (ALONE if there is
    none), and that cosine. Rows of zeros are like none."""
    of, cosine = np.full(len(vectors), ALONE, np.int64), np.zeros(len(vectors))
    for begin in range(0, len(vectors), ROWS_AT_ONCE):
        block = vectors[begin : begin + ROWS_AT_ONCE]
        products = np.round(block @ vectors[: begin + len(block)].T, DECIMALS)
        for row in np.flatnonzero((products >= min_similarity).sum(axis=1)).tolist():
            here = begin + row
            alike = (products[row, :here] >= min_similarity) & (of[:here] == ALONE)
            if alike.any():
                of[here] = alike.argmax()
                cosine[here] = products[row, of[here]]
    return of, np.minimum(cosine, 1.0)
