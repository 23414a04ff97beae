"""Which documents of a corpus are nearly the same, in memory that hardly grows with the corpus.

Signatures (448 bytes a document) wait on disk and are read only where two documents are compared;
in memory stand one hash per document, of one band at a time, and the clusters as one array.

Source: banding as in Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, chapter 3.
"""

import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt

from volano.text.kernels.matching import unite
from volano.text.kernels.minhash import NO_WORDS, band_hashes
from volano.text.kernels.ngrams import shared_fractions

Array = npt.NDArray[Any]
PAIRS_AT_ONCE = 1 << 14  # some 60 MB while their signatures are compared
ROWS_AT_ONCE = 1 << 20  # of a band that are sorted together: some 50 MB
SHINGLES_AT_ONCE = 1 << 22  # 32 MB


def near_duplicate_roots(
    signatures: npt.NDArray[np.uint32], *, bands: int, min_similarity: float = 0.0
) -> npt.NDArray[np.int64]:
    """For each document the first of its cluster, itself where it stands alone.

    Documents that agree in all places of a band are candidates (banding); candidates whose
    signatures agree in at least `min_similarity` of all places are joined, and joined documents
    form clusters. Each candidate is compared with its predecessor and with the first of its
    bucket. A document without words is never joined. Of c candidates with similarity s, a share
    1 - (1 - s^rows)^bands is found, rows = places / bands.
    """
    hashes = band_hashes(signatures, bands)
    return _roots(
        (signatures != NO_WORDS).any(axis=1),
        lambda band: np.ascontiguousarray(hashes[:, band]),
        bands,
        lambda pairs: similarities(signatures, pairs) >= min_similarity,
    )


def similarities(
    signatures: npt.NDArray[np.uint32], pairs: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """The estimated Jaccard similarity of each pair of rows: the share of places that agree."""
    parts = [np.zeros(0)]
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        one, other = pairs[start : start + PAIRS_AT_ONCE].T
        parts.append((signatures[one] == signatures[other]).mean(axis=1))
    return np.concatenate(parts)


class SignatureFiles:
    """The signatures of a corpus in files, appended part by part; `with` opens and closes them.

    With shingles (distinct hashes, sorted, per document) similarities are those of the shingle
    sets themselves; without, they are estimated from the signatures.
    """

    def __init__(self, folder: Path, *, permutations: int, bands: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.permutations, self.bands = permutations, bands
        self._files = {name: _opened(folder / name) for name in ("signatures", "shingles")}
        self._bands = [_opened(folder / f"band-{band:04d}") for band in range(bands)]
        self._worded: list[Array] = []
        self._shingle_counts: list[Array] = []
        self._shingle_bounds: Array | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for file in (*self._files.values(), *self._bands):
            file.close()
            Path(file.name).unlink(missing_ok=True)

    def append(self, signatures: Array, shingles: tuple[Array, Array] | None = None) -> None:
        """Signatures of the next documents, uint32 (documents, permutations), and the shingles of
        them all with the bounds of each document; for all parts or for none."""
        self._files["signatures"].write(np.ascontiguousarray(signatures, "<u4").data)
        hashes = band_hashes(signatures, self.bands)
        for band, file in enumerate(self._bands):
            file.write(np.ascontiguousarray(hashes[:, band]).data)
        self._worded.append((signatures != NO_WORDS).any(axis=1))
        if shingles is not None:
            flat, bounds = shingles
            self._files["shingles"].write(np.ascontiguousarray(flat, np.uint64).data)
            self._shingle_counts.append(np.diff(bounds))

    def roots(self, order: Array, *, min_similarity: float) -> Array:
        """As `near_duplicate_roots` of the documents `order`, in this order: places in `order`."""
        for file in (*self._files.values(), *self._bands):
            file.flush()
        return _roots(
            np.concatenate([*self._worded, np.zeros(0, bool)])[order],
            lambda band: np.fromfile(self._bands[band].name, np.uint64)[order],
            self.bands,
            # Without a bound the bands alone are believed, and nothing need be read.
            lambda pairs: (
                self.similarities(order[pairs]) >= min_similarity
                if min_similarity > 0
                else np.ones(len(pairs), bool)
            ),
        )

    def similarities(self, pairs: Array) -> Array:
        """The Jaccard similarity of each pair of documents."""
        found = np.zeros(len(pairs))
        by_shingles = bool(self._shingle_counts)
        starts = self._batches(pairs) if by_shingles else range(0, len(pairs), PAIRS_AT_ONCE)
        limits = [*starts, len(pairs)]
        for first, last in pairwise(limits):
            rows, places = np.unique(pairs[first:last], return_inverse=True)
            rows = rows.astype(np.int64)  # times their bytes they are beyond 32 bits
            places = places.reshape(-1, 2).astype(np.int64)
            if by_shingles:
                bounds = self._bounds()
                flat = self._read("shingles", bounds[rows] * 8, bounds[rows + 1] * 8, np.uint64)
                own = np.concatenate(([0], np.cumsum(np.diff(bounds)[rows]))).astype(np.int64)
                found[first:last] = shared_fractions(flat, own, places)
            else:
                width = 4 * self.permutations
                flat = self._read("signatures", rows * width, (rows + 1) * width, np.uint32)
                part = flat.reshape(-1, self.permutations)
                found[first:last] = (part[places[:, 0]] == part[places[:, 1]]).mean(axis=1)
        return found

    def _bounds(self) -> Array:
        if self._shingle_bounds is None:
            counts = np.concatenate(self._shingle_counts)
            self._shingle_bounds = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        return self._shingle_bounds

    def _batches(self, pairs: Array) -> list[int]:
        # So that a book, compared with a thousand others, does not fill the memory.
        sizes = np.cumsum(np.diff(self._bounds())[pairs].sum(axis=1))
        full = np.flatnonzero(np.diff(sizes // SHINGLES_AT_ONCE) > 0) + 1
        return [0, *full.tolist()] if len(pairs) else []

    def _read(self, name: str, starts: Array, stops: Array, kind: Any) -> Array:
        file = self._files[name].fileno()
        # Neighbours are read at once.
        breaks = np.flatnonzero(starts[1:] != stops[:-1]) + 1
        begins = starts[np.concatenate(([0], breaks)).astype(np.int64)] if len(starts) else starts
        ends = stops[np.concatenate((breaks - 1, [len(stops) - 1]))] if len(stops) else stops
        parts = [
            os.pread(file, end - begin, begin)
            for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)
        ]
        return np.frombuffer(b"".join(parts), kind)


def _opened(path: Path) -> BinaryIO:
    return path.open("w+b")


def _roots(
    worded: Array,
    column_of: Callable[[int], Array],
    bands: int,
    alike: Callable[[Array], Array],
) -> Array:
    # Ranges of the highest byte of a hash, so that a bucket is never divided.
    limits = np.linspace(0, 256, min(len(worded) // ROWS_AT_ONCE + 1, 256) + 1).astype(int).tolist()
    roots = np.arange(len(worded), dtype=np.int64)
    for band in range(bands):
        column = column_of(band)
        highest = column.astype("<u8", copy=False).view(np.uint8)[7::8]
        for first, last in pairwise(limits):
            members = np.flatnonzero((highest >= first) & (highest < last) & worded)
            pairs = _candidates(column[members], members)
            pairs = pairs[roots[pairs[:, 0]] != roots[pairs[:, 1]]]  # the others are joined already
            for start in range(0, len(pairs), PAIRS_AT_ONCE):
                some = pairs[start : start + PAIRS_AT_ONCE]
                some = some[roots[some[:, 0]] != roots[some[:, 1]]]
                unite(some[alike(some)], roots)
    return roots


def _candidates(hashes: Array, members: Array) -> Array:
    # Rows of two members: each but the first of a bucket with the one before it and with the first.
    order = np.argsort(hashes, kind="stable")
    hashes = hashes[order]
    same = hashes[1:] == hashes[:-1]
    in_bucket = np.zeros(len(order), bool)
    in_bucket[1:] |= same
    in_bucket[:-1] |= same
    hashes, members = hashes[in_bucket], members[order[in_bucket]]
    if not len(members):
        return np.zeros((0, 2), np.int64)
    starts = np.concatenate(([True], hashes[1:] != hashes[:-1]))
    firsts = members[np.maximum.accumulate(np.where(starts, np.arange(len(members)), 0))]
    later = np.flatnonzero(~starts)
    joined = [
        np.stack([one, members[later]], axis=1) for one in (members[later - 1], firsts[later])
    ]
    return np.unique(np.concatenate(joined), axis=0).astype(np.int64)
